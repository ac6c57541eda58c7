"""Scores the extracted answers to a benchmark: pure functions over records, every number with its n."""

from __future__ import annotations

import statistics
from collections.abc import Hashable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from medssr.evaluation.estimates import Estimate, Rate, mean_estimate, rate, rounded
from medssr.labeling.votes import majority_vote
from medssr.questions import Question
from medssr.statistics import Calibration, calibration, pass_at_k

ALL = "all"
RARE = "rare"
COMMON = "common"
RARE_ASKED = "rare, asked in training"
RARE_NEVER_ASKED = "rare, never asked"


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answers of a model to one question.

    Attributes:
        question_id: The question.
        letters: The extracted letter of each sample, None where the sample holds no valid answer.
        reasons: For each sample, why the extractor decided so.
        recovered: For each sample, the letter that a second pass made of an answer without one, else None; empty where
            no second pass was made.
    """

    question_id: str
    letters: list[str | None]
    reasons: list[str]
    recovered: list[str | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Raises ValueError without a sample or when letters, reasons and recovered letters do not fit together."""
        if not self.letters or len(self.letters) != len(self.reasons):
            counts = f"{len(self.letters)} letters and {len(self.reasons)} reasons"
            raise ValueError(
                f"question {self.question_id!r}: expected one letter and one reason a sample, found {counts}"
            )
        if self.recovered and len(self.recovered) != len(self.letters):
            counts = f"{len(self.letters)} letters and {len(self.recovered)} after the second pass"
            raise ValueError(f"question {self.question_id!r}: expected as many, found {counts}")
        if any(new and old for new, old in zip(self.recovered, self.letters, strict=False)):
            raise ValueError(f"question {self.question_id!r}: a second pass is for samples without a letter alone")

    @property
    def final_letters(self) -> list[str | None]:
        """The letter of each sample after the second pass, where there was one."""
        if not self.recovered:
            return self.letters
        return [old or new for old, new in zip(self.letters, self.recovered, strict=True)]


@dataclass(frozen=True, slots=True)
class SecondPass:
    """The scores once the letters of the second pass take the place of the missing ones.

    Attributes:
        accuracy: mean@n.
        majority_accuracy: maj@n.
        deviation: As in `SliceScore`.
    """

    accuracy: Estimate
    majority_accuracy: Estimate
    deviation: float


@dataclass(frozen=True, slots=True)
class SliceScore:
    """The scores of one slice of a benchmark.

    Attributes:
        num_questions: Questions in the slice.
        num_distinct: Different questions among them: copies are one cluster in every interval.
        accuracy: mean@n, the mean over questions of the fraction of their samples that are right; an invalid sample is
            wrong.
        majority_accuracy: maj@n, the fraction of questions whose majority vote is right; a tie is wrong.
        pass_at_k: For k = 1 ... n, the unbiased estimate that one of k samples is right.
        deviation: Standard deviation (denominator n) between the accuracies of the n generations, the first samples
            of all questions being the first generation: the spread that the paper reports. Unlike the intervals it does
            not cover the choice of questions.
        invalid: Samples without a valid answer, of all samples of the slice.
        recovered: Of all samples, those without a valid answer that the second pass gave a letter.
        always_a: Questions whose answer is A, of all questions: the accuracy of a model that always answers A.
        second_pass: The scores after the second pass; None where none was made. All scores above are before it.
    """

    num_questions: int
    num_distinct: int
    accuracy: Estimate
    majority_accuracy: Estimate
    pass_at_k: list[Estimate]
    deviation: float
    invalid: Rate
    recovered: Rate
    always_a: Rate
    second_pass: SecondPass | None = None


@dataclass(frozen=True, slots=True)
class BenchmarkScore:
    """The scores of one model on one benchmark; `dataclasses.asdict` gives its JSON.

    Attributes:
        num_questions: Questions in the benchmark.
        num_samples: Samples for each question, the n of mean@n and maj@n.
        slices: Scores by slice name: "all", "rare" (is_rare is True), "common" (is_rare is False) and the extra
            slices; one without a question is left out.
        calibration: How often the majority is right by the agreement of the samples (samples for it / all samples),
            over the questions that have a majority; None with one sample each, which always agrees with itself.
    """

    num_questions: int
    num_samples: int
    slices: dict[str, SliceScore]
    calibration: Calibration | None = None


