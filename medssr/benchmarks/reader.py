"""Finds the files of benchmarks and reads them: questions that all have a gold answer."""

from __future__ import annotations

import re
from pathlib import Path

from medssr.errors import InputError
from medssr.questions import Question, open_questions
from medssr.questions.reader import answered
from medssr.utils.records import DATA_SUFFIXES, data_files, is_saved_dataset, source_name

NEEDS_GOLD = "a benchmark needs the gold answer of every question."
# Parts of one dataset, as the hub names them: "test-00000-of-00002".
_SHARD = re.compile(r"-\d{5}-of-\d{5}$")


def load_benchmark(path: Path | str) -> list[Question]:
    """Returns the questions of a benchmark file of any form in its order, each with its gold answer.

    Raises:
        InputError: As `medssr.questions.open_questions` does, and when a question has no gold answer.

    Example:
        >>> load_benchmark("medqa.json")[0].answer  # doctest: +SKIP
        'D'
    """
    return answered(open_questions(path), NEEDS_GOLD)


def benchmark_files(path: str) -> dict[str, Path]:
    """Returns the benchmark files that a path names, by benchmark name: one file or dataset, or all of a folder.

    Raises:
        InputError: When there is none, or two of a folder are the same benchmark by their names.
    """
    source = Path(path)
    if not source.exists():
        raise InputError.at(source, "there is no benchmark file here; check the path.", field="benchmark.path")
    if not source.is_dir() or is_saved_dataset(source):
        return {benchmark_name(source): source}
    files = data_files(source, is_deep=False) + [
        folder for folder in sorted(source.iterdir()) if is_saved_dataset(folder)
    ]
    if not files:
        endings = ", ".join(DATA_SUFFIXES)
        raise InputError.at(source, f"there is no benchmark file ({endings}) here.", field="benchmark.path")
    if any(_SHARD.search(source_name(file)) for file in files):
        return {benchmark_name(source): source}
    file_of_name: dict[str, Path] = {}
    for file in files:
        name = benchmark_name(file)
        if name in file_of_name:
            problem = f"{file_of_name[name].name} and {file.name} are both the benchmark {name}; keep one."
            raise InputError.at(source, problem, field="benchmark.path")
        file_of_name[name] = file
    return file_of_name


def benchmark_name(file: Path) -> str:
    """Returns the name of a file's benchmark: the released test_short_medqa.json is medqa.

    Example:
        >>> benchmark_name(Path("data/test_short_medqa.json"))
        'medqa'
    """
    return source_name(file).removeprefix("test_short_")
