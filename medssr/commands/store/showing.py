"""medssr show ID: one artefact or run, with its lineage, settings, first records and the command that makes it anew."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from medssr.artifacts import fingerprint_parts
from medssr.cli.entry import composed
from medssr.commands.store.arguments import catalog_of, parser, run_main, split_words
from medssr.commands.store.listing import when
from medssr.commands.store.records import Catalog, StoredRun, StoredStep, folder_bytes, size_text
from medssr.config import SCHEMAS
from medssr.errors import InputError
from medssr.manifests import Artifact

_NUM_RECORDS = 2
# Settings of commands that have to be given; the lineage shows what was.
_WITHOUT_DEFAULT = ("data.path", "questions.path", "qrels.path", "corpus.path")
_MAX_WIDTH = 200  # characters of a record
_SHOWN_METRICS = ("step", "train/loss", "train/reward", "train/true_accuracy", "train/kl", "train/completion_tokens")


def main() -> None:
    """Console entry point."""
    run_main(_main)


def _main(arguments: list[str]) -> None:
    flags = parser("show", "Show an artefact or a run: lineage, settings, first records, the command that makes it.")
    flags.add_argument("words", nargs="+", metavar="ID", help="the begin of a fingerprint, or a folder")
    names, overrides = split_words(flags.parse_args(arguments).words)
    if not names:
        raise InputError("show: name an artefact or a run; medssr list has all.")
    catalog = catalog_of(overrides)
    for name in names:
        item = catalog.find(name)
        lines = show_run(catalog, item) if isinstance(item, StoredRun) else show_step(catalog, item)
        sys.stdout.write("\n".join(lines) + "\n")


def show_run(catalog: Catalog, run: StoredRun) -> Iterator[str]:
    """Yields the lines that show a run."""
    yield f"run {run.directory}"
    yield f"  command   {run.command}"
    yield f"  settings  {run.settings or 'those of the defaults'}"
    yield f"  when      {when(run.changed)}"
    yield f"  size      {size_text(folder_bytes(run.directory))}"
    yield "artefacts:"
    for step in catalog.steps:
        if step.fingerprint in run.mentioned:
            yield f"  {step.name} ({step.state})"


def show_step(catalog: Catalog, step: StoredStep) -> Iterator[str]:
    """Yields the lines that show a step's artefact."""
    yield f"{step.name}: {step.state}"
    yield f"  folder    {step.directory}"
    yield f"  when      {when(step.changed)}"
    yield f"  size      {size_text(step.num_bytes)}"
    if step.artifact is None:
        yield f"  {step.problem or 'the same command goes on from here'}"
        yield from _users(catalog, step)
        return
    manifest = step.artifact.manifest
    yield f"  seconds   {manifest['seconds']:.1f}"
    yield f"  command   {step.command or 'not known: made from Python, or by an older version'}"
    yield f"  commit    {manifest.get('git_commit') or 'not known'}"
    yield f"  counts    {_short(manifest['counts'])}"
    yield "made from:"
    yield from _origins(catalog, step.fingerprint, 1)
    yield from _users(catalog, step)
    yield "settings that differ from the defaults:"
    yield from (f"  {line}" for line in changed_settings(step.artifact))
    yield from _records(step.artifact)
    yield "to make it anew:"
    yield f"  {step.artifact.remedy}"


def _origins(catalog: Catalog, fingerprint: str, depth: int) -> Iterator[str]:
    """Yields a line for each input of an artefact, and below it those artefacts that the input was made from."""
    artifact = catalog.step_of(fingerprint).artifact
    makers = catalog.made_from.get(fingerprint, {})
    inputs: Mapping[str, str] = {} if artifact is None else artifact.manifest["inputs"]
    for key, content in inputs.items():
        for maker in makers.get(key, ()):
            yield f"{'  ' * depth}{key}: {catalog.step_of(maker).name}"
            yield from _origins(catalog, maker, depth + 1)
        if key not in makers and depth == 1:
            yield f"{'  ' * depth}{key}: a file or folder with SHA-256 {content[:16]}..."


