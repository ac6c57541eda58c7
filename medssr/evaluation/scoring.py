"""From extracted answers to the scores of a benchmark: pure functions over records, every number with its n."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

from medssr.evaluation.statistics import (
    Difference,
    clustered_bootstrap_interval,
    paired_bootstrap_difference,
    wilson_interval,
)
from medssr.labeling.votes import majority_vote
from medssr.questions import Question

ALL = "all"
RARE = "rare"
COMMON = "common"
RARE_ASKED = "rare, asked in training"
RARE_NEVER_ASKED = "rare, never asked"

_DECIMALS = 6  # the last bits of a float may differ between machines; these digits do not


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answers of a model to one question.

    Attributes:
        question_id: The question.
        letters: The extracted letter of each sample, None where the sample holds no valid answer.
        reasons: For each sample, why the extractor decided so.
    """

    question_id: str
    letters: list[str | None]
    reasons: list[str]

    def __post_init__(self) -> None:
        """Raises ValueError without a sample or when letters and reasons differ in number."""
        if not self.letters or len(self.letters) != len(self.reasons):
            found = f"{len(self.letters)} letters and {len(self.reasons)} reasons"
            raise ValueError(
                f"question {self.question_id!r}: expected one letter and one reason a sample, found {found}"
            )


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over n questions with its 95% interval; `method` is "bootstrap" or "wilson"."""

    value: float
    low: float
    high: float
    n: int
    method: str


@dataclass(frozen=True, slots=True)
class Rate:
    """A share: `count` of `n`."""

    value: float
    count: int
    n: int


@dataclass(frozen=True, slots=True)
class SliceScore:
    """The scores of one slice of a benchmark.

    Attributes:
        num_questions: Questions in the slice.
        accuracy: mean@n, the mean over questions of the share of their samples that are right; an invalid sample is
            wrong.
        majority_accuracy: maj@n, the share of questions whose majority vote is right; a tie is wrong.
        invalid: Samples without a valid answer, of all samples of the slice.
        always_a: Questions whose answer is A, of all questions: what a model that always answers A gets.
    """

    num_questions: int
    accuracy: Estimate
    majority_accuracy: Estimate
    invalid: Rate
    always_a: Rate


@dataclass(frozen=True, slots=True)
class BenchmarkScore:
    """The scores of one model on one benchmark; `dataclasses.asdict` gives its JSON.

    Attributes:
        num_questions: Questions in the benchmark.
        num_samples: Samples for each question, the n of mean@n and maj@n.
        slices: Scores by slice name: "all", "rare" (is_rare is True), "common" (is_rare is False) and the extra
            slices; one without a question is left out.
    """

    num_questions: int
    num_samples: int
    slices: dict[str, SliceScore]


def score(
    questions: Sequence[Question],
    predictions: Iterable[Prediction],
    extra_slices: Mapping[str, Set[str]] | None = None,
    *,
    seed: int = 0,
) -> BenchmarkScore:
    """Returns the scores of one model on one benchmark.

    The interval of `accuracy` comes from a bootstrap that draws whole questions. Where every question scores exactly 0
    or 1 (as with one sample each) the mean is a plain proportion and Wilson's interval is given instead, because a
    bootstrap of equal scores has no width: ten of ten right is no proof of 100%.

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
    matched = _match(questions, predictions)
    return BenchmarkScore(
        num_questions=len(questions),
        num_samples=len(matched[0][1].letters),
        slices={
            name: _score_slice([pair for pair in matched if pair[0].id in ids], seed)
            for name, ids in slice_ids(questions, extra_slices).items()
        },
    )


