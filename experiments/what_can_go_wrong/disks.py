"""Disks that are full at different places: a command names the folder, and goes on once there is space again."""

from __future__ import annotations

import os
import subprocess
import threading
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from commands import Command, Ended, bad_end
from comparison import contents, differences
from outcomes import Outcome, Verdict
from small_pipeline import SETTINGS, Case, Setup, SmallPipeline

# Bytes of the disk; much more than a run needs.
_SIZE = 128 * 2**20
_FILLER = "filler"
_SHORT = ["extras.num_threads=1", "extras.progress_bar=false"]


@dataclass(frozen=True, slots=True)
class Place:
    """A folder that is on a full disk while a command runs.

    Attributes:
        name: What is full.
        command: The command.
        settings: Its settings; its inputs are outputs of an undisturbed pipeline.
        folder: The folder below the project's root that the disk is mounted at; {train} is the artefact of stage 1.
        share: How much of what the command writes there fits, from 0 to 1.
        survives: Whether the command ends well without this folder.
        variables: Its environment; ROOT is the project's root.
    """

    name: str
    command: str
    settings: list[str]
    folder: str
    share: float
    survives: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)


def places(pipeline: SmallPipeline) -> list[Place]:
    """Returns the places, one for each kind of file that medssr writes; those of the quick choice are the first two."""
    whole = pipeline.undisturbed()
    made = (whole.root / whole.folder(step) for step in ("synthesize", "pseudo_label", "train stage 1"))
    synthesized, labelled, trained = made
    human, benchmark = pipeline.inputs
    synthesize = [*_SHORT, "synthesis.num_questions=12", human]
    label = [*_SHORT, f"data.path={synthesized}/questions.jsonl", "labeling.questions_per_chunk=3",
             "labeling.num_votes=4", "labeling.max_new_tokens=24"]  # fmt: skip
    train = [*_SHORT, f"data.path={labelled}/questions.jsonl", "trainer=cpu", "logger=csv", "grpo.num_steps=3",
             "grpo.num_prompts_per_step=4", "grpo.num_generations=4", "grpo.max_new_tokens=24",
             "callbacks.completions.every_num_steps=1"]  # fmt: skip
    saves_often = [*train, "callbacks.checkpoint.every_num_steps=1"]
    evaluate = [
        *_SHORT,
        benchmark,
        f"model.path={trained}/model",
        "protocol.num_samples=1",
        "protocol.max_new_tokens=24",
    ]
    sft = [*_SHORT, "demonstrations=labels", f"demonstrations.path={labelled}/questions.jsonl", "sft=stage",
           "optim=sft", "sft.num_steps=3", "trainer=cpu"]  # fmt: skip
    compare = [*_SHORT, f"runs=[{whole.root}/run]"]
    export = [*_SHORT, f"data.path={labelled}/questions.jsonl", "experiment=tiny_export"]
    audit = [*_SHORT, f"data.path={labelled}/questions.jsonl", "audit.num_questions=8"]
    return [
        Place("artefact of questions", "synthesize", synthesize, "artifacts/synthesize", 0.5),
        Place("second checkpoint", "train", saves_often, "artifacts/train", 0.6),
        Place("stored corpus and index", "synthesize", synthesize, "artifacts/indexes", 0.3),
        Place("the whole project", "synthesize", synthesize, "", 0.0),
        Place("folder of the run", "synthesize", synthesize, "run", 0.0),
        Place("answers to vote on", "pseudo_label", label, "artifacts/pseudo_label", 0.4),
        Place("first checkpoint", "train", saves_often, "artifacts/train", 0.1),
        Place("trained model", "train", train, "artifacts/train", 0.9),
        Place("tables of completions", "train", train, "{train}/completions", 0.0, survives=True),
        Place("temporary files", "train", train, "tmp", 0.0, survives=True, variables={"TMPDIR": "ROOT/tmp"}),
        Place("predictions", "evaluate", evaluate, "artifacts/evaluate", 0.5),
        Place("fine-tuned model", "sft", sft, "artifacts/sft", 0.5),
        Place("report", "compare", compare, "report", 0.5),
        Place("export", "export", export, "artifacts/export", 0.5),
        Place("sheets of an audit", "audit", audit, "artifacts/audit", 0.5),
        Place("results of a pipeline", "pipeline", [*SETTINGS, "trainer=cpu", *pipeline.inputs], "run", 0.3),
    ]


