"""How far a run is, read from the files that it has at each moment."""

from __future__ import annotations

import json
import os
import socket
import time

from support.whole_runs import write_metrics, write_run_under_way, write_whole_run

from medssr.commands.watch.runs_so_far import read_run_so_far
from medssr.commands.watch.states import RunState, State, StateReader, run_folders
from medssr.sweeps.jobs import JobState, new_record, write_job

DEAD = 2**22 + 1  # above the largest process id of Linux


def state_of(folder, later_s: float = 0.0) -> RunState:
    return StateReader().read(folder, time.time() + later_s)


def test_a_folder_without_files_is_a_run_that_works_on_nothing_yet(tmp_path):
    assert run_folders(tmp_path) == []
    (tmp_path / "run" / ".hydra").mkdir(parents=True)
    assert run_folders(tmp_path) == [tmp_path / "run"]
    state = state_of(tmp_path / "run")
    assert (state.state, state.steps, state.part, state.percent) == (State.running, (), "", None)


def test_a_comparison_of_runs_is_no_run(tmp_path):
    folder = tmp_path / "compare" / "runs" / "now"
    (folder / ".hydra").mkdir(parents=True)
    (folder / "compare.log").touch()
    assert run_folders(tmp_path) == []


def test_what_it_works_on_and_how_much_of_it_is_done_is_the_last_of_its_log(tmp_path):
    state = state_of(write_run_under_way(tmp_path, "one", ["base"]))
    assert [step for step, _ in state.steps] == ["synthesize", "pseudo_label", "evaluate", "train"]
    assert state.part == "[4/7] first"
    assert state.progress.startswith("5 of 20 steps (25%), 2.24 steps/s")
    assert state.percent == 25


def test_a_run_that_was_started_again_goes_through_its_steps_from_the_first(tmp_path):
    folder = write_run_under_way(tmp_path, "one", ["base"])
    log = folder / "pipeline.log"
    log.write_text(log.read_text() * 2, encoding="utf-8")
    assert [step for step, _ in state_of(folder).steps] == ["synthesize", "pseudo_label", "evaluate", "train"]


def test_a_run_whose_process_is_gone_has_stopped_and_one_that_says_nothing_shows_no_sign_of_life(tmp_path):
    folder = write_run_under_way(tmp_path, "one")
    assert state_of(folder).state is State.running
    assert state_of(folder, later_s=600).state is State.waiting
    holder = tmp_path / "artifacts" / "train" / ".one-first.lock.holder"
    for pid, expected in ((DEAD, State.stopped), (os.getpid(), State.running)):
        holder.write_text(json.dumps({"host": socket.gethostname(), "pid": pid}), encoding="utf-8")
        assert state_of(folder).state is expected


def test_a_job_is_as_its_record_says(tmp_path):
    folder = write_run_under_way(tmp_path, "one")
    for state, expected in (
        (JobState.running, State.running),
        (JobState.ended, State.stopped),
        (JobState.done, State.finished),
    ):
        write_job(folder, new_record(state, "f"))
        assert state_of(folder).state is expected
    write_job(folder, new_record(JobState.failed, "f", error="out of memory"))
    assert (state_of(folder).state, state_of(folder).error) == (State.failed, "out of memory")


def test_a_run_so_far_has_the_scores_and_curves_that_there_are(tmp_path):
    write_whole_run(tmp_path, name="whole")
    folder = write_run_under_way(tmp_path, "one", ["base"])
    run = read_run_so_far(state_of(folder))
    assert not run.is_finished
    assert [model.name for model in run.record.models] == ["base"]
    assert run.curves == {}
    assert run.record.labels is not None
    assert run.record.labels.num_kept == 1
    write_metrics(tmp_path, "one", 3)
    run = read_run_so_far(state_of(folder))
    assert list(run.curves["first"]["train/reward"]) == [0.1, 0.2, 0.3]
    assert run.record.config["stages"] == ["first", "second"]


def test_a_finished_run_is_read_as_reports_read_it(tmp_path):
    folder = write_whole_run(tmp_path, name="whole").folder
    run = read_run_so_far(state_of(folder))
    assert run.is_finished
    assert [model.name for model in run.record.models] == ["base", "first", "second"]