def paired_differences(
    questions: Sequence[Question],
    before: Iterable[Prediction],
    after: Iterable[Prediction],
    extra_slices: Mapping[str, Set[str]] | None = None,
    *,
    seed: int = 0,
) -> dict[str, Difference]:
    """Returns, for each slice, the accuracy (mean@n) of `after` minus that of `before`, with its paired interval.

    Raises:
        ValueError: As `score`.

    Example:
        >>> question = Question("1", "?", {"A": "liver", "B": "heart"}, "A", "toy")
        >>> paired_differences([question], [Prediction("1", ["B"], [""])], [Prediction("1", ["A"], [""])])
        {'all': Difference(difference=1.0, low=1.0, high=1.0, n=1)}
    """
    scores_before = {question.id: sample_accuracy(question, found) for question, found in _match(questions, before)}
    scores_after = {question.id: sample_accuracy(question, found) for question, found in _match(questions, after)}
    result = {}
    for name, ids in slice_ids(questions, extra_slices).items():
        members = [question.id for question in questions if question.id in ids]
        paired = paired_bootstrap_difference(
            [scores_before[member] for member in members], [scores_after[member] for member in members], seed=seed
        )
        result[name] = Difference(_rounded(paired.difference), _rounded(paired.low), _rounded(paired.high), paired.n)
    return result


def slice_ids(
    questions: Sequence[Question], extra_slices: Mapping[str, Set[str]] | None = None
) -> dict[str, frozenset[str]]:
    """Returns the question ids of each slice that has any, the built-in slices first.

    Raises:
        ValueError: When an extra slice takes the name of a built-in one.
    """
    everything = frozenset(question.id for question in questions)
    slices = {
        ALL: everything,
        RARE: frozenset(question.id for question in questions if question.is_rare is True),
        COMMON: frozenset(question.id for question in questions if question.is_rare is False),
    }
    for name, ids in (extra_slices or {}).items():
        if name in slices:
            raise ValueError(f"the slice name {name!r} is taken; choose another")
        slices[name] = everything & ids
    return {name: ids for name, ids in slices.items() if ids}


def sample_accuracy(question: Question, prediction: Prediction) -> float:
    """Returns the share of the samples of one question that are right; an invalid sample is wrong.

    Example:
        >>> question = Question("1", "?", {"A": "liver", "B": "heart"}, "A", "toy")
        >>> sample_accuracy(question, Prediction("1", ["A", "B", None, "A"], [""] * 4))
        0.5
    """
    return sum(letter == question.answer for letter in prediction.letters) / len(prediction.letters)


def _score_slice(pairs: Sequence[tuple[Question, Prediction]], seed: int) -> SliceScore:
    accuracies = [sample_accuracy(question, prediction) for question, prediction in pairs]
    votes = [majority_vote(prediction.letters) for _, prediction in pairs]
    num_majority_right = sum(vote.label == question.answer for vote, (question, _) in zip(votes, pairs, strict=True))
    return SliceScore(
        num_questions=len(pairs),
        accuracy=mean_estimate(accuracies, seed),
        majority_accuracy=_proportion_estimate(num_majority_right, len(pairs)),
        invalid=_rate(sum(vote.num_invalid for vote in votes), sum(len(found.letters) for _, found in pairs)),
        always_a=_rate(sum(question.answer == "A" for question, _ in pairs), len(pairs)),
    )


def mean_estimate(scores: Sequence[float], seed: int) -> Estimate:
    """Returns the mean of the questions' scores with its interval: Wilson's where each is 0 or 1, else bootstrap."""
    if all(value in (0.0, 1.0) for value in scores):
        return _proportion_estimate(int(sum(scores)), len(scores))
    interval = clustered_bootstrap_interval(scores, seed=seed)
    mean = sum(scores) / len(scores)
    return Estimate(_rounded(mean), _rounded(interval.low), _rounded(interval.high), len(scores), "bootstrap")


def _proportion_estimate(count: int, n: int) -> Estimate:
    interval = wilson_interval(count, n)
    return Estimate(_rounded(count / n), _rounded(interval.low), _rounded(interval.high), n, "wilson")


def _rate(count: int, n: int) -> Rate:
    return Rate(_rounded(count / n), count, n)


def _rounded(value: float) -> float:
    return round(value, _DECIMALS) + 0.0  # no -0.0


def _match(questions: Sequence[Question], predictions: Iterable[Prediction]) -> list[tuple[Question, Prediction]]:
    """Returns each question with its prediction, in the order of the questions."""
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
