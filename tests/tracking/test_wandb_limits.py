"""Names and tags that W&B accepts, checked by wandb itself, and the environment that turns W&B off."""

from __future__ import annotations

import pytest
import wandb
from hypothesis import given
from hypothesis import strategies as st
from support.helpers import typed

from medssr.reports.wandb_steps import _wandb_node
from medssr.tracking.loggers import open_loggers
from medssr.tracking.wandb_limits import (
    accepted_text,
    is_wandb_disabled,
    is_wandb_offline,
    within_limits,
)

LONG = "alpha=0.5," * 20


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in ("WANDB_MODE", "WANDB_DISABLED"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.slow
@given(st.text(min_size=1, max_size=300), st.lists(st.text(max_size=100), max_size=4))
def test_wandb_accepts_what_comes_out(name, tags):
    accepted = within_limits({"project": name, "name": name, "group": name, "job_type": name, "tags": tags})
    settings = wandb.Settings(project=accepted["project"], run_tags=accepted["tags"])
    assert settings.project == accepted["project"]
    assert all(0 < len(accepted[key]) <= 128 for key in ("project", "name", "group", "job_type"))
    assert all(0 < len(tag) <= 64 for tag in accepted["tags"])


def test_what_fits_is_not_changed():
    arguments = {
        "project": "medssr",
        "name": "model=tiny,seed=3 train",
        "tags": ["a" * 64],
        "group": None,
        "id": "x" * 200,
    }
    assert within_limits(arguments) == arguments


def test_different_long_names_stay_different():
    assert accepted_text(LONG + "1") != accepted_text(LONG + "2")
    assert len(accepted_text(LONG)) == 128
    assert accepted_text("a/b:c", refused="[/:]") != accepted_text("a:b/c", refused="[/:]")


def test_a_change_is_said_once(caplog):
    for _ in range(3):
        within_limits({"name": LONG + "said once", "tags": ["", 3]})
    assert caplog.text.count("logger.wandb.name: Weights & Biases does not accept") == 1
    assert within_limits({"tags": ["", 3]})["tags"] == ["3"]


@pytest.mark.parametrize(
    ("variable", "value", "is_disabled", "is_offline"),
    [
        ("WANDB_MODE", "disabled", True, False),
        ("WANDB_DISABLED", "true", True, False),
        ("WANDB_DISABLED", "1", True, False),
        ("WANDB_DISABLED", "false", False, False),
        ("WANDB_MODE", "offline", False, True),
        ("WANDB_MODE", "dryrun", False, True),
        ("WANDB_MODE", "online", False, False),
    ],
)
def test_the_environment_is_respected(monkeypatch, variable, value, is_disabled, is_offline):
    monkeypatch.setenv(variable, value)
    assert (is_wandb_disabled(), is_wandb_offline()) == (is_disabled, is_offline)


@pytest.mark.slow
@pytest.mark.parametrize("variable", [("WANDB_MODE", "disabled"), ("WANDB_DISABLED", "true")])
def test_a_disabled_wandb_gets_nothing_and_leaves_no_file(tmp_path, monkeypatch, variable):
    monkeypatch.setenv(*variable)
    config = typed("train", "data.path=q.jsonl")
    with open_loggers(config.logger, config, tmp_path) as loggers:
        assert [type(logger).__name__ for logger in loggers] == ["CSVMetrics"]
    assert list(tmp_path.rglob("*wandb*")) == []
    assert _wandb_node(config) is None


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["offline", "dryrun"])
def test_a_run_that_would_be_sent_stays_on_disk_where_the_environment_says_so(tmp_path, monkeypatch, mode):
    monkeypatch.setenv("WANDB_MODE", mode)
    tags = f"logger.wandb.tags=[{'x' * 100}]"
    config = typed("train", "data.path=q.jsonl", "logger.wandb.offline=false", f"study={'s' * 150}", tags)
    with open_loggers(config.logger, config, tmp_path) as loggers:
        logger = loggers[-1]
        assert logger.experiment.offline
        assert len(logger.experiment.group) == 128
        assert [len(tag) for tag in logger.experiment.tags] == [64]
    assert not logger.is_lost
    assert list(tmp_path.glob("wandb/offline-run-*"))
