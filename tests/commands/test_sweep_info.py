"""`-m --info`: the jobs of a sweep, the steps that they share and what training costs; nothing is run or written."""

from __future__ import annotations

import sys

import pytest
from support.helpers import typed

from medssr.commands.sweep_info import steps_of, sweep_plan
from medssr.sweeps.jobs import Job, JobState, job_fingerprint, new_record, write_job
from medssr.sweeps.planning import PlannedJob

COST = ["extras.forecast.gpu=H100", "extras.forecast.price_per_hour=2"]


def planned(folder, *overrides):
    config = typed("pipeline", f"paths.root_dir={folder}", *COST, *overrides)
    return PlannedJob(Job(overrides, folder / "-".join(overrides), job_fingerprint(config), False, config), None)


def plan(*jobs):
    return dict(sweep_plan(jobs))


@pytest.mark.slow
def test_jobs_share_the_steps_whose_settings_and_inputs_are_the_same(tmp_path):
    rows = plan(planned(tmp_path, "grpo.num_steps=10"), planned(tmp_path, "grpo.num_steps=20"))
    assert rows["jobs"] == "2: 2 to run"
    assert rows["steps"] == "11 to make for 14 that the jobs ask for"
    shared = ("synthesize", "pseudo_label", "evaluate base")
    assert all(rows[f"  {name}"] == "1 for 2" for name in shared)
    assert all(rows[f"  {name}"] == "2 for 2" for name in ("stage1_selfsup", "evaluate stage2_sup"))


@pytest.mark.slow
def test_a_change_of_an_early_step_changes_all_that_is_made_from_it():
    first, second = (steps_of(typed("pipeline", f"synthesis.num_questions={number}")) for number in (10, 20))
    same = {step.name for step in first} - {
        one.name for one, other in zip(first, second, strict=True) if one.identity != other.identity
    }
    assert same == {"evaluate base"}


@pytest.mark.slow
def test_training_costs_the_hours_of_the_steps_that_are_to_make(tmp_path):
    first = planned(tmp_path, "grpo.num_steps=10")
    again = planned(tmp_path, "grpo.num_steps=10", "protocol.num_samples=2")
    rows = plan(first, again)
    hours = sum(step.device_hours for step in steps_of(first.job.config))
    assert hours > 0
    assert rows["device hours"].startswith(f"{hours:,.3g} for training, {2 * hours:,.3g} if no step were shared")
    assert rows["  price"] == f"{2 * hours:,.2f} at 2 per device and hour"


@pytest.mark.slow
def test_what_finished_jobs_have_made_is_not_made_again(tmp_path):
    done, new = planned(tmp_path, "grpo.num_steps=10"), planned(tmp_path, "grpo.num_steps=20")
    done.job.folder.mkdir()
    write_job(done.job.folder, new_record(JobState.done, done.job.fingerprint))
    rows = plan(done, new)
    assert rows["jobs"] == "2: 1 done, 1 to run"
    assert rows["steps"] == "4 to make for 7 that the jobs ask for"


def test_a_refused_job_is_shown_with_its_reason(tmp_path):
    refused = PlannedJob(Job((), tmp_path / "bad", None, False), "grpo.beta: -1.0; at least 0.")
    rows = plan(refused, planned(tmp_path, "grpo.num_steps=10"))
    assert rows["jobs"] == "2: 1 refused, 1 to run"
    assert rows["  bad"] == "grpo.beta: -1.0; at least 0."


@pytest.mark.slow
def test_the_command_line_of_a_sweep_with_info_writes_nothing(tmp_path, monkeypatch, capsys):
    from medssr.commands.train import main

    monkeypatch.chdir(tmp_path)
    words = ["-m", "seed=1,2", "grpo.num_steps=10,20", "data.path=labels.jsonl", "--info"]
    monkeypatch.setattr(sys, "argv", ["medssr-train", *words])
    main()
    shown = capsys.readouterr().out
    assert "jobs " in shown
    assert "4: 4 to run" in shown
    assert "data.path=labels.jsonl,grpo.num_steps=20,seed=2" in shown
    assert not list(tmp_path.iterdir())
