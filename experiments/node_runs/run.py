"""Trains a tiny policy many times in each arrangement of trainers and vLLM, and prints a table of what came of it.

    PYTHONPATH=.venv-vllm python experiments/node_runs/run.py FOLDER [--runs 10]

Every run is a line of `FOLDER/runs.jsonl`. The same command goes on where it was interrupted, and prints the table
of all runs. Ends with code 1 if a run did not end well.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from first_steps import FILE
from safetensors.torch import load_file
from trainings import GOOD, Interruption, Training

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
        "rollout.timeout_s=7200",  # a busy machine is no fault
    ]
    for number in (1, 2)
    for strategy in ("ddp", "fsdp2")
}
NUM_STEPS, NUM_FIRST_STEPS, INTERRUPTED_AFTER = 30, 10, 20
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


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one run.

    Attributes:
        arrangement: The arrangement's name.
        run: Its number from 1, or the interruption after which it was started again.
        outcome: "ended well", "code N" or "hung".
        seconds: Time on the clock, of all starts.
        num_left: Number of processes that were left when it had ended.
        seconds_to_end: Time from the interruption to the end of all trainers.
        weights: SHA-256 of the weights after all steps; None if there are none.
        deviation: Relative difference of the weights after the first steps from those of one trainer, by norms.
    """

    arrangement: str
    run: str
    outcome: str
    seconds: float
    num_left: int
    seconds_to_end: float | None = None
    weights: str | None = None
    deviation: float | None = None

    @property
    def is_interrupted(self) -> bool:
        """Whether the run was interrupted and started again."""
        return self.run in list(Interruption)

    @property
    def is_good(self) -> bool:
        """Whether the run ended well and left no process."""
        is_as_meant = self.is_interrupted == (self.seconds_to_end is not None)
        return self.outcome == GOOD and self.num_left == 0 and is_as_meant


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
        begin, seconds_to_end = time.monotonic(), None
        overrides = [*SETTINGS, *ARRANGEMENTS[arrangement], f"data.path={self.folder}/questions.jsonl"]
        training = Training(root, overrides)
        if run in list(Interruption):
            moment = f"checkpoint after step {INTERRUPTED_AFTER} of"
            seconds_to_end = training.interrupt(Interruption(run), moment)
            training = Training(root, overrides)
        outcome = training.outcome()
        result = Result(
            arrangement, run, outcome, time.monotonic() - begin, training.end_what_is_left(), seconds_to_end
        )
        if outcome != GOOD:
            return result
        (artifact,) = (path.parent for path in root.glob("artifacts/train/*/manifest.json"))
        if not self.expected.is_file():
            assert arrangement == ONE
            shutil.copy(artifact / FILE, self.expected)
        weights = hash_file(artifact / "model" / "model.safetensors")
        result = replace(result, weights=weights, deviation=_deviation(artifact / FILE, self.expected))
        if result.is_good:
            shutil.rmtree(root)
        return result


def _deviation(file: Path, expected: Path) -> float:
    first, second = load_file(file), load_file(expected)
    assert set(first) == set(second)
    pairs = [(first[name].double(), second[name].double()) for name in first]
    difference = sum((one - other).square().sum() for one, other in pairs)
    return float(torch.sqrt(torch.as_tensor(difference)) / torch.sqrt(sum(other.square().sum() for _, other in pairs)))


def table(results: list[Result]) -> str:
    """Returns a Markdown table with a line for each arrangement."""
    head = ["arrangement", "runs", "ended well", "seconds", "deviation after 10 steps", "different final weights"]
    lines = [f"| {' | '.join([*head, *Interruption])} |", "|---" * (len(head) + len(Interruption)) + "|"]
    for name in ARRANGEMENTS:
        of_arrangement = [result for result in results if result.arrangement == name]
        whole = [result for result in of_arrangement if not result.is_interrupted]
        good = [result for result in whole if result.is_good]
        if not good:
            continue
        hashes = {result.weights for result in good}
        cells = [
            f"{len(whole)}",
            f"{len(good)}",
            f"{min(result.seconds for result in good):.0f} to {max(result.seconds for result in good):.0f}",
            f"{max(result.deviation or 0.0 for result in good):.0e}",
            f"{len(hashes)}",
        ]
        for how in Interruption:
            cells += ["; ".join(_resumed(result, hashes) for result in of_arrangement if result.run == how)]
        lines.append(f"| {' | '.join([name, *cells])} |")
    return "\n".join(lines)


def _resumed(result: Result, hashes: set[str | None]) -> str:
    if not result.is_good:
        return result.outcome if result.outcome != GOOD else f"{result.num_left} processes left"
    return f"{result.seconds_to_end:.1f} s, {'the same bits' if result.weights in hashes else 'other bits'}"


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
    for run in ["1", *Interruption, *(str(number) for number in range(2, arguments.runs + 1))]:
        for arrangement in ARRANGEMENTS:
            is_possible = arrangement != ONE or run != Interruption.ONE_KILLED
            if is_possible and (arrangement, run) not in done:
                study.add(study.run(arrangement, run))
    print(f"\n{table(study.results)}")
    return 0 if all(result.is_good for result in study.results) else 1


if __name__ == "__main__":
    sys.exit(main())
