"""A pipeline as small as possible, undisturbed runs of it, and where each of its steps writes."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from commands import REPOSITORY, run
from comparison import contents
from forks import Forks
from outcomes import Outcome

# Runs one or several cases and returns what came of them.
Case = Callable[[], list[Outcome]]
TWO_TRAINERS = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.devices=2"]
SETTINGS = [
    "debug=quick",
    "logger=csv",
    "extras.progress_bar=false",
    "extras.num_threads=1",
    "synthesis.num_questions=12",
    "labeling.questions_per_chunk=4",
    "labeling.max_new_tokens=24",
    "grpo.max_new_tokens=24",
    "protocol.questions_per_chunk=8",
    "protocol.max_new_tokens=24",
    "callbacks.checkpoint.every_num_steps=1",
    "callbacks.completions.every_num_steps=1",
    "stages=[{name: stage1_selfsup, questions: pseudo_labelled}, {name: stage2_sup, questions: human}]",
]
STEPS = [
    "synthesize",
    "pseudo_label",
    "evaluate base",
    "train stage 1",
    "evaluate stage 1",
    "train stage 2",
    "evaluate stage 2",
    "report",
]


def write_inputs(folder: Path) -> None:
    """Writes the human-annotated questions and the benchmark: some rare diseases, some common ones."""
    questions = (REPOSITORY / "medssr/resources/questions/evaluation.jsonl").read_text(encoding="utf-8").splitlines()
    rare = [line for line in questions if json.loads(line)["is_rare"]]
    common = [line for line in questions if not json.loads(line)["is_rare"]]
    folder.mkdir(parents=True, exist_ok=True)
    for name, chosen in {"human": rare[:12] + common[:4], "benchmark": rare[12:24] + common[4:12]}.items():
        (folder / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in chosen), encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """A pipeline that nobody disturbed.

    Attributes:
        root: The folder of its project, with `artifacts/` and `run/`.
        contents: The content of each file that is promised to be the same after any disturbance.
    """

    root: Path
    contents: dict[str, str]

    def folder(self, step: str) -> Path:
        """Returns the folder that a step writes to, below the root of any project."""
        if step == "report":
            return Path("run")
        artifacts = json.loads((self.root / "run/results.json").read_text(encoding="utf-8"))
        name, _, model = step.partition(" ")
        if name == "train":
            file = artifacts["training"][int(model.removeprefix("stage ")) - 1]["metrics_file"]
            return Path(file).parent.relative_to(self.root)
        key = {"base": "evaluate base", "stage 1": "evaluate stage1_selfsup", "stage 2": "evaluate stage2_sup"}
        return Path(artifacts["artifacts"][key.get(model, name)]).relative_to(self.root)


class SmallPipeline:
    """The pipeline that all cases run, in folders below one folder.

    Args:
        folder: Where everything is written; it must be empty or absent.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        write_inputs(folder / "inputs")
        self._undisturbed: dict[int, Undisturbed] = {}
        self._lock = threading.Lock()

    @property
    def inputs(self) -> list[str]:
        """The settings that name the input files."""
        return [
            f"seed_questions.path={self.folder}/inputs/human.jsonl",
            f"benchmark.path={self.folder}/inputs/benchmark.jsonl",
        ]

    def overrides(self, root: Path, num_trainers: int = 1) -> list[str]:
        """Returns the settings of a run in the folder `root`."""
        trainer = TWO_TRAINERS if num_trainers == 2 else ["trainer=cpu"]
        return [*SETTINGS, *trainer, *self.inputs, f"hydra.run.dir={root}/run"]

    def undisturbed(self, num_trainers: int = 1) -> Undisturbed:
        """Returns the run that all others are compared with; it is made once."""
        with self._lock:
            if num_trainers not in self._undisturbed:
                root = self.folder / f"undisturbed-{num_trainers}"
                ended = run("pipeline", self.overrides(root, num_trainers), root)
                assert ended.code == 0, ended.output
                self._undisturbed[num_trainers] = Undisturbed(root, contents(root))
            return self._undisturbed[num_trainers]


@dataclass(frozen=True, slots=True)
class Setup:
    """What the cases of a kind are made from.

    Attributes:
        pipeline: The pipeline that is disturbed.
        forks: Runs commands whose process is not what a case is about.
        rng: Draws moments and places.
        is_quick: Whether to make few cases.
    """

    pipeline: SmallPipeline
    forks: Forks
    rng: random.Random
    is_quick: bool
