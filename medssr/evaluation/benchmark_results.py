"""The results of a benchmark for `results.json`: its scores by slice and axis, its predictions, the protocol."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from medssr.benchmarks.suite import Benchmark, DefectCount, Subset
from medssr.config import EvaluateConfig, ProtocolConfig
from medssr.engines.sampled_answers import SampledAnswer
from medssr.evaluation.estimates import BenchmarkMean, benchmark_mean
from medssr.evaluation.option_permutations import OrderScore, order_score
from medssr.evaluation.prefills import PrefillScore, prefill_score
from medssr.evaluation.runner import Prompter
from medssr.evaluation.scoring import BenchmarkScore, Prediction, SliceScore, sample_accuracy, score
from medssr.questions import Question
from medssr.questions.specialty import specialty
from medssr.text.words import split_words


@dataclass(frozen=True, slots=True)
class BenchmarkAnswers:
    """A benchmark with the answers to it.

    Attributes:
        benchmark: The benchmark.
        questions: Those of its questions that were asked.
        answers: For each question its answers, in the letters of the question as released.
        prompt_hashes: For each question the SHA-256 of its prompt, with the options in the first order.
        has_second_pass: Whether answers without a letter were put to a second pass.
    """

    benchmark: Benchmark
    questions: list[Question]
    answers: list[list[SampledAnswer]]
    prompt_hashes: list[str]
    has_second_pass: bool

    def predictions(self) -> list[Prediction]:
        """Returns the letters that were read from the answers."""
        return [
            Prediction(
                question.id,
                [item.letter for item in row],
                [item.reason for item in row],
                [item.recovered for item in row] if self.has_second_pass else [],
            )
            for question, row in zip(self.questions, self.answers, strict=True)
        ]

    def lines(self) -> Iterator[str]:
        """Yields a line of JSON for each question: the hash of its prompt, and all answers.

        Answers have the field `recovered` where there was a second pass: by it `read_predictions` knows of one.
        """
        for question, row, prompt_hash in zip(self.questions, self.answers, self.prompt_hashes, strict=True):
            record = {
                "question_id": question.id,
                "gold": question.answer,
                "prompt_sha256": prompt_hash,
                "answers": [self._answer_record(item) for item in row],
            }
            yield json.dumps(record, ensure_ascii=False)

    def _answer_record(self, answer: SampledAnswer) -> dict[str, Any]:
        record = asdict(answer)
        return record if self.has_second_pass else {name: record[name] for name in record if name != "recovered"}


@dataclass(frozen=True, slots=True)
class BenchmarkRecord(BenchmarkScore):
    """The scores of a benchmark with its subset, defects and the effects of the protocol.

    Attributes:
        axes: The scores by axis and by value on it (see `medssr.evaluation.benchmark_results.axes_of`).
        length_bounds: The most words of a short stem and of a medium one.
        subset: Which questions the benchmark has.
        defects: Its questions with each defect, excluded ones among them.
        num_excluded: Its questions that were left out for a defect.
        orders: The effect of the order of the options; None with one order.
        prefill: How often answers follow the trace that they begin with; None without one.
    """

    axes: dict[str, dict[str, SliceScore]] = field(kw_only=True)
    length_bounds: tuple[int, int] = field(kw_only=True)
    subset: Subset = field(kw_only=True)
    defects: dict[str, DefectCount] = field(kw_only=True)
    num_excluded: int = field(kw_only=True)
    orders: OrderScore | None = field(kw_only=True)
    prefill: PrefillScore | None = field(kw_only=True)


def benchmark_record(answers: BenchmarkAnswers, config: EvaluateConfig) -> BenchmarkRecord:
    """Returns the record of a benchmark for `results.json`."""
    protocol, benchmark, questions = config.protocol, answers.benchmark, answers.questions
    axes = axes_of(questions)
    named = {f"{axis}: {value}": ids for axis, values in axes.items() for value, ids in values.items()}
    scored = score(questions, answers.predictions(), named, seed=config.seed)
    num_left_out = len(benchmark.questions) - len(questions)
    return BenchmarkRecord(
        num_questions=scored.num_questions,
        num_samples=scored.num_samples,
        slices={name: part for name, part in scored.slices.items() if name not in named},
        calibration=scored.calibration,
        axes={axis: {value: scored.slices[f"{axis}: {value}"] for value in values} for axis, values in axes.items()},
        length_bounds=length_bounds(questions),
        subset=benchmark.subset,
        defects=benchmark.defect_counts(),
        num_excluded=len(benchmark.excluded),
        orders=order_score(questions, answers.answers, protocol.num_orders) if protocol.num_orders > 1 else None,
        prefill=(
            None
            if protocol.prefill is None
            else prefill_score(questions, answers.answers, protocol.prefill, num_left_out)
        ),
    )


def means_record(answers: Mapping[str, BenchmarkAnswers], config: EvaluateConfig) -> dict[str, BenchmarkMean]:
    """Returns the means over benchmarks for `results.json`; one with a member missing says which."""
    first = {name: _accuracies(given.questions, given.predictions()) for name, given in answers.items()}
    means = {name: benchmark_mean(members, first, config.seed) for name, members in config.benchmark.means.items()}
    if not config.protocol.second_pass:
        return means
    final = {name: _accuracies(given.questions, _final(given.predictions())) for name, given in answers.items()}
    return {
        name: replace(mean, second_pass_accuracy=benchmark_mean(mean.members, final, config.seed).accuracy)
        for name, mean in means.items()
    }


def protocol_record(protocol: ProtocolConfig, prompter: Prompter) -> dict[str, Any]:
    """Returns how the questions were asked: every setting, the form of the prompts, hashes of template and examples."""
    settings = {name: getattr(value, "value", value) for name, value in asdict(protocol).items()}
    for name in ("prompt_path", "shots_path"):
        settings[name] = settings[name] and Path(settings[name]).name
    return settings | {
        "prompt_form": prompter.form,
        "template_sha256": text_sha256(prompter.template),
        "shot_ids": [shot.id for shot in prompter.shots],
    }


def _final(predictions: Sequence[Prediction]) -> list[Prediction]:
    return [Prediction(item.question_id, item.final_letters, item.reasons) for item in predictions]


def _accuracies(questions: Sequence[Question], predictions: Sequence[Prediction]) -> list[float]:
    return [sample_accuracy(*pair) for pair in zip(questions, predictions, strict=True)]


def text_sha256(text: str) -> str:
    """Returns the SHA-256 of a text, lone surrogates and all."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


