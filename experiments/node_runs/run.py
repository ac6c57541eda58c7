"""Trains a tiny policy many times in each arrangement of trainers and vLLM, and prints a table of what came of it.

    PYTHONPATH=.venv-vllm python experiments/node_runs/run.py FOLDER [--runs 10]

Every run is a line of `FOLDER/runs.jsonl`. The same command goes on where it was interrupted, and prints the table
of all runs. Ends with code 1 if a run did not end well.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
import torch
from first_steps import FILE
from safetensors.torch import load_file

from medssr.questions import read_questions, write_questions
from medssr.resources import RESOURCES
from medssr.utils.files import hash_file

ONE = "one trainer, engine in process"
_TWO = ["trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.devices=2"]
_VLLM = ["rollout=vllm"]
ARRANGEMENTS = {
    ONE: ["trainer=cpu", *_VLLM],
    "ddp, an engine in each trainer": ["trainer=ddp", *_TWO, *_VLLM],
    "fsdp2, an engine in each trainer": ["trainer=fsdp2", *_TWO, *_VLLM],
} | {
    f"{strategy}, {number} server{'s' * (number > 1)}": [
        f"trainer={strategy}",
        *_TWO,
        "rollout=vllm_node",
        f"rollout.num_servers={number}",
    ]
    for number in (1, 2)
    for strategy in ("ddp", "fsdp2")
}
NUM_STEPS, NUM_FIRST_STEPS, KILLED_AFTER = 30, 10, 20
SETTINGS = [
    "logger=csv",
    "extras.progress_bar=false",
    "extras.num_threads=1",
    f"grpo.num_steps={NUM_STEPS}",
    "grpo.num_prompts_per_step=4",
    "grpo.num_generations=4",
    "grpo.beta=0.01",
    "rollout.cpu_kv_cache_gib=0.1",
    f"callbacks.checkpoint.every_num_steps={NUM_FIRST_STEPS}",
    "hydra.verbose=[medssr.training.step_checkpoint]",
    "+callbacks.first_steps._target_=first_steps.FirstSteps",
    f"+callbacks.first_steps.num_steps={NUM_FIRST_STEPS}",
]
# Seconds after which a run counts as hung; on two free cores one takes about a minute.
LIMIT_S = 7200.0
KILLED = "killed and resumed"


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one run.

    Attributes:
        arrangement: The arrangement's name.
        run: Its number from 1, or `KILLED`.
        outcome: "ended well", "code N" or "hung".
        seconds: Time on the clock.
        weights: SHA-256 of the weights after all steps; None if there are none.
        first_steps: SHA-256 of the weights after the first steps.
        deviation: Relative difference of the weights after the first steps from those of one trainer, by norms.
        num_left: Number of processes that were left when it had ended.
    """

    arrangement: str
    run: str
    outcome: str
    seconds: float
    weights: str | None = None
    first_steps: str | None = None
    deviation: float | None = None
    num_left: int = 0

    @property
    def is_good(self) -> bool:
        """Whether the run ended well and left no process."""
        return self.outcome == "ended well" and self.num_left == 0


