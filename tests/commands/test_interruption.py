"""Tests that a pipeline that is interrupted in any step and restarted has the same results, byte for byte."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.commands import start

SETTINGS = [
    "debug=quick",
    "trainer=cpu",
    "extras.progress_bar=false",
    "extras.num_threads=1",
    "logger=csv",
    "callbacks.checkpoint.every_num_steps=1",
    "labeling.questions_per_chunk=10",
    "protocol.questions_per_chunk=100",
    "synthesis.num_questions=30",
    "hydra.verbose=[medssr.engines.sampled_answers,medssr.training.step_checkpoint]",
]
# Each is printed in the middle of a step: after its first chunk, checkpoint or file; with the signal that is sent then.
MOMENTS = [
    (r"synthesize: started", signal.SIGKILL),
    (r"pseudo_label/.*chunk 2 of", signal.SIGKILL),
    (r"pseudo_label/.*chunk 3 of", signal.SIGTERM),
    (r"evaluate/.*chunk 3 of", signal.SIGKILL),
    (r"checkpoint after step 1 of", signal.SIGTERM),
    (r"checkpoint after step 2 of", signal.SIGKILL),
    (r"evaluate: started", signal.SIGINT),
    (r"checkpoint after step 1 of", signal.SIGKILL),
]
EXIT_CODES = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}


def start_pipeline(folder: Path, *overrides: str) -> subprocess.Popen[str]:
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    return start("pipeline", *overrides, *SETTINGS, f"hydra.run.dir={folder}/run", folder=folder, **streams)


def lines(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stderr is not None
    yield from process.stderr


def run_to_the_end(folder: Path) -> Path:
    process = start_pipeline(folder)
    log = list(lines(process))
    assert process.wait() == 0, "".join(log)
    return folder / "run" / "results.json"


def end_at(folder: Path, moment: str, signum: signal.Signals, *overrides: str) -> str:
    """Sends a signal when a line is printed, and returns the output after it."""
    process = start_pipeline(folder, *overrides)
    log = lines(process)
    for line in log:
        if re.search(moment, line):
            process.send_signal(signum)
            break
    rest = "".join(log)
    assert process.wait() == EXIT_CODES[signum], f"at {moment!r}, if it came: {rest}"
    return rest


def without_places(results: Path) -> str:
    found = json.loads(results.read_text(encoding="utf-8"))
    for name in ("artifacts", "training"):
        del found[name]
    return json.dumps(found, indent=1)


def contents(root: Path, pattern: str) -> dict[str, bytes]:
    """Returns the content of the artefacts' files, with the root folder's path masked."""
    files = sorted(root.glob(f"artifacts/{pattern}"))
    return {str(file.relative_to(root)): file.read_bytes().replace(str(root).encode(), b"") for file in files}


@pytest.mark.slow
def test_ended_in_every_step_it_ends_with_the_same_results(tmp_path: Path):
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "ended"
    undisturbed.mkdir()
    killed.mkdir()
    expected = run_to_the_end(undisturbed)
    for moment, signum in MOMENTS:
        rest = end_at(killed, moment, signum)
        if signum != signal.SIGKILL:
            assert f"ended by {signum.name}" in rest
            assert "Traceback" not in rest
    found = run_to_the_end(killed)
    assert without_places(found) == without_places(expected)
    # Folders are named by the content that went in: equal names say that what came before is equal too.
    for file in ("train/*/model/model.safetensors", "pseudo_label/*/votes.jsonl", "evaluate/*/results.json"):
        whole, resumed = contents(undisturbed, file), contents(killed, file)
        assert whole
        assert whole == resumed


@pytest.mark.slow
def test_a_signal_ends_a_sweep_with_all_its_runs(tmp_path: Path):
    rest = end_at(tmp_path, r"pseudo_label/.*chunk 1 of", signal.SIGTERM, "--multirun", "seed=1,2,3")
    assert "Traceback" not in rest
    assert len([path for path in tmp_path.glob("artifacts/pseudo_label/*") if path.is_dir()]) == 1
