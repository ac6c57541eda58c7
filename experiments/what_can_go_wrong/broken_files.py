"""Gives broken files to the commands that read them: each refuses a file by its name, or has a valid result."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import broken_contents
from broken_contents import BrokenFile, Expected, jsonl
from commands import Ended, bad_end
from forks import Forks
from outcomes import Outcome, Verdict
from small_pipeline import Case, Setup

# The longest message, in characters, that a user reads.
_MAX_MESSAGE = 5_000
_SHORT = ["extras.num_threads=1", "extras.progress_bar=false"]
_WRITER = [*_SHORT, "generator=tiny_writer", "synthesis.num_questions=2", "synthesis.benchmark_path=null"]
# By the kind of file: the commands that read it, each with the settings of its smallest run; FILE is the broken file.
COMMANDS: dict[str, list[tuple[str, list[str]]]] = {
    "questions": [
        ("pseudo_label", [*_SHORT, "data.path=FILE", "labeling.num_votes=2", "labeling.max_new_tokens=24",
                          "labeling.min_agreement=0", "labeling.min_valid_share=0"]),
        ("train", [*_SHORT, "data.path=FILE", "trainer=cpu", "grpo.num_steps=1", "grpo.num_prompts_per_step=2",
                   "grpo.num_generations=2", "grpo.max_new_tokens=4", "logger=csv"]),
        ("evaluate", [*_SHORT, "benchmark.path=FILE", "protocol.num_samples=1", "protocol.max_new_tokens=4"]),
        ("synthesize", [*_SHORT, "seed_questions.path=FILE", "synthesis.num_questions=2"]),
        ("audit", [*_SHORT, "data.path=FILE", "audit.num_questions=2"]),
        ("export", [*_SHORT, "data.path=FILE", "experiment=tiny_export"]),
    ],
    "documents": [
        ("synthesize", [*_WRITER, "corpus=jsonl", "corpus.path=FILE", "entities=table", "entities.path=DISEASES"]),
        ("retrieve", [*_SHORT, "corpus=jsonl", "corpus.path=FILE", "retriever=bm25", "questions.path=ASKED",
                      "qrels.path=JUDGED"]),
    ],
    "diseases": [
        ("synthesize", [*_WRITER, "entities=table", "entities.path=FILE", "entities.weight_field=weight"]),
    ],
}  # fmt: skip
_FILES: dict[str, tuple[Callable[[], list[broken_contents.Record]], Callable[[], Iterator[BrokenFile]]]] = {
    "questions": (broken_contents.sound_questions, broken_contents.broken_questions),
    "documents": (broken_contents.sound_documents, broken_contents.broken_documents),
    "diseases": (broken_contents.sound_diseases, broken_contents.broken_diseases),
}
_QUICK = ("empty", "with a BOM")


def cases(setup: Setup) -> list[Case]:
    """Returns a case for each broken file, which goes through all commands of its kind."""
    folder, is_quick = setup.pipeline.folder / "broken", setup.is_quick
    made: list[Case] = []
    for kind, (sound, broken) in _FILES.items():
        reader = Readers(folder / kind, kind, jsonl(sound()), setup.forks, COMMANDS[kind][: 1 if is_quick else None])
        for file in broken():
            if not is_quick or (file.name in _QUICK and kind == "questions"):
                made.append(partial(reader.judge, file))
    return made


class Readers:
    """The commands that read one kind of file.

    Args:
        folder: Where the files and the projects are.
        kind: The kind of file.
        sound: The content of the sound file.
        forks: Runs the commands.
        commands: The commands with their settings.
    """

    def __init__(
        self, folder: Path, kind: str, sound: bytes, forks: Forks, commands: list[tuple[str, list[str]]]
    ) -> None:
        self._folder, self._kind, self._forks, self._commands = folder, kind, forks, commands
        self._expected: dict[str, dict[str, bytes]] = {}
        self._write_others(folder / "others")
        sound_file = folder / "sound" / f"{kind}.jsonl"
        sound_file.parent.mkdir(parents=True)
        sound_file.write_bytes(sound)
        self._sound_file = sound_file

    def judge(self, file: BrokenFile) -> list[Outcome]:
        """Returns what each command made of a broken file."""
        folder = self._folder / re.sub(r"\W+", "_", file.name)
        folder.mkdir()
        path = folder / f"{self._kind}{file.ending}"
        file.write(path)
        outcomes: list[Outcome] = []
        for name, settings in self._commands:
            root = folder / name
            ended = self._run(name, settings, path, root)
            verdict, detail = self._verdict(ended, file.expected, name, settings, path, root)
            outcomes.append(
                Outcome("broken files", f"{self._kind}, {file.name}, {name}", verdict, detail, ended.command)
            )
        return outcomes

    def _run(self, name: str, settings: list[str], path: Path, root: Path) -> Ended:
        others = self._folder / "others"
        names = {
            "FILE": path,
            "DISEASES": others / "diseases.jsonl",
            "ASKED": others / "asked.jsonl",
            "JUDGED": others / "judged.jsonl",
        }
        filled = [self._filled(setting, names) for setting in settings]
        return self._forks.run(name, [*filled, f"hydra.run.dir={root}/run"], root)

    @staticmethod
    def _filled(setting: str, names: dict[str, Path]) -> str:
        key, _, value = setting.partition("=")
        return f"{key}={names[value]}" if value in names else setting

    def _verdict(
        self, ended: Ended, expected: Expected, name: str, settings: list[str], path: Path, root: Path
    ) -> tuple[Verdict, str]:
        """Returns the verdict on a command that was given a broken file."""
        if (bad := bad_end(ended, 0, 2)) is not None:
            return bad
        if ended.code == 2:
            if str(path) not in ended.output:
                return Verdict.UNCLEAR, f"the message does not name the file: {ended.last_line}"
            if len(ended.output) > _MAX_MESSAGE:
                return Verdict.UNCLEAR, f"a message of {len(ended.output):,} characters"
            return Verdict.ANSWERED, ended.last_line
        if expected is Expected.REFUSED:
            return Verdict.SILENTLY_WRONG, "the file was accepted"
        if expected is Expected.SAME and _results(root, path) != self._sound_results(name, settings):
            return Verdict.SILENTLY_WRONG, "the result is not that of the sound file"
        if unreadable := _unreadable(root):
            return Verdict.SILENTLY_WRONG, f"{unreadable} cannot be read"
        return Verdict.SURVIVED, ""

    def _sound_results(self, name: str, settings: list[str]) -> dict[str, bytes]:
        """Returns what a command makes of the sound file."""
        if name not in self._expected:
            root = self._folder / "sound" / name
            ended = self._run(name, settings, self._sound_file, root)
            assert ended.code == 0, ended.output
            self._expected[name] = _results(root, self._sound_file)
        return self._expected[name]

    def _write_others(self, folder: Path) -> None:
        """Writes the sound files that a command needs beside the broken one."""
        folder.mkdir(parents=True)
        documents = broken_contents.sound_documents()
        asked = [{"question_id": number, "summary": item["title"]} for number, item in enumerate(documents)]
        judged = [{"question_id": number, "doc_id": item["id"], "grade": 4} for number, item in enumerate(documents)]
        (folder / "diseases.jsonl").write_bytes(jsonl(broken_contents.sound_diseases()))
        (folder / "asked.jsonl").write_bytes(jsonl(asked))
        (folder / "judged.jsonl").write_bytes(jsonl(judged))


def _results(root: Path, path: Path) -> dict[str, bytes]:
    """Returns the records that a command has written, without the names of input files and of artefacts."""
    found = {}
    for file in root.glob("artifacts/*/*/**/*.jsonl"):
        if not file.name.startswith("."):
            name = "/".join(file.relative_to(root).parts[3:])
            found[name] = file.read_bytes().replace(str(path).encode(), b"").replace(path.name.encode(), b"")
    return found


def _unreadable(root: Path) -> str | None:
    """Returns the name of a JSON file of an artefact that cannot be read, None if there is none."""
    for file in root.glob("artifacts/**/*"):
        if file.suffix not in (".json", ".jsonl") or file.name.startswith("."):
            continue
        try:
            text = file.read_text(encoding="utf-8")
            for part in text.split("\n") if file.suffix == ".jsonl" else [text]:
                if part:
                    json.loads(part)
        except ValueError:
            return str(file)
    return None