def score(
    questions: Sequence[Question],
    predictions: Iterable[Prediction],
    extra_slices: Mapping[str, Set[str]] | None = None,
    *,
    seed: int = 0,
) -> BenchmarkScore:
    """Returns the scores of one model on one benchmark.

    Intervals come from a bootstrap that draws whole questions, all copies of a question together. Where every question
    scores 0 or 1 (as with one sample each) and none has a copy, the mean is a plain proportion and Wilson's interval
    is given instead; also where all scores are equal, because a bootstrap of these has no width.

    Args:
        questions: The benchmark, each question with its answer.
        predictions: One for each question, in any order, all with the same number of samples.
        extra_slices: Question ids by slice name; ids that the benchmark lacks are ignored, so that one set can serve
            several benchmarks.
        seed: Of the bootstrap.

    Raises:
        ValueError: When questions and predictions do not match one to one, the numbers of samples differ, a question
            has no answer, or an extra slice takes the name of a built-in one.

    Example:
        Question 1 is answered A, A (gold A), question 2 A and no valid answer (gold B): mean@2 = (1 + 0) / 2.

        >>> options = {"A": "liver", "B": "heart"}
        >>> questions = [Question("1", "?", options, "A", "toy"), Question("2", "?", options, "B", "toy")]
        >>> predictions = [Prediction("1", ["A", "A"], ["", ""]), Prediction("2", ["A", None], ["", ""])]
        >>> result = score(questions, predictions).slices["all"]
        >>> result.accuracy.value, result.majority_accuracy.value, result.invalid
        (0.5, 0.5, Rate(value=0.25, count=1, n=4))
    """
    matched = match_predictions(questions, predictions)
    num_samples = len(matched[0][1].letters)
    return BenchmarkScore(
        num_questions=len(questions),
        num_samples=num_samples,
        slices={
            name: _score_slice([pair for pair in matched if pair[0].id in ids], seed)
            for name, ids in slice_ids(questions, extra_slices).items()
        },
        calibration=_calibration(matched) if num_samples > 1 else None,
    )


def slice_ids(
    questions: Sequence[Question], extra_slices: Mapping[str, Set[str]] | None = None
) -> dict[str, frozenset[str]]:
    """Returns the question ids of each slice that has any, the built-in slices first.

    Raises:
        ValueError: When an extra slice takes the name of a built-in one.
    """
    all_ids = frozenset(question.id for question in questions)
    slices = {
        ALL: all_ids,
        RARE: frozenset(question.id for question in questions if question.is_rare is True),
        COMMON: frozenset(question.id for question in questions if question.is_rare is False),
    }
    for name, ids in (extra_slices or {}).items():
        if name in slices:
            raise ValueError(f"the slice name {name!r} is taken; choose another")
        slices[name] = all_ids & ids
    return {name: ids for name, ids in slices.items() if ids}


def sample_accuracy(question: Question, prediction: Prediction) -> float:
    """Returns the fraction of the samples of one question that are right; an invalid sample is wrong.

    Example:
        >>> question = Question("1", "?", {"A": "liver", "B": "heart"}, "A", "toy")
        >>> sample_accuracy(question, Prediction("1", ["A", "B", None, "A"], [""] * 4))
        0.5
    """
    return sum(letter == question.answer for letter in prediction.letters) / len(prediction.letters)


def majority_is_right(question: Question, prediction: Prediction) -> bool:
    """Returns whether the majority vote of a question's samples is right; a tie is wrong."""
    return majority_vote(prediction.letters).label == question.answer


def _score_slice(pairs: Sequence[tuple[Question, Prediction]], seed: int) -> SliceScore:
    clusters = [question.content_key for question, _ in pairs]
    num_invalid = sum(letter is None for _, prediction in pairs for letter in prediction.letters)
    num_recovered = sum(letter is not None for _, prediction in pairs for letter in prediction.recovered)
    num_samples = len(pairs) * len(pairs[0][1].letters)
    accuracy, majority_accuracy, deviation = _score_letters(pairs, clusters, seed)
    return SliceScore(
        num_questions=len(pairs),
        num_distinct=len(set(clusters)),
        accuracy=accuracy,
        majority_accuracy=majority_accuracy,
        pass_at_k=_pass_estimates(pairs, clusters, seed),
        deviation=deviation,
        invalid=rate(num_invalid, num_samples),
        recovered=rate(num_recovered, num_samples),
        always_a=rate(sum(question.answer == "A" for question, _ in pairs), len(pairs)),
        second_pass=_score_second_pass(pairs, clusters, seed),
    )