def cases(setup: Setup) -> list[Case]:
    """Returns a case for each place, or for two of them."""
    disks = FullDisks(setup.pipeline.folder / "disks")
    return [partial(disks.judge, place) for place in places(setup.pipeline)[: 2 if setup.is_quick else None]]


class FullDisks:
    """Runs commands on full disks and compares them with undisturbed runs of the same commands.

    Args:
        folder: Where all projects are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()

    def judge(self, place: Place) -> list[Outcome]:
        """Returns what came of a place."""
        case = f"{place.name} ({place.command})"
        whole = self._undisturbed(place)
        root = self._folder / place.name.replace(" ", "_")
        disk = root / self._below(place.folder, whole)
        expected = contents(whole)
        if place.survives:  # what is in the folder itself only watches the run
            expected = {file: content for file, content in expected.items() if not (root / file).is_relative_to(disk)}
        needed = sum(file.stat().st_size for file in (whole / disk.relative_to(root)).rglob("*") if file.is_file())
        try:
            with _mounted(disk):
                _fill(disk, int(needed * place.share))
                ended = self._run(place, root)
                verdict, detail = _verdict(ended, root, disk, expected, place.survives)
                if verdict is Verdict.ANSWERED:
                    (disk / _FILLER).unlink()
                    again = self._run(place, root)
                    if again.code != 0:
                        verdict, detail = Verdict.UNCLEAR, f"with space again: {again.last_line}"
                    elif found := differences(contents(root), expected):
                        verdict, detail = Verdict.SILENTLY_WRONG, f"with space again: {'; '.join(found)}"[:500]
        except subprocess.CalledProcessError as error:
            return [Outcome("disks", case, Verdict.SKIPPED, f"a disk of its own is refused: {error.stderr.strip()}")]
        return [Outcome("disks", case, verdict, detail, ended.command)]

    def _run(self, place: Place, root: Path) -> Ended:
        variables = {name: value.replace("ROOT", str(root)) for name, value in place.variables.items()}
        settings = [*place.settings, f"hydra.run.dir={root}/run"]
        return Command(place.command, settings, root, variables=variables).end()

    def _undisturbed(self, place: Place) -> Path:
        """Returns the project in which a place's command has run with enough space; it is made once."""
        root = self._folder / f"undisturbed_{place.command}_{zlib.crc32(' '.join(place.settings).encode())}"
        with self._lock:
            if not root.exists():
                (root / "tmp").mkdir(parents=True)
                ended = self._run(place, root)
                assert ended.code == 0, ended.output
        return root

    @staticmethod
    def _below(folder: str, whole: Path) -> str:
        """Returns the folder of a place below the root of any project."""
        if "{train}" in folder:
            (manifest,) = whole.glob("artifacts/train/*/manifest.json")
            folder = folder.replace("{train}", str(manifest.parent.relative_to(whole)))
        return folder


def _verdict(ended: Ended, root: Path, disk: Path, expected: Mapping[str, str], survives: bool) -> tuple[Verdict, str]:
    """Returns the verdict on a command whose disk was full; ANSWERED if it has to be shown that it goes on."""
    if (bad := bad_end(ended, *((0,) if survives else (0, 2)))) is not None:
        return bad
    if ended.code == 0:
        found = contents(root)
        if survives:
            found = {file: content for file, content in found.items() if file in expected}
        if texts := differences(found, expected):
            return Verdict.SILENTLY_WRONG, "; ".join(texts)[:500]
        return Verdict.SURVIVED, ""
    if str(disk) not in ended.output:
        return Verdict.UNCLEAR, f"the message does not name the folder: {ended.last_line}"
    return Verdict.ANSWERED, ended.last_line


@contextmanager
def _mounted(folder: Path) -> Iterator[None]:
    """Gives a folder a disk of its own, in memory.

    Raises:
        CalledProcessError: When this process may not do so.
    """
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(folder)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _fill(folder: Path, num_free: int) -> None:
    """Leaves `num_free` bytes of the disk that a folder is on."""
    with (folder / _FILLER).open("wb") as stream, suppress(OSError):
        os.posix_fallocate(stream.fileno(), 0, _SIZE - num_free)
    status = os.statvfs(folder)
    free = status.f_bavail * status.f_frsize
    assert abs(free - num_free) < 2**16, (free, num_free)
