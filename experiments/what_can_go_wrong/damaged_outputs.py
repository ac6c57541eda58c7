"""Damages the files of finished steps: who needs them says so, and after a deletion they are made anew."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from commands import Ended, bad_end
from comparison import contents, differences
from forks import Forks
from outcomes import Outcome, Verdict
from small_pipeline import Case, Setup, SmallPipeline, Undisturbed

from medssr.utils.outputs import STATE_FOLDERS

# Evaluations of other models have the same files.
STEPS = ["synthesize", "pseudo_label", "train stage 1", "evaluate stage 2"]
_SHORT = ["extras.num_threads=1", "extras.progress_bar=false"]
# By step and file: the command that is given this file, or a folder that holds it, with its settings.
_NEXT: dict[tuple[str, str], tuple[str, list[str]]] = {
    ("synthesize", "questions.jsonl"): (
        "pseudo_label",
        [*_SHORT, "data.path=STEP/questions.jsonl", "labeling.num_votes=2", "labeling.max_new_tokens=24"],
    ),
    ("pseudo_label", "questions.jsonl"): (
        "train",
        [*_SHORT, "data.path=STEP/questions.jsonl", "trainer=cpu", "logger=csv", "grpo.num_steps=1",
         "grpo.num_prompts_per_step=2", "grpo.num_generations=2", "grpo.max_new_tokens=4"],
    ),
    ("train stage 1", "model/model.safetensors"): (
        "evaluate",
        [*_SHORT, "model.path=STEP/model", "BENCHMARK", "protocol.num_samples=1", "protocol.max_new_tokens=4"],
    ),
    ("train stage 1", "manifest.json"): (
        "evaluate",
        [*_SHORT, "run=STEP", "BENCHMARK", "protocol.num_samples=1", "protocol.max_new_tokens=4"],
    ),
    ("evaluate stage 2", "results.json"): ("compare", [*_SHORT, "runs=[STEP]"]),
    ("evaluate stage 2", "predictions-benchmark.jsonl"): ("compare", [*_SHORT, "runs=[STEP]"]),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Damage:
    """A damage to the content of a file."""

    name: str
    apply: Callable[[bytes], bytes]


def cases(setup: Setup) -> list[Case]:
    """Returns a case for each step, which damages each of its files in each way; the quick choice is one file."""
    return [
        partial(DamagedStep(step, setup.pipeline, setup.forks, damages(setup.rng)).judge_all, setup.is_quick)
        for step in (STEPS[1:2] if setup.is_quick else STEPS)
    ]


def damages(rng: random.Random) -> list[Damage]:
    """Returns the ways in which a file is damaged; places are drawn."""
    seed = rng.random()

    def cut(content: bytes) -> bytes:
        lines = content.splitlines(keepends=True)
        # At the end of a line, where each line is a record: what is left looks whole.
        return b"".join(lines[: len(lines) // 2]) if len(lines) > 1 else content[: len(content) // 2]

    def flip(content: bytes) -> bytes:
        changed = bytearray(content)
        if changed:
            changed[random.Random(seed).randrange(len(changed))] ^= 1
        return bytes(changed)

    return [Damage("cut", cut), Damage("one bit flipped", flip), Damage("emptied", lambda _: b"")]


class DamagedStep:
    """A copy of an undisturbed project, in which the files of one step are damaged, one at a time.

    Args:
        step: The step.
        pipeline: The pipeline.
        forks: Runs the commands.
        ways: The damages.
    """

    def __init__(self, step: str, pipeline: SmallPipeline, forks: Forks, ways: list[Damage]) -> None:
        self._step, self._pipeline, self._forks, self._ways = step, pipeline, forks, ways
        self._root = pipeline.folder / "damaged" / step.replace(" ", "_")

    def judge_all(self, is_quick: bool) -> list[Outcome]:
        """Returns what came of each damage, and of a deletion after the last."""
        sound = self._pipeline.undisturbed()
        folder = self._root / sound.folder(self._step)
        self._restore(sound)
        files = [file.relative_to(folder) for file in sorted(folder.rglob("*")) if _is_output(file, folder)]
        outcomes: list[Outcome] = []
        for file in files if not is_quick else files[-1:]:
            for way in self._ways:
                outcomes += self._judge(sound, folder / file, folder, way)
        return [*outcomes, self._judge_remake(sound, folder)]

    def _judge(self, sound: Undisturbed, file: Path, folder: Path, way: Damage) -> Iterator[Outcome]:
        """Yields what the pipeline, and the next command, made of a damaged file."""
        before = file.read_bytes()
        if way.apply(before) == before:
            return
        name = str(file.relative_to(folder))
        for command, settings in self._readers(name, folder):
            file.write_bytes(way.apply(before))
            ended = self._forks.run(command, settings, self._root)
            verdict, detail = self._verdict(ended, file, sound, is_pipeline=command == "pipeline")
            yield Outcome(
                "damaged outputs", f"{self._step}, {name} {way.name}, {command}", verdict, detail, ended.command
            )
            if ended.code == 2:
                file.write_bytes(before)
            else:  # it may have written anything
                self._restore(sound)

    def _readers(self, name: str, folder: Path) -> Iterator[tuple[str, list[str]]]:
        """Yields the commands that a damaged file meets, with their settings."""
        yield "pipeline", self._pipeline.overrides(self._root)
        if (self._step, name) in _NEXT:
            command, settings = _NEXT[self._step, name]
            benchmark = self._pipeline.inputs[1]
            filled = [setting.replace("STEP", str(folder)).replace("BENCHMARK", benchmark) for setting in settings]
            yield command, filled

    def _verdict(self, ended: Ended, file: Path, sound: Undisturbed, is_pipeline: bool) -> tuple[Verdict, str]:
        if (bad := bad_end(ended, 0, 2)) is not None:
            return bad
        if ended.code == 2:
            is_named = str(file) in ended.output
            return (Verdict.ANSWERED if is_named else Verdict.UNCLEAR), ended.last_line
        if is_pipeline and not self._differences(sound):
            return Verdict.SURVIVED, "made anew"
        return Verdict.SILENTLY_WRONG, "the damaged file was taken for whole"

    def _judge_remake(self, sound: Undisturbed, folder: Path) -> Outcome:
        """Returns what came of a step whose damaged file the user deletes as the message says."""
        files = [file for file in folder.rglob("*") if _is_output(file, folder)]
        largest = max(files, key=lambda file: file.stat().st_size)
        largest.write_bytes(b"")
        case = f"{self._step}, made anew after a deletion"
        overrides = self._pipeline.overrides(self._root)
        said = self._forks.run("pipeline", overrides, self._root)
        to_delete = [Path(path) for path in re.findall(r"[Dd]elete (/\S+?)[.,;:]?(?:\s|$)", said.output)]
        if said.code != 2 or not to_delete:
            detail = f"no message says what to delete: {said.last_line}"
            return Outcome("damaged outputs", case, Verdict.UNCLEAR, detail, said.command)
        for path in to_delete:
            assert path.is_relative_to(self._root), path
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        ended = self._forks.run("pipeline", overrides, self._root)
        if (bad := bad_end(ended, 0)) is not None:
            return Outcome("damaged outputs", case, *bad, ended.command)
        differing = self._differences(sound)
        verdict = Verdict.SILENTLY_WRONG if differing else Verdict.SURVIVED
        return Outcome("damaged outputs", case, verdict, "; ".join(differing)[:500], ended.command)

    def _differences(self, sound: Undisturbed) -> list[str]:
        return differences(contents(self._root, sound.root), sound.contents)

    def _restore(self, sound: Undisturbed) -> None:
        """Makes the copy what the undisturbed project is."""
        shutil.rmtree(self._root, ignore_errors=True)
        shutil.copytree(sound.root, self._root)


def _is_output(file: Path, folder: Path) -> bool:
    """Returns whether a file is damaged: not what an unfinished step goes on from, which nobody reads afterwards."""
    is_state = file.relative_to(folder).parts[0] in STATE_FOLDERS
    return file.is_file() and not file.name.startswith(".") and not is_state
