"""Fixtures that several test folders use."""

# ruff: noqa: E402
from __future__ import annotations

import gc

# What is imported for the tests stays: looking through it for garbage again and again takes a quarter of the imports'
# time. Collected is from `pytest_collection_finish` on.
gc.disable()

import signal
from pathlib import Path

import hypothesis
import pytest
from support import fork_server
from support.helpers import copy_policy, random_policy

from medssr.models.policy import Policy
from medssr.utils.torchmetrics_parts import import_torchmetrics_in_parts

import_torchmetrics_in_parts()  # before a test imports Lightning, as commands do: two seconds less

# A shell has its background jobs ignore Ctrl-C, and nohup has what it starts ignore SIGHUP, and what these start
# inherits that; the tests of signals send both.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# The same examples on every run, and no limit of time, also for drawing them: a busy machine must not fail a test.
hypothesis.settings.register_profile(
    "medssr", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("medssr")


def pytest_collection_finish() -> None:
    """Collects garbage from here on, of what the tests themselves make."""
    gc.freeze()
    gc.enable()


def pytest_runtest_logstart() -> None:
    """Has commands forked although a library has set a variable during an earlier test."""
    fork_server.note_inherited()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with public data that the project does not ship; tests that need it are skipped where it is absent."""
    path = Path(__file__).parents[2] / "shared" / "data"
    if not path.is_dir():
        pytest.skip(f"the public data is not at {path}")
    return path


@pytest.fixture(scope="session")
def random_policies() -> dict[str, Policy]:
    """A tiny policy with random weights of each family; read only."""
    return {family: random_policy(family) for family in ("qwen3", "llama")}


@pytest.fixture(params=["qwen3", "llama"])
def any_policy(request: pytest.FixtureRequest, random_policies: dict[str, Policy]) -> Policy:
    """A tiny policy of either family, to change at will."""
    return copy_policy(random_policies[request.param])


@pytest.fixture
def policy(random_policies: dict[str, Policy]) -> Policy:
    """A tiny Qwen3 policy, to change at will."""
    return copy_policy(random_policies["qwen3"])
