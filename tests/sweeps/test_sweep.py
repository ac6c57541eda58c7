"""Whole sweeps of a command that needs no model, in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import joblib
import pytest
from support.commands import run, start

pytestmark = pytest.mark.slow

SWEEP = "logs/synthesize/sweeps/default"


def start_sweep(root: Path, *overrides: str, command: str = "synthesize") -> subprocess.Popen[str]:
    return start(command, "-m", "extras.progress_bar=false", *overrides, folder=root, env={"COLUMNS": "200"})


def sweep(root: Path, *overrides: str, code: int = 0, command: str = "synthesize") -> str:
    process = start_sweep(root, *overrides, command=command)
    output, _ = process.communicate()
    assert process.returncode == code, output
    return output


def questions(answer: str) -> str:
    texts = {"Which organ makes insulin?": "pancreas", "Which organ makes bile?": "liver"}
    return "".join(
        json.dumps({"id": stem, "stem": stem, "options": {"A": organ, "B": "heart"}, "answer": answer}) + "\n"
        for stem, organ in texts.items()
    )


def states_of(root: Path) -> list[str]:
    return sorted(json.loads(file.read_text())["state"] for file in (root / SWEEP).glob("*/job.json"))


def record(root: Path, job: str) -> dict:
    return json.loads((root / SWEEP / job / "job.json").read_text())


def test_the_same_command_skips_what_is_finished_and_runs_what_is_new(tmp_path):
    output = sweep(tmp_path, "synthesis.num_questions=3,4")
    assert output.count("synthesize: started") == 2
    before = record(tmp_path, "synthesis.num_questions=3")
    output = sweep(tmp_path, "synthesis.num_questions=3,4,5")
    assert output.count("synthesize: ") == 1
    assert record(tmp_path, "synthesis.num_questions=3") == before
    assert [path.name for path in sorted((tmp_path / SWEEP).glob("*/"))] == [
        f"synthesis.num_questions={number}" for number in (3, 4, 5)
    ]


def test_a_job_whose_files_or_settings_have_changed_runs_again(tmp_path):
    seeds = tmp_path / "seeds.jsonl"
    seeds.write_text(questions("B"))
    command = ("seed_questions=file", f"seed_questions.path={seeds}", "synthesis.num_questions=2")
    assert "synthesize: started" in sweep(tmp_path, *command)
    assert "synthesize: " not in sweep(tmp_path, *command)
    assert "synthesize: " not in sweep(tmp_path, *command, "paths.index_dir=elsewhere")
    seeds.write_text(questions("A"))
    assert "synthesize: started" in sweep(tmp_path, *command)
    assert "synthesize: started" in sweep(tmp_path, *command, "force=true")


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_refused_and_failing_jobs_stop_no_other(tmp_path, launcher):
    """One is refused before it starts, one fails in the middle; both are named with the reason and the folder."""
    (tmp_path / "broken.jsonl").write_text("{")
    seeds = f"seed_questions.path=${{resource:questions/human.jsonl}},{tmp_path}/broken.jsonl"
    command = (f"hydra/launcher={launcher}", "synthesis.num_questions=0,2", seeds)
    output = sweep(tmp_path, *command, code=3)
    assert "Traceback" not in output
    assert "synthesis.num_questions: 0; at least 1." in output
    assert "broken.jsonl, line 1" in output
    states = states_of(tmp_path)
    assert states == ["done", "failed", "failed", "failed"]
    table = output[output.index("seconds ") :]
    assert table.count("failed ") >= 3
    for failed in (path for path in (tmp_path / SWEEP).glob("*") if "num_questions=0" in path.name):
        assert str(failed) in output
    (tmp_path / "broken.jsonl").write_text(questions("B"))
    output = sweep(tmp_path, *command, code=3)
    states = states_of(tmp_path)
    assert states == ["done", "done", "failed", "failed"]


def test_a_sweep_over_trained_models_knows_what_is_done(tmp_path):
    """A job is known by the run that it names; one that names none fails alone."""
    sft = ("demonstrations.num_rows=4", "sft.num_steps=1", "trainer=cpu", "extras.progress_bar=false")
    run("sft", *sft, f"hydra.run.dir={tmp_path}/trained", folder=tmp_path)
    (tmp_path / "asked.jsonl").write_text(questions("A"))
    command = (f"benchmark.path={tmp_path}/asked.jsonl", "protocol.num_samples=1", "protocol.max_new_tokens=3")
    states = "logs/evaluate/sweeps/default"

    output = sweep(tmp_path, f"run={tmp_path}/trained", *command, command="evaluate")
    (file,) = (tmp_path / states).glob("*/job.json")
    first = json.loads(file.read_text())
    assert first["state"] == "done", output
    output = sweep(tmp_path, f"run={tmp_path}/trained,/nowhere", *command, command="evaluate", code=3)
    assert "/nowhere" in output
    assert "evaluate: started" not in output
    assert json.loads(file.read_text()) == first
    found = [json.loads(file.read_text())["state"] for file in (tmp_path / states).glob("*/job.json")]
    assert sorted(found) == ["done", "failed"]


def test_a_typo_in_one_job_is_found_before_any_starts(tmp_path):
    output = sweep(tmp_path, "corpus=builtin,bultin", code=2)
    assert "bultin" in output
    assert "Traceback" not in output
    assert not (tmp_path / "artifacts").exists()


def test_a_sweep_that_is_started_twice_at_once_runs_each_job_once(tmp_path):
    processes = [start_sweep(tmp_path, "synthesis.num_questions=40,50") for _ in range(2)]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert sum(output.count("synthesize: started") for output in outputs) == 2


def test_jobs_that_differ_in_nothing_are_one_job(tmp_path):
    output = sweep(tmp_path, "synthesis.num_questions=3", "extras.num_threads=1,2")
    assert "duplicate job" in output
    assert output.count("synthesize: started") == 1


def test_a_step_that_two_jobs_share_is_made_once_while_both_run(tmp_path):
    """The same questions in two files are the same input, so both jobs want one artefact."""
    for name in ("one.jsonl", "other.jsonl"):
        (tmp_path / name).write_text(questions("A"))
    files = f"seed_questions.path={tmp_path}/one.jsonl,{tmp_path}/other.jsonl"
    output = sweep(tmp_path, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "synthesis.num_questions=60", files)
    assert output.count("synthesize: started") == 1
    assert output.count("synthesize: already made") == 1
    assert len(list((tmp_path / SWEEP).glob("*/job.json"))) == 2


def wait_for(condition, process: subprocess.Popen[str]) -> None:
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("launcher", "signum"), [("basic", signal.SIGKILL), ("joblib", signal.SIGHUP), ("joblib", signal.SIGINT)]
)
def test_an_ended_sweep_goes_on(tmp_path, launcher, signum):
    command = (f"hydra/launcher={launcher}", "synthesis.num_questions=1500,1501,1502", "generator=grounded")
    process = start_sweep(tmp_path, *command)
    wait_for(lambda: list(tmp_path.glob("artifacts/synthesize/*/.questions*")), process)
    process.send_signal(signum)
    output, _ = process.communicate()
    assert process.returncode == (-9 if signum == signal.SIGKILL else 128 + signum), output
    assert "Traceback" not in output
    states = states_of(tmp_path)
    assert states
    assert "done" not in states
    if signum != signal.SIGKILL:
        assert set(states) == {"ended"}
    sweep(tmp_path, *command)
    states = states_of(tmp_path)
    assert states == ["done"] * 3


def test_a_job_whose_process_dies_is_started_once_more(tmp_path):
    command = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "synthesis.num_questions=900,901,902")
    process = start_sweep(tmp_path, *command)
    wait_for(lambda: list(tmp_path.glob("artifacts/synthesize/*/.questions*")), process)
    running = next(json.loads(file.read_text()) for file in (tmp_path / SWEEP).glob("*/job.json"))
    os.kill(running["pid"], signal.SIGKILL)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert "started once more" in output
    assert states_of(tmp_path) == ["done"] * 3


def test_a_launcher_that_hides_the_output_of_jobs_has_their_failures_told(tmp_path):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    (tmp_path / "broken.jsonl").write_text("{")
    seeds = f"seed_questions.path=${{resource:questions/human.jsonl}},{tmp_path}/broken.jsonl"
    output = sweep(tmp_path, "hydra/launcher=submitit_local", "synthesis.num_questions=2", seeds, code=3)
    assert output.index("broken.jsonl, line 1") < output.index("seconds ")
    assert states_of(tmp_path) == ["done", "failed"]


def test_two_workers_share_the_cores():
    program = """
import os
from joblib import Parallel, delayed
print(Parallel(n_jobs=2, backend="loky")(delayed(os.getenv)("OMP_NUM_THREADS") for _ in range(2)))
"""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    share = max(1, joblib.cpu_count() // 2)
    assert done.stdout.strip() == str([str(share)] * 2)


def test_a_study_whose_name_leads_out_of_the_log_folder_stays_in_it(tmp_path):
    root = tmp_path / "project" / "root"
    root.mkdir(parents=True)
    sweep(root, "study=../../..", "synthesis.num_questions=2")
    (folder,) = (root / "logs/synthesize/sweeps").iterdir()
    assert json.loads((folder / "synthesis.num_questions=2" / "job.json").read_text())["state"] == "done"
    assert {path.name for path in root.iterdir()} == {"artifacts", "logs"}
    assert [path.name for path in (root / "logs").iterdir()] == ["synthesize"]
    assert [path.name for path in tmp_path.iterdir()] == ["project"]
