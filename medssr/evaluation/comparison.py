"""Two models on the same questions: difference, interval, exact tests, corrected for the number of benchmarks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace

from medssr.evaluation.estimates import rounded
from medssr.evaluation.scoring import Prediction, majority_is_right, match_predictions, sample_accuracy, slice_ids
from medssr.questions import Question
from medssr.statistics import holm_adjusted, mcnemar_p_value, paired_bootstrap_difference, sign_flip_p_value

_Matched = Sequence[tuple[Question, Prediction]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A later model against an earlier one on the same questions.

    Attributes:
        difference: Accuracy (mean@n) of the later minus that of the earlier.
        low: Lower end of its 95% interval, a bootstrap over questions with all copies of a question together.
        high: Upper end.
        n: Questions.
        p_value: Exact sign-flip test of that difference, the gains of all copies of a question changing together.
        num_won: Different questions whose majority is right with the later model alone.
        num_lost: Different questions whose majority is right with the earlier model alone.
        mcnemar_p_value: McNemar's exact test of these two counts.
        p_adjusted: `p_value` after Holm's correction for the number of benchmarks; None before it.
        mcnemar_p_adjusted: The same for `mcnemar_p_value`.
    """

    difference: float
    low: float
    high: float
    n: int
    p_value: float
    num_won: int
    num_lost: int
    mcnemar_p_value: float
    p_adjusted: float | None = None
    mcnemar_p_adjusted: float | None = None


def compare(
    questions: Sequence[Question],
    before: Iterable[Prediction],
    after: Iterable[Prediction],
    extra_slices: Mapping[str, Set[str]] | None = None,
    *,
    seed: int = 0,
) -> dict[str, Comparison]:
    """Returns, for each slice of a benchmark, how `after` differs from `before`.

    Raises:
        ValueError: As `medssr.evaluation.scoring.score`.

    Example:
        >>> question = Question("1", "?", {"A": "liver", "B": "heart"}, "A", "toy")
        >>> result = compare([question], [Prediction("1", ["B"], [""])], [Prediction("1", ["A"], [""])])
        >>> result["all"].difference, result["all"].num_won, result["all"].p_value
        (1.0, 1, 1.0)
    """
    matched_before, matched_after = match_predictions(questions, before), match_predictions(questions, after)
    comparisons = {}
    for name, ids in slice_ids(questions, extra_slices).items():
        indices = [index for index, question in enumerate(questions) if question.id in ids]
        comparisons[name] = _compare_slice(
            [matched_before[index] for index in indices], [matched_after[index] for index in indices], seed
        )
    return comparisons


def corrected(comparisons: Mapping[str, Mapping[str, Comparison]]) -> dict[str, dict[str, Comparison]]:
    """Returns the comparisons of two models by benchmark and slice, their p-values corrected over the benchmarks.

    Each slice is a family of its own: "rare" asks another question than "all".
    """
    result: dict[str, dict[str, Comparison]] = {benchmark: {} for benchmark in comparisons}
    for name in dict.fromkeys(name for slices in comparisons.values() for name in slices):
        family = [(benchmark, slices[name]) for benchmark, slices in comparisons.items() if name in slices]
        adjusted = holm_adjusted([comparison.p_value for _, comparison in family])
        mcnemar = holm_adjusted([comparison.mcnemar_p_value for _, comparison in family])
        for (benchmark, comparison), p, mcnemar_p in zip(family, adjusted, mcnemar, strict=True):
            result[benchmark][name] = replace(comparison, p_adjusted=p, mcnemar_p_adjusted=mcnemar_p)
    return result


def _compare_slice(before: _Matched, after: _Matched, seed: int) -> Comparison:
    clusters = [question.content_key for question, _ in before]
    difference = paired_bootstrap_difference(
        [sample_accuracy(*pair) for pair in before], [sample_accuracy(*pair) for pair in after], clusters, seed=seed
    )
    first_of_cluster = {cluster: index for index, cluster in reversed(list(enumerate(clusters)))}.values()
    outcomes = [(majority_is_right(*before[index]), majority_is_right(*after[index])) for index in first_of_cluster]
    num_won, num_lost = outcomes.count((False, True)), outcomes.count((True, False))
    return Comparison(
        difference=rounded(difference.difference),
        low=rounded(difference.low),
        high=rounded(difference.high),
        n=difference.n,
        p_value=sign_flip_p_value(_gains(before, after), clusters),
        num_won=num_won,
        num_lost=num_lost,
        mcnemar_p_value=mcnemar_p_value(num_lost, num_won),
    )


def _gains(before: _Matched, after: _Matched) -> list[int]:
    """Returns the difference of accuracy of each question in units of 1 / (samples before * samples after)."""
    num_before, num_after = len(before[0][1].letters), len(after[0][1].letters)
    return [
        prediction_after.letters.count(question.answer) * num_before
        - prediction_before.letters.count(question.answer) * num_after
        for (question, prediction_before), (_, prediction_after) in zip(before, after, strict=True)
    ]