LENGTHS = ("short", "medium", "long")


def axes_of(questions: Sequence[Question]) -> dict[str, dict[str, set[str]]]:
    """Returns the ids of the questions by axis and by value on it; axes without a value are left out.

    - `is_reasoning`: "reasoning" and "knowledge", by the field of that name in the released files.
    - `length`: thirds of the benchmark by the words of the stem (see `length_bounds`).
    - `specialty`: a guess by key words (`medssr.questions.specialty.specialty`).
    """
    axes: dict[str, dict[str, set[str]]] = {"is_reasoning": {}, "length": {}, "specialty": {}}

    def add(axis: str, value: str, question: Question) -> None:
        axes[axis].setdefault(value, set()).add(question.id)

    low, high = length_bounds(questions)
    for question in questions:
        flag = question.provenance.get("is_reasoning")
        if isinstance(flag, bool):
            add("is_reasoning", "reasoning" if flag else "knowledge", question)
        num_words = len(split_words(question.stem))
        add("length", LENGTHS[(num_words > low) + (num_words > high)], question)
        add("specialty", specialty(question), question)
    return {axis: values for axis, values in axes.items() if values}


def length_bounds(questions: Sequence[Question]) -> tuple[int, int]:
    """Returns the most words of the stem of a short question, and of one of medium length: thirds of the benchmark.

    Example:
        >>> stems = ["one", "one two", "one two three"]
        >>> length_bounds([Question(stem, stem, {"A": "x", "B": "y"}, "A", "toy") for stem in stems])
        (1, 2)
    """
    lengths = sorted(len(split_words(question.stem)) for question in questions)
    return lengths[math.ceil(len(lengths) / 3) - 1], lengths[math.ceil(2 * len(lengths) / 3) - 1]
