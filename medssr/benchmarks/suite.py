"""Loads the benchmarks of an evaluation by name, each with its source, its subset and its defects."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medssr.benchmarks.defects import find_defects
from medssr.benchmarks.hub import HubUnavailableError, load_hub_benchmark
from medssr.benchmarks.rarity import RareDiseaseMatcher
from medssr.benchmarks.reader import NEEDS_GOLD, benchmark_files
from medssr.config import BenchmarkConfig, Defect, MemberConfig, RarityConfig
from medssr.errors import InputError
from medssr.questions import Question, open_questions
from medssr.questions.reader import answered
from medssr.text.words import words_key
from medssr.utils.instantiate import instantiate

log = logging.getLogger(__name__)

WITH_CONTEXT = "_with_context"
# MedXpertQA's Text subset has 2,450 test questions; some systems score what is left after the first thousand.
_MEDXPERTQA_ALL, _MEDXPERTQA_REST, _MEDXPERTQA_REST_FROM = 2450, 1449, 1001
_MEDXPERTQA_ID = re.compile(r"Text-(\d+)")


@dataclass(frozen=True, slots=True)
class Subset:
    """Which questions a score is of.

    Attributes:
        name: Their number, and how it compares to the release.
        num_questions: How many are scored.
        sha256: A hash of the ids, stems, options and answers of those that are scored.
        source: The file's name, or the dataset's name on the hub.
        revision: The dataset's commit on the hub.
        num_rare: Questions about a rare disease; None where some question has no flag.
        form: What the file was taken for: "MedQA, JSONL"; None for a dataset from the hub.
    """

    name: str
    num_questions: int
    sha256: str
    source: str
    revision: str | None
    num_rare: int | None
    form: str | None = None


@dataclass(frozen=True, slots=True)
class DefectCount:
    """The number of questions with a defect, and their ids."""

    count: int
    ids: list[str]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """The questions of a benchmark that are scored.

    Attributes:
        questions: In the benchmark's order.
        subset: Which ones they are.
        defects: The ids of the benchmark's questions with each defect, excluded ones among them.
        excluded: The ids of the questions that are left out for a defect.
        location: The file, or the dataset's name on the hub, for messages.
    """

    questions: list[Question]
    subset: Subset
    defects: dict[Defect, list[str]]
    excluded: list[str]
    location: str

    def defect_counts(self) -> dict[str, DefectCount]:
        """Returns the defects that at least one question has, by name."""
        return {defect.value: DefectCount(len(ids), ids) for defect, ids in self.defects.items() if ids}


@dataclass(frozen=True, slots=True)
class Suite:
    """Benchmarks by name, the reasons why others are missing, and the definition of rare questions."""

    benchmarks: dict[str, Benchmark]
    missing: dict[str, str]
    rarity: dict[str, Any] | None


def load_suite(config: BenchmarkConfig, rarity: RarityConfig | None) -> Suite:
    """Returns the benchmarks that a configuration names.

    A benchmark whose questions come with a context in front, such as PubMedQA with its abstracts, has the name
    `<name>_with_context`: it is another benchmark than the one without.

    Raises:
        InputError: When there is no benchmark at all, one cannot be read, or nothing is left after exclusion.
    """
    matcher = None if rarity is None else _matcher(rarity)
    benchmarks: dict[str, Benchmark] = {}
    missing: dict[str, str] = {}
    for loaded in _members(config, missing) if config.members else _files(config):
        has_context = any("has_context" in item.provenance for item in loaded.questions)
        name = loaded.name + (WITH_CONTEXT if has_context else "")
        if has_context and loaded.name in config.members:
            missing[loaded.name] = f"its questions have contexts, which is the benchmark {name}"
        benchmarks[name] = _benchmark(loaded, config.exclude, matcher)
    for name, reason in missing.items():
        log.warning("benchmark %s is missing: %s", name, reason)
    if not benchmarks:
        raise InputError(f"benchmark: none of {', '.join(config.members)} is there. {' '.join(missing.values())}")
    definition = None
    if rarity is not None and matcher is not None:
        definition = {
            "entities": rarity.entities,
            "fields": [field.value for field in rarity.fields],
            "min_chars": rarity.min_chars,
            "num_names": matcher.num_names,
        }
    return Suite(benchmarks, missing, definition)


@dataclass(frozen=True, slots=True)
class _LoadedBenchmark:
    """A benchmark before exclusions."""

    name: str
    questions: list[Question]
    location: str
    source: str
    revision: str | None = None
    expected: int | None = None
    form: str | None = None


def _from_file(name: str, path: Path, expected: int | None = None) -> _LoadedBenchmark:
    file = open_questions(path)
    questions = answered(file, NEEDS_GOLD)
    return _LoadedBenchmark(name, questions, str(path), path.name, expected=expected, form=file.description)


def _files(config: BenchmarkConfig) -> Iterator[_LoadedBenchmark]:
    assert config.path is not None
    for name, file in benchmark_files(config.path).items():
        yield _from_file(name, file)


def _members(config: BenchmarkConfig, missing: dict[str, str]) -> Iterator[_LoadedBenchmark]:
    """Yields the members that are there: from `path`, or else from the hub; the others go to `missing`."""
    files = (
        {} if config.path is None else {words_key(name): file for name, file in benchmark_files(config.path).items()}
    )
    wanted = {words_key(name) for key, member in config.members.items() for name in (key, *member.files)}
    others = [file.name for name, file in files.items() if name not in wanted]
    if others:
        log.info("not asked, because benchmark.members does not name them: %s", ", ".join(others))
    for name, member in config.members.items():
        file = _file_of(name, member, files)
        if file is not None:
            loaded = _from_file(name, file, member.num_questions)
        elif member.hub is not None:
            try:
                questions, commit = load_hub_benchmark(member.hub)
            except HubUnavailableError as error:
                missing[name] = str(error)
                continue
            loaded = _LoadedBenchmark(name, questions, member.hub.path, member.hub.path, commit, member.num_questions)
        else:
            missing[name] = f"no file of {config.path} has its name ({', '.join(member.files)})"
            continue
        if member.is_rare is not None:
            loaded = replace(loaded, questions=[replace(item, is_rare=member.is_rare) for item in loaded.questions])
        yield loaded


def _file_of(name: str, member: MemberConfig, files: Mapping[str, Path]) -> Path | None:
    matches = {files[key] for key in map(words_key, (name, *member.files)) if key in files}
    if len(matches) > 1:
        names = ", ".join(sorted(file.name for file in matches))
        raise InputError(f"benchmark.path: {names} are all the benchmark {name}; keep one.")
    return next(iter(matches), None)


def _benchmark(loaded: _LoadedBenchmark, exclude: Sequence[Defect], matcher: RareDiseaseMatcher | None) -> Benchmark:
    questions = loaded.questions if matcher is None else [matcher.flagged(item) for item in loaded.questions]
    defects = find_defects(questions)
    excluded_ids = {question_id for defect in exclude for question_id in defects[defect]}
    kept = [question for question in questions if question.id not in excluded_ids]
    if not kept:
        names = ", ".join(defect.value for defect in exclude)
        raise InputError.at(
            loaded.location, f"every question has a defect ({names}); exclude less.", field="benchmark.exclude"
        )
    flags = [question.is_rare for question in kept]
    subset = Subset(
        name=_subset_name(loaded, len(excluded_ids)),
        num_questions=len(kept),
        sha256=_content_hash(kept),
        source=loaded.source,
        revision=loaded.revision,
        num_rare=None if None in flags else sum(flag is True for flag in flags),
        form=loaded.form,
    )
    return Benchmark(kept, subset, defects, [item.id for item in questions if item.id in excluded_ids], loaded.location)


def _subset_name(loaded: _LoadedBenchmark, num_excluded: int) -> str:
    total = len(loaded.questions)
    name = medxpertqa_subset([question.id for question in loaded.questions])
    if name is None:
        name = f"{total:,}"
        if loaded.expected is not None:
            name += " (as released)" if total == loaded.expected else f" (not the {loaded.expected:,} of the release)"
    return name if num_excluded == 0 else f"{name}, {num_excluded:,} of them excluded"


def medxpertqa_subset(ids: Sequence[str]) -> str | None:
    """Returns which subset of MedXpertQA Text has these ids, by their number and range; None for other benchmarks.

    Example:
        >>> medxpertqa_subset([f"Text-{number}" for number in range(1001, 2450)])
        '1,449 (Text from Text-1001 on)'
        >>> medxpertqa_subset(["Text-7", "Text-9"])
        '2 (of the 2,450 of Text)'
    """
    matches = [_MEDXPERTQA_ID.fullmatch(question_id) for question_id in ids]
    numbers = [int(match[1]) for match in matches if match is not None]
    if not numbers or len(numbers) < len(ids):
        return None
    if len(numbers) == _MEDXPERTQA_ALL:
        return f"{len(numbers):,} (all of Text)"
    if len(numbers) == _MEDXPERTQA_REST and min(numbers) >= _MEDXPERTQA_REST_FROM:
        return f"{len(numbers):,} (Text from Text-{_MEDXPERTQA_REST_FROM} on)"
    return f"{len(numbers):,} (of the {_MEDXPERTQA_ALL:,} of Text)"


def _content_hash(questions: Sequence[Question]) -> str:
    digest = hashlib.sha256()
    for question in questions:
        parts = [question.id, question.stem, *question.options.values(), question.answer or ""]
        digest.update("\x1f".join(parts).encode() + b"\x1e")
    return digest.hexdigest()


def _matcher(config: RarityConfig) -> RareDiseaseMatcher:
    entities = instantiate(config.entities, "rarity.entities").entities()
    return RareDiseaseMatcher(entities, config.fields, config.min_chars)
