"""The report of an audit as a Markdown page."""

from __future__ import annotations

from collections.abc import Sequence

from medssr.auditing.agreement import Agreement
from medssr.auditing.estimates import Estimate, Figure
from medssr.auditing.report import AuditReport
from medssr.reports.render import escape_markdown

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
        [f"{pair.first}, {pair.second}", name.replace("is_", "").replace("_", " "), *_agreement_cells(found)]
        for pair in report.pairs
        for name, found in pair.agreement.items()
    ]


def markdown_report(report: AuditReport) -> str:
    """Returns the whole report as Markdown."""
    by = ", ".join(report.stratified_by) or "nothing"
    lines = [f"# Audit of {report.num_sampled} of {report.num_questions} questions", ""]
    lines += [f"The sample is stratified by {by}; {len(report.strata)} strata.", ""]
    if report.unjudged:
        reasons = ", ".join(f"{reason} {count}" for reason, count in report.unjudged.items())
        lines += [f"Without a verdict of the judge: {sum(report.unjudged.values())} ({reasons}).", ""]
    for rater in report.raters:
        share = rater.rates["is_error"].covered_share
        if share < 1:
            lines += [f"The strata that {rater.rater} has rated hold {share:.1%} of the questions.", ""]
    lines += ["## Ratings", "", *_markdown(_RATING_HEADINGS, rating_rows(report))]
    if report.pairs:
        lines += ["## Agreement", "", *_markdown(_AGREEMENT_HEADINGS, agreement_rows(report))]
    for pair in report.pairs:
        (both, only_first), (only_second, neither) = pair.agreement["is_error"].table
        heading = [f"error by {pair.first} \\ by {pair.second}", "yes", "no"]
        table = [["yes", str(both), str(only_first)], ["no", str(only_second), str(neither)]]
        lines += _markdown(heading, table)
    if report.flagged:
        rows = [
            [item["id"], f"{len(item['called_wrong_by'])} of {item['num_raters']}", rater, comment]
            for item in report.flagged
            for rater, comment in item["called_wrong_by"].items()
        ]
        lines += ["## Questions that somebody calls wrong", ""]
        lines += _markdown(["question", "raters who say so", "rater", "comment"], rows)
    return "\n".join(lines)


def _cells(estimate: Estimate) -> list[str]:
    counted = f"n={estimate.n}" if estimate.count is None else f"{estimate.count} of {estimate.n}"
    is_rate = estimate.count is not None
    return [counted, _figure(estimate.sample, is_rate), _figure(estimate.population, is_rate)]


def _figure(figure: Figure, is_rate: bool) -> str:
    if is_rate:
        return f"{100 * figure.value:.2f}% [{100 * figure.low:.2f}, {100 * figure.high:.2f}]"
    return f"{figure.value:.2f} [{figure.low:.2f}, {figure.high:.2f}]"


def _agreement_cells(found: Agreement) -> list[str]:
    same = f"{found.same:.3f} [{found.same_low:.3f}, {found.same_high:.3f}] n={found.n}"
    if found.kappa is None:
        return [same, "undefined"]
    kappa = f"{found.kappa:.3f} [{found.kappa_low:.3f}, {found.kappa_high:.3f}]"
    if found.undefined_share > 0:
        kappa += f", undefined in {found.undefined_share:.0%} of resamples"
    return [same, kappa]


def _markdown(headings: Sequence[str], rows: Rows) -> list[str]:
    lines = [headings, ["---"] * len(headings), *rows]
    return [*("| " + " | ".join(escape_markdown(cell) for cell in line) + " |" for line in lines), ""]
