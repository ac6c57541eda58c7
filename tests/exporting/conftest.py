"""Exports of tiny policies."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.exports import POLICIES, Exported, make_export

from medssr.models.policy import Policy


@pytest.fixture(params=POLICIES)
def exported(request: pytest.FixtureRequest, random_policies: dict[str, Policy], tmp_path: Path) -> Exported:
    """An export for each kind of tokenizer."""
    return make_export(request.param, random_policies, tmp_path)


@pytest.fixture
def chat_export(random_policies: dict[str, Policy], tmp_path: Path) -> Exported:
    """An export of a chat model."""
    return make_export("qwen3", random_policies, tmp_path)