def _users(catalog: Catalog, step: StoredStep) -> Iterator[str]:
    """Yields the artefacts that were made from one, with those that were made from them, and the runs that name it."""
    yield "used by:"

    def below(fingerprint: str, depth: int) -> Iterator[str]:
        for user in catalog.users(fingerprint):
            yield f"{'  ' * depth}{catalog.step_of(user).name}"
            yield from below(user, depth + 1)

    yield from below(step.fingerprint, 1)
    yield from (f"  run {run.directory}" for run in catalog.runs_with(step.fingerprint))


def changed_settings(artifact: Artifact) -> Iterator[str]:
    """Yields the settings of an artefact that differ from the defaults of its command, as key=value."""
    command = str(artifact.manifest["step"])
    if command not in SCHEMAS:
        yield f"not known: there is no command {command}"
        return
    recorded = artifact.manifest["inputs"]
    needed = [f"{key}=FILE" for key in _WITHOUT_DEFAULT if key in recorded]
    if not isinstance(artifact.manifest.get("config"), Mapping):
        yield "not known: the manifest has no configuration"
        return
    try:
        values, inputs = fingerprint_parts(asdict(composed(command, needed)))
    except InputError as error:  # some settings of the command have no default
        yield f"not known: {error}"
        return
    defaults, given = flat(values), flat(artifact.manifest["config"])
    for key, value in given.items():
        if key not in _WITHOUT_DEFAULT and (key not in defaults or defaults[key] != value):
            default = f" (default {json.dumps(defaults[key])})" if key in defaults else ""
            shown = "a file or folder" if key in recorded else json.dumps(value, ensure_ascii=False)
            yield f"{key}={shown}{default}"
    for key, content in recorded.items():
        if key in inputs and inputs[key] != content:
            yield f"{key}: another file or folder"


def flat(values: Any, key: str = "") -> dict[str, Any]:
    """Returns nested values by their dotted keys; JSON makes of both sides the same.

    Example:
        >>> flat({"grpo": {"beta": 0.1, "stop": []}, "seed": 1})
        {'grpo.beta': 0.1, 'grpo.stop': [], 'seed': 1}
    """
    if isinstance(values, Mapping) and values:
        inner = [flat(value, f"{key}.{name}" if key else str(name)) for name, value in values.items()]
        return {name: value for part in inner for name, value in part.items()}
    return {key: json.loads(json.dumps(values))}


def _records(artifact: Artifact) -> Iterator[str]:
    """Yields the first records of each file of lines, and the last row of the metrics of a training."""
    names = [name for name in artifact.manifest.get("outputs", {}) if "/" not in name]
    for name in names:
        file = artifact.path(name)
        if not file.is_file():
            continue
        if name.endswith(".jsonl"):
            yield f"{name}:"
            with file.open(encoding="utf-8", errors="replace") as lines:
                yield from (f"  {_short_record(line)}" for line in islice(lines, _NUM_RECORDS))
        elif name == "metrics.csv":
            yield from _last_row(file)


def _last_row(file: Path) -> Iterator[str]:
    import csv

    last: dict[str, str] = {}
    with file.open(encoding="utf-8", errors="replace", newline="") as stream:
        try:
            for last in csv.DictReader(stream):  # noqa: B007 - the last row is shown
                pass
        except csv.Error as error:
            yield f"{file.name} is damaged: {error}"
            return
    yield f"{file.name}, last row:"
    shown = {name: value for name, value in last.items() if name in _SHOWN_METRICS and value}
    yield f"  {_short(shown)}"


def _short_record(line: str) -> str:
    """Returns a line of a file as it is shown; one that is no JSON as it stands."""
    try:
        return _short(json.loads(line))
    except (ValueError, RecursionError):
        return _cut(line.rstrip("\n"))


def _short(value: Any) -> str:
    return _cut(json.dumps(value, ensure_ascii=False))


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_WIDTH else f"{text[: _MAX_WIDTH - 4]} ..."


if __name__ == "__main__":
    main()
