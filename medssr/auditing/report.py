"""The report of an audit: the ratings of each rater, the agreement of raters, and both as a Markdown page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from typing import Any

from medssr.auditing.agreement import Agreement, agreement
from medssr.auditing.checks import ChecksReport
from medssr.auditing.rubric import RATINGS, Verdict
from medssr.auditing.stratified_sample import SampledQuestion
from medssr.auditing.survey_estimates import IntervalEstimate, SurveyEstimate, estimate_mean, estimate_rate
from medssr.reports.render import escape_markdown
from medssr.utils.seeding import derive_seed

EXPERTS = "experts"
JUDGES = ("judge", "second judge")
# A rater's verdicts by question id.
Verdicts = Mapping[str, Verdict]

_YES_NO = ("is_error", "is_answerable", "has_one_best_answer", "is_factual")
_ORDINAL = ("plausibility", "difficulty")


@dataclass(frozen=True, slots=True)
class RaterReport:
    """The ratings of one rater.

    Attributes:
        rater: "judge", "second judge", the name of an expert, or "experts" for all of them together: an expert majority
            or half of them make a flag, and ratings are averaged.
        num_rated: Questions with a verdict.
        num_unrated: Questions of the sample without one.
        rates: Share of questions that are an error, and of each reason: "is_error" is the union of the others.
        means: Plausibility and difficulty, 1 to 5.
        right: Share of rated questions for which the rater's best answer is the hidden truth ("truth"), or the label in
            the question file ("label"), over those that have one; no single best answer counts as not.
    """

    rater: str
    num_rated: int
    num_unrated: int
    rates: dict[str, SurveyEstimate]
    means: dict[str, SurveyEstimate]
    right: dict[str, SurveyEstimate]


@dataclass(frozen=True, slots=True)
class PairReport:
    """How two raters agree, by criterion, on the questions that both rated."""

    first: str
    second: str
    agreement: dict[str, Agreement]


@dataclass(frozen=True, slots=True)
class AuditReport:
    """The whole report.

    Attributes:
        num_questions: Questions of the file.
        num_sampled: Questions of the sample.
        stratified_by: What the strata are made of.
        strata: By stratum, its questions in the file and in the sample.
        unjudged: Why the judge gave no verdict, counted.
        raters: One report for each rater with a verdict.
        pairs: One for each pair of them with a question in common.
        flagged: For each question that somebody calls an error, who does and why.
        checks: What the automatic checks found.
        disagreements: The questions that one judge calls an error and the other does not, or that they answer
            differently: those that experts should see first. None without two judges.
    """

    num_questions: int
    num_sampled: int
    stratified_by: list[str]
    strata: dict[str, dict[str, int]]
    unjudged: dict[str, int]
    raters: list[RaterReport]
    pairs: list[PairReport]
    flagged: list[dict[str, Any]]
    checks: ChecksReport
    disagreements: list[str] | None


def build_report(
    sample: Sequence[SampledQuestion],
    stratified_by: Sequence[str],
    verdicts_of: Mapping[str, Verdicts],
    unjudged: Mapping[str, int],
    seed: int,
    checks: ChecksReport,
) -> AuditReport:
    """Returns the report.

    Args:
        sample: All sampled questions.
        stratified_by: What their strata are made of.
        verdicts_of: The verdicts of each rater: "judge", "second judge" and experts by name.
        unjudged: Why a judge gave no verdict, counted.
        seed: The run's seed.
        checks: What the automatic checks found.
    """
    raters = {rater: verdicts for rater, verdicts in verdicts_of.items() if verdicts}
    reports = [_rater_report(rater, [verdicts], sample, seed) for rater, verdicts in raters.items()]
    experts = [verdicts for rater, verdicts in raters.items() if rater not in JUDGES]
    if len(experts) > 1:
        reports.append(_rater_report(EXPERTS, experts, sample, seed))
    size_of = {item.stratum: item.stratum_size for item in sample}
    num_of = Counter(item.stratum for item in sample)
    return AuditReport(
        num_questions=sum(size_of.values()),
        num_sampled=len(sample),
        stratified_by=list(stratified_by),
        strata={name: {"questions": size_of[name], "sampled": num_of[name]} for name in sorted(size_of)},
        unjudged=dict(unjudged),
        raters=reports,
        pairs=[
            PairReport(first, second, _agreements(raters[first], raters[second], sample, seed))
            for first, second in combinations(raters, 2)
            if raters[first].keys() & raters[second].keys()
        ],
        flagged=_flagged(sample, raters),
        checks=checks,
        disagreements=_disagreements(*(raters[judge] for judge in JUDGES)) if raters.keys() >= {*JUDGES} else None,
    )


def _rater_report(
    rater: str, verdicts: Sequence[Verdicts], sample: Sequence[SampledQuestion], seed: int
) -> RaterReport:
    """Returns the report on one rater, or on several as one."""
    together = {
        item.question.id: [given[item.question.id] for given in verdicts if item.question.id in given]
        for item in sample
    }
    rated = {id: given for id, given in together.items() if given}

    def rate(name: str, is_flagged: bool) -> SurveyEstimate:
        fractions = {id: fmean(getattr(one, name) == is_flagged for one in given) for id, given in rated.items()}
        return estimate_rate(sample, {id: fraction >= 0.5 for id, fraction in fractions.items()})

    def mean(name: str) -> SurveyEstimate:
        scores = {id: fmean(getattr(one, name) for one in given) for id, given in rated.items()}
        return estimate_mean(sample, scores, derive_seed(seed, "audit", name))

    right = {}
    for reference in ("truth", "label"):
        flags = {
            item.question.id: fmean(one.best_answer == answer for one in rated[item.question.id]) > 0.5
            for item in sample
            if (answer := _reference_answer(item, reference)) is not None and item.question.id in rated
        }
        if flags:
            right[reference] = estimate_rate(sample, flags)
    return RaterReport(
        rater=rater,
        num_rated=len(rated),
        num_unrated=len(sample) - len(rated),
        rates={
            "is_error": rate("is_error", True),
            "not_answerable": rate("is_answerable", False),
            "no_single_best_answer": rate("has_one_best_answer", False),
            "not_factual": rate("is_factual", False),
        },
        means={name: mean(name) for name in _ORDINAL},
        right=right,
    )


def _reference_answer(item: SampledQuestion, reference: str) -> str | None:
    return item.question.provenance.get("truth") if reference == "truth" else item.question.answer


def _agreements(
    first: Verdicts, second: Verdicts, sample: Sequence[SampledQuestion], seed: int
) -> dict[str, Agreement]:
    common = [item.question for item in sample if item.question.id in first and item.question.id in second]
    letters = sorted({letter for question in common for letter in question.options})
    categories: dict[str, Sequence[Any]] = {
        **dict.fromkeys(_YES_NO, (True, False)),
        "best_answer": (*letters, None),
        **dict.fromkeys(_ORDINAL, RATINGS),
    }
    return {
        name: agreement(
            [getattr(first[question.id], name) for question in common],
            [getattr(second[question.id], name) for question in common],
            values,
            is_ordinal=name in _ORDINAL,
            seed=derive_seed(seed, "audit agreement", name),
        )
        for name, values in categories.items()
    }


def _disagreements(first: Verdicts, second: Verdicts) -> list[str]:
    """Returns the ids of the questions that two judges rate differently, or answer differently, where both rated."""
    return [
        id
        for id, verdict in first.items()
        if id in second and (verdict.is_error, verdict.best_answer) != (second[id].is_error, second[id].best_answer)
    ]


def _flagged(sample: Sequence[SampledQuestion], raters: Mapping[str, Verdicts]) -> list[dict[str, Any]]:
    flagged = []
    for item in sample:
        id = item.question.id
        given = {rater: verdicts[id] for rater, verdicts in raters.items() if id in verdicts}
        if any(verdict.is_error for verdict in given.values()):
            by = {rater: verdict.comment for rater, verdict in given.items() if verdict.is_error}
            flagged.append({"id": id, "stratum": item.stratum, "called_wrong_by": by, "num_raters": len(given)})
    return flagged


Rows = list[list[str]]

_RATING_HEADINGS = ["rater", "what", "counted", "of the rated, 95% interval", "of the whole file, 95% interval"]
_AGREEMENT_HEADINGS = ["raters", "criterion", "same answer, 95% interval", "Cohen's kappa, 95% interval"]
_RIGHT_NAMES = {"truth": "answers as the hidden truth", "label": "answers as the label"}


def rating_rows(report: AuditReport) -> Rows:
    """Returns a row for each rate and mean of each rater."""
    rows = []
    for rater in report.raters:
        for name, estimate in rater.rates.items():
            rows.append([rater.rater, name.replace("is_", "").replace("_", " "), *_cells(estimate)])
        for name, estimate in rater.means.items():
            rows.append([rater.rater, f"{name}, 1 to 5", *_cells(estimate)])
        for name, estimate in rater.right.items():
            rows.append([rater.rater, _RIGHT_NAMES[name], *_cells(estimate)])
    return rows


def agreement_rows(report: AuditReport) -> Rows:
    """Returns a row for each criterion of each pair of raters."""
    return [
        [f"{pair.first}, {pair.second}", name.replace("is_", "").replace("_", " "), *_agreement_cells(result)]
        for pair in report.pairs
        for name, result in pair.agreement.items()
    ]


def markdown_report(report: AuditReport) -> str:
    """Returns the whole report as Markdown."""
    by = ", ".join(report.stratified_by) or "nothing"
    lines = [f"# Audit of {report.num_sampled} of {report.num_questions} questions", ""]
    lines += [f"The sample is stratified by {by}; {len(report.strata)} strata.", ""]
    lines += _check_lines(report.checks)
    if report.unjudged:
        reasons = ", ".join(f"{reason} {count}" for reason, count in report.unjudged.items())
        lines += [f"Without a verdict of the judge: {sum(report.unjudged.values())} ({reasons}).", ""]
    for rater in report.raters:
        covered = rater.rates["is_error"].covered_share
        if covered < 1:
            lines += [f"The strata that {rater.rater} has rated hold {covered:.1%} of the questions.", ""]
    if report.raters:
        lines += ["## Ratings", "", *_markdown(_RATING_HEADINGS, rating_rows(report))]
    if report.pairs:
        lines += ["## Agreement", "", *_markdown(_AGREEMENT_HEADINGS, agreement_rows(report))]
    for pair in report.pairs:
        (both, only_first), (only_second, neither) = pair.agreement["is_error"].table
        heading = [f"error by {pair.first} \\ by {pair.second}", "yes", "no"]
        table = [["yes", str(both), str(only_first)], ["no", str(only_second), str(neither)]]
        lines += _markdown(heading, table)
    if report.disagreements is not None:
        lines += [f"The judges disagree on {len(report.disagreements)} questions, which are in for_experts.jsonl.", ""]
    if report.flagged:
        rows = [
            [item["id"], f"{len(item['called_wrong_by'])} of {item['num_raters']}", rater, comment]
            for item in report.flagged
            for rater, comment in item["called_wrong_by"].items()
        ]
        lines += ["## Questions that somebody calls wrong", ""]
        lines += _markdown(["question", "raters who say so", "rater", "comment"], rows)
    return "\n".join(lines)


def _check_lines(checks: ChecksReport) -> list[str]:
    """Returns the section of the automatic checks."""
    text = f"Facts and graph answer {checks.num_answers_checked} of {checks.num_checked} questions."
    rows = [["any problem", *_cells(checks.any_problem)]]
    rows += [[name, *_cells(estimate)] for name, estimate in checks.problems.items()]
    lines = ["## Automatic checks", "", text, "", *_markdown(["problem", *_RATING_HEADINGS[2:]], rows)]
    flagged = [[name, detail] for name, detail in checks.flagged.items()]
    return lines + (_markdown(["question", "problem"], flagged) if flagged else [])


def _cells(estimate: SurveyEstimate) -> list[str]:
    counted = f"n={estimate.n}" if estimate.count is None else f"{estimate.count} of {estimate.n}"
    is_rate = estimate.count is not None
    return [counted, _figure(estimate.sample, is_rate), _figure(estimate.population, is_rate)]


def _figure(figure: IntervalEstimate, is_rate: bool) -> str:
    if is_rate:
        return f"{100 * figure.value:.2f}% [{100 * figure.low:.2f}, {100 * figure.high:.2f}]"
    return f"{figure.value:.2f} [{figure.low:.2f}, {figure.high:.2f}]"


def _agreement_cells(result: Agreement) -> list[str]:
    same = f"{result.same:.3f} [{result.same_low:.3f}, {result.same_high:.3f}] n={result.n}"
    if result.kappa is None:
        return [same, "undefined"]
    kappa = f"{result.kappa:.3f} [{result.kappa_low:.3f}, {result.kappa_high:.3f}]"
    if result.undefined_share > 0:
        kappa += f", undefined in {result.undefined_share:.0%} of resamples"
    return [same, kappa]


def _markdown(headings: Sequence[str], rows: Rows) -> list[str]:
    lines = [headings, ["---"] * len(headings), *rows]
    return [*("| " + " | ".join(escape_markdown(cell) for cell in line) + " |" for line in lines), ""]
