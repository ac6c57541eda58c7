"""Fixtures for tests of the engine with stand-ins for servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
from support.helpers import typed
from support.vllm_stand_in import StandIn, running

from medssr.engines.vllm_server_engine import VLLMServerEngine
from medssr.utils.instantiate import instantiate


@pytest.fixture
def stand_ins() -> Iterator[Callable[..., list[StandIn]]]:
    """Starts stand-ins with the given attributes."""
    with ExitStack() as opened:

        def start(number: int, kind: type[StandIn] = StandIn, **attributes: Any) -> list[StandIn]:
            return [opened.enter_context(running(kind(**attributes))) for _ in range(number)]

        yield start


@pytest.fixture
def make_engine(policy) -> Iterator[Callable[..., VLLMServerEngine]]:
    """Makes engines with the settings of `rollout=vllm_server`; the stand-ins' log-probs agree with nothing."""
    with ExitStack() as opened:

        def make(servers: list[StandIn], *overrides: str) -> VLLMServerEngine:
            addresses = ",".join(server.address for server in servers)
            settings = [f"rollout.addresses=[{addresses}]", "rollout.max_logp_gap=1e9", *overrides]
            node = typed("pseudo_label", "data.path=none", "rollout=vllm_server", *settings).rollout
            return opened.enter_context(closing(instantiate(node, "rollout", policy=policy)))

        yield make