@dataclass(frozen=True, slots=True)
class Study:
    """The folder of the runs, with their results so far."""

    folder: Path

    @property
    def results(self) -> list[Result]:
        """The results so far."""
        file = self.folder / "runs.jsonl"
        lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
        return [Result(**json.loads(line)) for line in lines]

    @property
    def expected(self) -> Path:
        """The weights of one trainer after the first steps."""
        return self.folder / "expected.safetensors"

    def add(self, result: Result) -> None:
        """Writes down a result."""
        with (self.folder / "runs.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(asdict(result)) + "\n")
        print(result, flush=True)

    def run(self, arrangement: str, run: str) -> Result:
        """Trains once, in a folder that stays if the run did not end well."""
        root = self.folder / f"{list(ARRANGEMENTS).index(arrangement)} {run}"
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        begin = time.monotonic()
        command = [*SETTINGS, *ARRANGEMENTS[arrangement], f"data.path={self.folder}/questions.jsonl"]
        process = _start(command, root)
        if run == KILLED and _kill_after(process, root / "log", f"checkpoint after step {KILLED_AFTER} of"):
            process = _start(command, root)
        outcome = _outcome(process)
        seconds = time.monotonic() - begin
        left = list(_processes_of(root))
        for process in left:
            process.kill()
        if outcome != "ended well":
            return Result(arrangement, run, outcome, seconds, num_left=len(left))
        assert run != KILLED or (root / "log").read_text(encoding="utf-8").count("train: started") == 2
        (artifact,) = (path.parent for path in root.glob("artifacts/train/*/manifest.json"))
        if not self.expected.is_file():
            assert arrangement == ONE
            shutil.copy(artifact / FILE, self.expected)
        result = Result(
            arrangement,
            run,
            outcome,
            seconds,
            hash_file(artifact / "model" / "model.safetensors"),
            hash_file(artifact / FILE),
            _deviation(artifact / FILE, self.expected),
            len(left),
        )
        if result.is_good:
            shutil.rmtree(root)
        return result


def _start(command: list[str], root: Path) -> subprocess.Popen[bytes]:
    """Starts a training in a folder, where it writes what it prints to `log`."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *(path for path in sys.path if path)]),
        "MEDSSR_ROOT": str(root),
        "GLOO_SOCKET_IFNAME": "lo",
        "OMP_NUM_THREADS": "1",
        "PYTHONFAULTHANDLER": "1",
    }
    program = [sys.executable, "-m", "medssr.commands.train", *command]
    with (root / "log").open("ab") as stream:
        return subprocess.Popen(program, stdout=stream, stderr=stream, cwd=root, env=environment)


def _outcome(process: subprocess.Popen[bytes]) -> str:
    """Waits for a training and returns how it ended; one that hangs is ended, with the stacks of its threads."""
    try:
        code = process.wait(LIMIT_S)
    except subprocess.TimeoutExpired:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        for member in family:
            member.send_signal(signal.SIGABRT)
        psutil.wait_procs(family, timeout=10)
        process.kill()
        process.wait()
        return "hung"
    return f"code {code}" if code else "ended well"


def _kill_after(process: subprocess.Popen[bytes], log: Path, text: str) -> bool:
    """Kills a training's trainers together, without warning, once its log has a text; returns whether it did."""
    while text not in log.read_text(encoding="utf-8", errors="replace"):
        if process.poll() is not None:
            return False
        time.sleep(0.2)
    family = psutil.Process(process.pid)
    for member in [family, *family.children()]:
        member.kill()
    process.wait()
    return True


def _processes_of(root: Path) -> Iterator[psutil.Process]:
    """The processes that a training in a folder has left, ten seconds after its end."""
    for attempt in range(20):
        left = [
            process
            for process in psutil.process_iter()
            if process.pid != os.getpid() and _environment(process).get("MEDSSR_ROOT") == str(root)
        ]
        if not left or attempt == 19:
            yield from left
            return
        time.sleep(0.5)


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return {}


def _deviation(file: Path, expected: Path) -> float:
    first, second = load_file(file), load_file(expected)
    assert set(first) == set(second)
    pairs = [(first[name].double(), second[name].double()) for name in first]
    difference = sum((one - other).square().sum() for one, other in pairs)
    return float(torch.sqrt(torch.as_tensor(difference)) / torch.sqrt(sum(other.square().sum() for _, other in pairs)))


def table(results: list[Result]) -> str:
    """Returns a Markdown table with a line for each arrangement."""
    head = "arrangement | runs | ended well | seconds | weights after 10 steps from one trainer's"
    lines = [f"| {head} | different final weights | killed and resumed |", "|---" * 7 + "|"]
    for name in ARRANGEMENTS:
        whole = [result for result in results if result.arrangement == name and result.run != KILLED]
        good = [result for result in whole if result.is_good]
        if not good:
            continue
        killed = [result for result in results if result.arrangement == name and result.run == KILLED]
        hashes = {result.weights for result in good}
        resumed = "".join("the same" if result.weights in hashes else "other weights" for result in killed) or "not run"
        cells = [
            f"{len(whole)}",
            f"{len(good)}",
            f"{min(result.seconds for result in good):.0f} to {max(result.seconds for result in good):.0f}",
            f"{max(result.deviation or 0.0 for result in good):.0e}",
            f"{len(hashes)}",
            resumed,
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    """Makes the runs that are not there yet, one of each arrangement after the other, and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=10, help="runs of each arrangement")
    arguments = parser.parse_args()
    study = Study(arguments.folder.resolve())
    study.folder.mkdir(parents=True, exist_ok=True)
    questions = [item for item in read_questions(RESOURCES / "questions" / "evaluation.jsonl") if item.is_rare]
    write_questions(study.folder / "questions.jsonl", questions[:24])
    done = {(result.arrangement, result.run) for result in study.results}
    for run in [str(number + 1) for number in range(arguments.runs)]:
        for arrangement in ARRANGEMENTS:
            for name in [run, *([KILLED] if run == "1" else [])]:
                if (arrangement, name) not in done:
                    study.add(study.run(arrangement, name))
    print(f"\n{table(study.results)}")
    return 0 if all(result.is_good for result in study.results) else 1


if __name__ == "__main__":
    sys.exit(main())
