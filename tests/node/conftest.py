"""Several trainers, engines and servers on this machine's CPU: `make test-node`."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    is_installed = importlib.util.find_spec("vllm") is not None
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.node)
            item.add_marker(pytest.mark.skipif(not is_installed, reason="vLLM is not installed: make test-node"))
