from __future__ import annotations

import json

import pytest
from omegaconf import OmegaConf

from medssr.sweeps.jobs import Job, JobState, new_record, read_job, run_job, write_job
from medssr.sweeps.running import config_of_job, run_jobs


@pytest.mark.parametrize(
    "content",
    ["", '{"state": "do', "[1]", '{"name": "job"}', '{"state": "paused", "fingerprint": "f", "host": "h", "pid": 1}'],
)
def test_a_job_with_a_damaged_record_runs_again(tmp_path, caplog, content):
    write_job(tmp_path, new_record(JobState.done, "f", value=1.0))
    assert run_job(tmp_path, "f", False, lambda: pytest.fail("it is finished")) == 1.0
    (tmp_path / "job.json").write_text(content)
    assert read_job(tmp_path) is None
    assert str(tmp_path / "job.json") in caplog.text
    assert Job((), tmp_path, "f", is_forced=False).state is JobState.not_started
    assert run_job(tmp_path, "f", False, lambda: 2.0) == 2.0
    assert json.loads((tmp_path / "job.json").read_text())["state"] == "done"


def test_a_job_in_the_process_of_its_sweep_has_the_planned_configuration(tmp_path):
    seen, composed = [], OmegaConf.create({"seed": 1})

    class Launcher:
        def launch(self, overrides, initial_job_idx):
            seen.append(config_of_job(tmp_path, composed))

    run_jobs(Launcher(), [Job(("seed=1",), tmp_path, "f", is_forced=False, config="as planned")])
    assert seen == ["as planned"]
    assert config_of_job(tmp_path, composed) == {"seed": 1}  # afterwards, and in other processes
