"""Writes and reads the files of an evaluation: `results.json`, and the questions and answers of each benchmark."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from medssr.errors import InputError
from medssr.evaluation.estimates import BenchmarkMean
from medssr.evaluation.scoring import BenchmarkScore, Prediction
from medssr.questions import Question, read_questions
from medssr.utils.files import read_jsonl, write_json_atomically
from medssr.utils.naming import safe_name

RESULTS_FILE = "results.json"
SCHEMA_VERSION = 2


@dataclass(frozen=True, slots=True)
class EvaluatedModel:
    """The model that was evaluated.

    Attributes:
        path: A folder or a name on a hub.
        revision: The revision on the hub; None for the newest.
        dtype: The type of its weights as they were read; None where it is not known.
        adapter_path: The folder of the adapters that it was used with; None without adapters.
    """

    path: str
    revision: str | None = None
    dtype: str | None = None
    adapter_path: str | None = None


@dataclass(frozen=True, slots=True)
class EvaluationResults:
    """The content of `results.json` of an evaluation; docs/results.md says what each field means.

    Attributes:
        model: The model.
        protocol: How the questions were asked, by setting. Scores compare only where the protocols are equal.
        benchmarks: The scores by benchmark. medssr-evaluate writes a `BenchmarkRecord` of each
            (`medssr.evaluation.benchmark_results`); what it has beside the scores is not read back.
        seed: Of the samples and the intervals.
        rarity: What makes a question one about a rare disease; None where only the benchmarks say it.
        means: The means over benchmarks by name.
        missing: Why a benchmark was not scored, by its name.
        schema_version: Of this form.
    """

    model: EvaluatedModel
    protocol: dict[str, Any]
    benchmarks: dict[str, BenchmarkScore]
    seed: int | None = None
    rarity: dict[str, Any] | None = None
    means: dict[str, BenchmarkMean] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION


def write_evaluation(directory: Path, results: EvaluationResults) -> None:
    """Writes `results.json`, whole or not at all."""
    write_json_atomically(directory / RESULTS_FILE, asdict(results))


def questions_file(directory: Path, benchmark: str) -> Path:
    """Returns where an evaluation keeps the questions of a benchmark as it asked them."""
    return directory / f"questions-{safe_name(benchmark)}.jsonl"


def predictions_file(directory: Path, benchmark: str) -> Path:
    """Returns where an evaluation keeps the answers to a benchmark."""
    return directory / f"predictions-{safe_name(benchmark)}.jsonl"


def read_asked_questions(directory: Path, benchmark: str) -> list[Question]:
    """Returns the questions of a benchmark as an evaluation asked them.

    Raises:
        InputError: When the file is absent or broken.
    """
    return list(read_questions(questions_file(directory, benchmark)))


def read_predictions(directory: Path, benchmark: str) -> list[Prediction]:
    """Returns what an evaluation read from the answers to a benchmark, without their texts.

    Raises:
        InputError: When the file is absent or a line is not of its form. The message names file, line and field.
    """
    path = predictions_file(directory, benchmark)
    predictions = []
    for line, record in read_jsonl(path, allows_nan=True):
        try:
            answers = record["answers"]
            has_second_pass = any("recovered" in answer for answer in answers)
            predictions.append(
                Prediction(
                    record["question_id"],
                    [answer["letter"] for answer in answers],
                    [answer["reason"] for answer in answers],
                    [answer["recovered"] for answer in answers] if has_second_pass else [],
                )
            )
        except KeyError as error:
            raise InputError.at(path, "is missing.", line=line, field=str(error.args[0])) from error
        except (TypeError, ValueError) as error:
            raise InputError.at(path, f"is no list of answers ({error}).", line=line, field="answers") from error
    return predictions


def read_texts(directory: Path, benchmark: str, indices: set[int]) -> dict[int, list[str]]:
    """Returns the texts of the answers to some questions of a benchmark, by their index among its predictions.

    Raises:
        InputError: When the file is absent or an answer has no text.
    """
    path = predictions_file(directory, benchmark)
    if not path.is_file():
        raise InputError.at(path, "there is no such file.")
    texts = {}
    with path.open(encoding="utf-8") as stream:
        lines = ((number, line) for number, line in enumerate(stream, start=1) if line.strip())
        for index, (number, line) in enumerate(lines):
            if index in indices:
                try:
                    texts[index] = [str(answer["text"]) for answer in json.loads(line)["answers"]]
                except (KeyError, TypeError, ValueError) as error:
                    raise InputError.at(path, f"has no text ({error}).", line=number, field="answers") from error
    return texts