def _score_letters(
    pairs: Sequence[tuple[Question, Prediction]], clusters: Sequence[Hashable], seed: int
) -> tuple[Estimate, Estimate, float]:
    """Returns mean@n, maj@n and the deviation between generations."""
    accuracy = mean_estimate([sample_accuracy(*pair) for pair in pairs], seed, clusters)
    majority_accuracy = mean_estimate([float(majority_is_right(*pair)) for pair in pairs], seed, clusters)
    generations = zip(
        *([letter == question.answer for letter in prediction.letters] for question, prediction in pairs), strict=True
    )
    deviation = statistics.pstdev([sum(is_right) / len(pairs) for is_right in generations])
    return accuracy, majority_accuracy, rounded(deviation)


def _score_second_pass(
    pairs: Sequence[tuple[Question, Prediction]], clusters: Sequence[Hashable], seed: int
) -> SecondPass | None:
    if not any(prediction.recovered for _, prediction in pairs):
        return None
    final = [
        (question, Prediction(question.id, prediction.final_letters, prediction.reasons))
        for question, prediction in pairs
    ]
    return SecondPass(*_score_letters(final, clusters, seed))


def _pass_estimates(
    pairs: Sequence[tuple[Question, Prediction]], clusters: Sequence[Hashable], seed: int
) -> list[Estimate]:
    num_samples = len(pairs[0][1].letters)
    num_right = [prediction.letters.count(question.answer) for question, prediction in pairs]
    return [
        mean_estimate(pass_at_k(num_right, num_samples, k).tolist(), seed, clusters) for k in range(1, num_samples + 1)
    ]


def _calibration(pairs: Sequence[tuple[Question, Prediction]]) -> Calibration:
    votes = [(question, majority_vote(prediction.letters)) for question, prediction in pairs]
    decided = [(question, vote) for question, vote in votes if vote.label is not None]
    result = calibration(
        [vote.agreement or 0.0 for _, vote in decided], [vote.label == question.answer for question, vote in decided]
    )
    bins = [
        replace(
            each,
            agreement=rounded(each.agreement),
            accuracy=rounded(each.accuracy),
            accuracy_low=rounded(each.accuracy_low),
            accuracy_high=rounded(each.accuracy_high),
        )
        for each in result.bins
    ]
    return Calibration(bins, rounded(result.expected_error), result.n)


def match_predictions(
    questions: Sequence[Question], predictions: Iterable[Prediction]
) -> list[tuple[Question, Prediction]]:
    """Returns each question with its prediction, in the order of the questions.

    Raises:
        ValueError: When they do not match one to one, the numbers of samples differ, or a question has no answer.
    """
    by_id: dict[str, Prediction] = {}
    for prediction in predictions:
        if prediction.question_id in by_id:
            raise ValueError(f"question {prediction.question_id!r} has two predictions")
        by_id[prediction.question_id] = prediction
    ids = [question.id for question in questions]
    if not ids or len(set(ids)) != len(ids):
        raise ValueError(f"expected at least one question and unique ids, found {len(ids)} with {len(set(ids))} ids")
    missing, unknown = sorted(set(ids) - set(by_id)), sorted(set(by_id) - set(ids))
    if missing or unknown:
        raise ValueError(f"predictions do not match the questions: missing {missing[:3]}, unknown {unknown[:3]}")
    unanswered = [question.id for question in questions if question.answer is None]
    if unanswered:
        raise ValueError(f"questions without an answer cannot be scored: {unanswered[:3]}")
    sample_counts = sorted({len(prediction.letters) for prediction in by_id.values()})
    if len(sample_counts) > 1:
        raise ValueError(f"expected the same number of samples for every question, found {sample_counts}")
    return [(question, by_id[question.id]) for question in questions]
