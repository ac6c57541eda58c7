"""Sweeps by W&B's own agent: the command line that it makes, and the runs of a trial."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from support.helpers import typed
from support.wandb_runs import records

from medssr.cli.entry import composed
from medssr.tracking import loggers, wandb_trials
from medssr.tracking.loggers import open_loggers

SWEEP = Path(__file__).parents[2] / "examples" / "wandb_sweep.yaml"


def command_lines() -> list[list[str]]:
    """The command lines of the sweep's trials with the first and the last values, made by W&B's own functions."""
    from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

    sweep = yaml.safe_load(SWEEP.read_text(encoding="utf-8"))
    lines = []
    for index in (0, -1):
        chosen = {key: {"value": each["values"][index]} for key, each in sweep["parameters"].items()}
        parts = create_sweep_command_args({"args": chosen})
        parts |= {"env": ["/usr/bin/env"], "program": [sweep["program"]]}
        words = create_sweep_command(list(sweep["command"]))
        lines.append([word for each in words for word in (parts[each[2:-1]] if each.startswith("${") else [each])])
    return lines


@pytest.mark.slow
def test_the_command_line_of_the_agent_is_one_of_the_pipeline():
    for line, (share, beta) in zip(command_lines(), ((0.0, 0.0), (1.0, 0.001)), strict=True):
        assert line[:2] == ["/usr/bin/env", "medssr-pipeline"]
        config = composed("pipeline", line[2:])
        assert (config.synthesis.rare_share, config.grpo.beta) == (share, beta)
        assert config.logger["wandb"]["offline"] is False
        assert config.study == "wandb_sweep"


@pytest.mark.slow
def test_the_run_of_a_trial_is_that_of_the_command_and_steps_have_their_own(tmp_path, monkeypatch):
    file = tmp_path / "parameters.yaml"
    file.write_text("wandb_version: 1\ngrpo.beta:\n  value: 0.25\n", encoding="utf-8")
    for name, value in (("RUN_ID", "trial"), ("SWEEP_ID", "sweep"), ("SWEEP_PARAM_PATH", str(file))):
        monkeypatch.setenv(f"WANDB_{name}", value)
    wandb_trials.trial_of_agent.cache_clear()
    monkeypatch.setattr(loggers, "is_of_command", lambda values: values["task_name"] == "evaluate")
    try:
        made = {}
        for task in ("train", "evaluate"):
            needed = {"train": "data.path=questions.jsonl", "evaluate": "model.path=model"}
            config = typed(task, needed[task], "logger=default")
            made[task] = tmp_path / task
            made[task].mkdir()
            with open_loggers({"wandb": config.logger["wandb"]}, config, made[task]):
                pass
    finally:
        wandb_trials.trial_of_agent.cache_clear()
    assert [(run["run_id"], run.get("sweep_id")) for run in records(made["train"], "run")] == [("train", None)]
    assert [(run["run_id"], run.get("sweep_id")) for run in records(made["evaluate"], "run")] == [("trial", "sweep")]
    assert "grpo.beta" in {key for record in records(made["evaluate"], "config") for key in record.get("update", {})}


def test_a_process_that_no_agent_has_started_has_no_trial(monkeypatch):
    for name in ("WANDB_RUN_ID", "WANDB_SWEEP_ID"):
        monkeypatch.delenv(name, raising=False)
    wandb_trials.trial_of_agent.cache_clear()
    assert wandb_trials.trial_of_agent() is None
