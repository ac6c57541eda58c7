"""What an evaluation writes down: a benchmark's scores with all that decided them, and its predictions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from medssr.config import EvaluateConfig
from medssr.data.suites import Benchmark
from medssr.evaluation.axes import axes_of, length_bounds
from medssr.evaluation.examiner import Examiner
from medssr.evaluation.means import benchmark_mean
from medssr.evaluation.orders import order_score
from medssr.evaluation.prefills import prefill_score
from medssr.evaluation.prompting import Prompter
from medssr.evaluation.scoring import Prediction, Rate, sample_accuracy, score
from medssr.questions import Question
from medssr.rollout.sampled_answers import SampledAnswer

# Raised when a reader of results.json would misread it; docs/benchmarks.md lists its fields.
RESULTS_VERSION = 2


@dataclass(frozen=True, slots=True)
class Examined:
    """A benchmark with the answers to it.

    Attributes:
        benchmark: The benchmark.
        questions: Those of its questions that were asked.
        answers: For each of them its answers, in the letters of the question as released.
        prompt_hashes: For each of them the SHA-256 of what the model was given, in the first order of its options.
    """

    benchmark: Benchmark
    questions: list[Question]
    answers: list[list[SampledAnswer]]
    prompt_hashes: list[str]

    def predictions(self, is_recovered: bool = False) -> list[Prediction]:
        """Returns the letters of the answers, with those of the second pass where they are asked for."""
        return [
            Prediction(
                question.id,
                [item.letter or (item.recovered if is_recovered else None) for item in row],
                [item.reason for item in row],
            )
            for question, row in zip(self.questions, self.answers, strict=True)
        ]

    def lines(self) -> Iterator[str]:
        """Yields a line of JSON for each question: what was asked, by its hash, and every answer."""
        for question, row, prompt_hash in zip(self.questions, self.answers, self.prompt_hashes, strict=True):
            record = {
                "question_id": question.id,
                "gold": question.answer,
                "prompt_sha256": prompt_hash,
                "answers": [asdict(item) for item in row],
            }
            yield json.dumps(record, ensure_ascii=False)


def prompt_hash(examiner: Examiner, question: Question) -> str:
    """Returns the SHA-256 of what the model is given for a question."""
    return _sha256(examiner.context(question))


def benchmark_record(examined: Examined, config: EvaluateConfig) -> dict[str, Any]:
    """Returns the scores of a benchmark, and what decided them, for `results.json`."""
    protocol, questions = config.protocol, examined.questions
    axes = axes_of(questions)
    named = {f"{axis}: {value}": ids for axis, values in axes.items() for value, ids in values.items()}
    scored = asdict(score(questions, examined.predictions(), named, seed=config.seed))
    slices = scored["slices"]
    record = scored | {
        "slices": {name: found for name, found in slices.items() if name not in named},
        "axes": {axis: {value: slices[f"{axis}: {value}"] for value in values} for axis, values in axes.items()},
        "length_bounds": length_bounds(questions),
    }
    if protocol.second_pass:
        record["second_pass"] = _second_pass(examined, config.seed)
    if protocol.num_orders > 1:
        record["orders"] = asdict(order_score(questions, examined.answers, protocol.num_orders))
    if protocol.prefill is not None:
        num_left_out = len(examined.benchmark.questions) - len(questions)
        record["prefill"] = asdict(prefill_score(questions, examined.answers, protocol.prefill, num_left_out))
    return record | examined.benchmark.record()


def means_record(examined: Mapping[str, Examined], config: EvaluateConfig) -> dict[str, Any]:
    """Returns the means over benchmarks for `results.json`; one with a member missing says which."""
    means = {}
    for name, members in config.benchmark.means.items():
        means[name] = asdict(benchmark_mean(members, _accuracies(examined, False), config.seed))
        if config.protocol.second_pass:
            recovered = benchmark_mean(members, _accuracies(examined, True), config.seed)
            means[name]["second_pass_accuracy"] = None if recovered.accuracy is None else asdict(recovered.accuracy)
    return means


def protocol_record(config: EvaluateConfig, prompter: Prompter) -> dict[str, Any]:
    """Returns how the questions were asked: every setting, the form of the prompts, hashes of template and examples."""
    settings = {name: getattr(value, "value", value) for name, value in asdict(config.protocol).items()}
    for name in ("prompt_path", "shots_path"):
        settings[name] = settings[name] and Path(settings[name]).name
    return settings | {
        "prompt_form": prompter.form,
        "template_sha256": _sha256(prompter.template),
        "shot_ids": [shot.id for shot in prompter.shots],
    }


def _second_pass(examined: Examined, seed: int) -> dict[str, Any]:
    rows = examined.answers
    num_unread = sum(item.letter is None for row in rows for item in row)
    num_recovered = sum(item.letter is None and item.recovered is not None for row in rows for item in row)
    num_samples = sum(map(len, rows))
    found = score(examined.questions, examined.predictions(is_recovered=True), seed=seed)
    return {
        "num_unread": num_unread,
        "recovered": asdict(Rate(round(num_recovered / num_samples, 6), num_recovered, num_samples)),
        "slices": asdict(found)["slices"],
    }


def _accuracies(examined: Mapping[str, Examined], is_recovered: bool) -> dict[str, list[float]]:
    return {
        name: [
            sample_accuracy(question, prediction)
            for question, prediction in zip(found.questions, found.predictions(is_recovered), strict=True)
        ]
        for name, found in examined.items()
    }


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
