"""The tables of a report: scores and differences as text, one row a model and one column a slice.

`scores` and `GroupComparison.table` have the numbers, one row a score; every other table here is made of them.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from math import isnan
from typing import TYPE_CHECKING, Any

from medssr.evaluation.estimates import Estimate
from medssr.evaluation.scoring import ALL, COMMON, RARE, RARE_ASKED, RARE_NEVER_ASKED
from medssr.reports.comparison import GroupComparison
from medssr.reports.render import ABSENT
from medssr.reports.runs import LabelSummary, Run
from medssr.reports.settings import distinct

if TYPE_CHECKING:
    import pandas as pd

_MAX_LISTED = 4  # names of runs in one cell
_SLICE_ORDER = (ALL, RARE, COMMON, RARE_ASKED, RARE_NEVER_ASKED)
COSTS = {"gpu_hours": "GPU hours", "cpu_hours": "CPU hours", "train_tokens": "tokens trained on"}
# A text for a row of a table of numbers.
CellText = Callable[[Any], str]


def scores(runs: Sequence[Run]) -> pd.DataFrame:
    """Returns every score of every model with its denominator: one row for each run, model, benchmark and slice."""
    import pandas as pd

    names = distinct(run.name for run in runs)
    rows: list[dict[str, Any]] = [
        {
            "run": name,
            "overrides": " ".join(run.record.overrides),
            "model": model.name,
            "benchmark": benchmark,
            "slice": slice_name,
            "num_questions": score.num_questions,
            "num_samples": result.num_samples,
            **_with_ends("accuracy", score.accuracy),
            "deviation": score.deviation,
            **_with_ends("majority_accuracy", score.majority_accuracy),
            **_with_ends("pass_at_n", score.pass_at_k[-1]),
            "invalid_rate": score.invalid.value,
            "num_invalid": score.invalid.count,
            "num_recovered": score.recovered.count,
            "num_samples_total": score.invalid.n,
            "always_a_accuracy": score.always_a.value,
            **_with_ends("second_pass_accuracy", score.second_pass.accuracy if score.second_pass else None),
        }
        for name, run in zip(names, runs, strict=True)
        for model in run.record.models
        for benchmark, result in model.benchmarks.items()
        for slice_name, score in result.slices.items()
    ]
    return pd.DataFrame(rows, columns=None if rows else ["run", "model", "benchmark", "slice"])


def tables_of_runs(runs: Sequence[Run], table: pd.DataFrame) -> list[pd.DataFrame | None]:
    """Returns all scores of each run as a table of text; None for a run without a score so far."""
    by_run = {name: all_scores_table(rows) for name, rows in table.groupby("run", sort=False)}
    return [by_run.get(name) for name in distinct(run.name for run in runs)]


def _with_ends(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    """Returns an estimate and the ends of its interval as columns."""
    value, low, high = (estimate.value, estimate.low, estimate.high) if estimate else (None, None, None)
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def accuracy_table(table: pd.DataFrame) -> pd.DataFrame:
    """Returns accuracy (mean@n) with its interval and n, one row for each run, model and benchmark of `scores`."""
    return _wide(table, _shown_labels(table, ["run", "model", "benchmark"]), _accuracy)


def all_scores_table(table: pd.DataFrame) -> pd.DataFrame:
    """Returns all scores of one run, one row for each model, benchmark and slice."""
    import pandas as pd

    def estimate(row: Any, name: str) -> str:
        value, low, high = (getattr(row, f"{name}{end}") for end in ("", "_low", "_high"))
        return ABSENT if pd.isna(value) else f"{value:.3f} {interval(low, high)}"

    rows = [
        {
            "model": row.model,
            "benchmark": row.benchmark,
            "slice": row.slice,
            "questions": str(row.num_questions),
            "mean@k": estimate(row, "accuracy"),
            "sd": f"{row.deviation:.3f}",
            "maj@k": estimate(row, "majority_accuracy"),
            "pass@k": estimate(row, "pass_at_n"),
            "k": str(row.num_samples),
            "invalid": f"{row.num_invalid} of {row.num_samples_total} ({100 * row.invalid_rate:.1f}%)",
            "recovered": str(row.num_recovered),
            "mean@k after it": estimate(row, "second_pass_accuracy"),
            "always A": f"{row.always_a_accuracy:.3f}",
        }
        for row in table.itertuples()
    ]
    result = pd.DataFrame(rows)
    if table["second_pass_accuracy"].isna().all():
        result = result.drop(columns=["recovered", "mean@k after it"])
    return result.set_index([*_shown_labels(result, ["model", "benchmark"]), "slice"])


def seed_table(comparison: GroupComparison) -> pd.DataFrame:
    """Returns the mean over seeds of every model, the standard deviation between seeds and their number.

    It has no row when every group has one seed.
    """
    table = comparison.table.drop_duplicates(["group", "model", "benchmark", "slice"])
    table = table[table["num_seeds"] > 1]
    return _wide(
        table,
        _shown_labels(table, ["group", "model", "benchmark"]),
        lambda row: f"{row.accuracy:.3f}\nsd {row.seed_deviation:.3f}\n{row.num_seeds} seeds",
    )


def model_difference_table(comparison: GroupComparison) -> pd.DataFrame:
    """Returns the differences between models of one group, one row for each pair and benchmark."""
    table = comparison.differences_within_groups()
    table = table.assign(**{"from → to": table["baseline_model"] + " → " + table["model"]})
    labels = _shown_labels(table, ["group", "from → to", "benchmark"])
    return _wide(table, labels, lambda row: f"{_difference(row)}\nn={row.n}")


def group_table(comparison: GroupComparison, *, has_costs: bool = True) -> pd.DataFrame:
    """Returns the last model of each group: accuracy and difference from the baseline by slice, seeds and cost."""
    import pandas as pd

    rows = comparison.last_models()
    rows = rows[rows["slice"].isin([ALL, RARE, COMMON])]
    shown = ["group", *(["benchmark"] if rows["benchmark"].nunique() > 1 else [])]
    result = _wide(rows, shown, _accuracy)
    if len(comparison.finished_groups) > 1:
        columns = [name for each in result.columns for name in (each, f"{each}, difference")]
        result = result.join(_wide(rows, shown, _difference).add_suffix(", difference"))[columns]
    firsts = rows.drop_duplicates(["group", "benchmark"])
    num_runs = {group.name: len(group.runs) for group in comparison.finished_groups}
    result["seeds"] = [str(num_runs[name]) for name in firsts["group"]]
    if has_costs:
        for column, heading in COSTS.items():
            result[heading] = [_cost(value) for value in firsts[column]]
    labels = _settings(comparison).loc[firsts["group"]]
    levels = [*labels.values.T.tolist(), *([list(firsts["benchmark"])] if len(shown) > 1 else [])]
    return result.set_axis(pd.MultiIndex.from_arrays(levels, names=[*labels.columns, *shown[1:]]))


def setting_note(comparison: GroupComparison) -> str:
    """Returns the full keys of short setting names, for a line below a table; empty where no name is short."""
    return "; ".join(f"{name}: {key}" for key, name in comparison.setting_names.items() if name != key)


def significance_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns differences with their tests, one row for each group, benchmark and slice of the rows."""
    import pandas as pd

    table = pd.DataFrame(
        {
            "group": row.group,
            "benchmark": row.benchmark,
            "slice": row.slice,
            "n": str(row.n),
            "difference, 95% interval": _difference(row, has_p=False),
            "p": p_value(row.p_value),
            "corrected p": p_value(row.p_adjusted),
            "won / lost": ABSENT if pd.isna(row.num_won) else f"{row.num_won} / {row.num_lost}",
            "McNemar p": p_value(row.mcnemar_p_value),
            "corrected McNemar p": p_value(row.mcnemar_p_adjusted),
        }
        for row in rows.itertuples()
    )
    table = table.loc[:, (table != ABSENT).any()]  # over several seeds there are no tests
    labels = [name for name in ("group", "benchmark") if table[name].nunique() > 1]
    return table.drop(columns={"group"} - {*labels}).set_index([*(labels or ["benchmark"]), "slice"])


def calibration_table(runs: Sequence[Run]) -> pd.DataFrame:
    """Returns the expected calibration error of each model, one column a benchmark."""
    import pandas as pd

    names = distinct(run.name for run in runs)
    rows = [
        (name, model.name, benchmark, f"{result.calibration.expected_error:.3f}\nn={result.calibration.n}")
        for name, run in zip(names, runs, strict=True)
        for model in run.record.models
        for benchmark, result in model.benchmarks.items()
        if result.calibration is not None and result.calibration.n > 0
    ]
    table = pd.DataFrame(rows, columns=["run", "model", "benchmark", "text"])
    return _wide(table, _shown_labels(table, ["run", "model"]), lambda row: str(row.text), column="benchmark")


def config_table(runs: Sequence[Run]) -> pd.DataFrame:
    """Returns the configuration fields whose value differs between runs, one row a run."""
    import pandas as pd

    rows = [{name: as_text(value) for name, value in run.record.config.items()} for run in runs]
    table = pd.DataFrame(rows, index=pd.Index(distinct(run.name for run in runs), name="run")).fillna(ABSENT)
    return table.loc[:, table.nunique() > 1]


def label_table(runs: Sequence[Run]) -> pd.DataFrame:
    """Returns the outcomes of votes with their fractions of all questions, one row for runs that share their labels.

    Beside them stands the fraction of votes that have a letter, where the run recorded it.
    """
    import pandas as pd

    rows = [
        {"run": listed(names), "questions": str(labels.num_questions)}
        | ({} if labels.valid_share is None else {"valid votes": f"{100 * labels.valid_share:.1f}%"})
        | {
            outcome.replace("_", " "): f"{count} ({100 * count / max(labels.num_questions, 1):.1f}%)"
            for outcome, count in labels.outcomes.items()
        }
        for labels, names in runs_by_labels(runs)
    ]
    return pd.DataFrame(rows, columns=None if rows else ["run"]).fillna(ABSENT).set_index("run")


def runs_by_labels(runs: Sequence[Run]) -> list[tuple[LabelSummary, list[str]]]:
    """Returns each distinct set of label counts with the names of the runs that have it."""
    groups: dict[str, tuple[LabelSummary, list[str]]] = {}
    for run in runs:
        if run.record.labels is not None:
            key = json.dumps(dataclasses.asdict(run.record.labels), sort_keys=True)
            groups.setdefault(key, (run.record.labels, []))[1].append(run.name)
    return list(groups.values())


def listed(names: Sequence[str]) -> str:
    """Returns the first few names, and how many there are besides.

    Example:
        >>> listed(["seed=1", "seed=2"]), listed([f"seed={number}" for number in range(1, 17)])
        ('seed=1, seed=2', 'seed=1, seed=2 and 14 others')
    """
    num_shown = len(names) if len(names) <= _MAX_LISTED else 2
    others = f" and {len(names) - num_shown} others" if num_shown < len(names) else ""
    return ", ".join(names[:num_shown]) + others


def as_text(value: Any) -> str:
    """Returns a value of a configuration as text: JSON, but for text itself."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def p_value(p: float) -> str:
    """Returns a p-value as a cell; NaN stands for none.

    Example:
        >>> p_value(0.0312), p_value(0.00001), p_value(float("nan"))
        ('0.031', '<0.001', '-')
    """
    if isnan(p):
        return ABSENT
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def p_text(p: float) -> str:
    """Returns a p-value with its name.

    Example:
        >>> p_text(0.0312), p_text(0.00001)
        ('p=0.031', 'p<0.001')
    """
    return "p" + (p_value(p) if p < 0.001 else f"={p_value(p)}")


def interval(low: float, high: float) -> str:
    """Returns an interval as text.

    Example:
        >>> interval(0.6612, 0.7588)
        '[0.66, 0.76]'
    """
    return f"[{low:.2f}, {high:.2f}]"


def _accuracy(row: Any) -> str:
    ends = [] if isnan(row.accuracy_low) else [interval(row.accuracy_low, row.accuracy_high)]
    return "\n".join([f"{row.accuracy:.3f}", *ends, f"n={row.num_questions}"])


def _difference(row: Any, *, has_p: bool = True) -> str:
    if isnan(row.difference):
        return ABSENT
    test = [p_text(row.p_adjusted)] if has_p and not isnan(row.p_adjusted) else []
    return "\n".join([f"{row.difference:+.3f}", f"[{row.low:+.3f}, {row.high:+.3f}]", *test])


def _cost(value: float) -> str:
    if isnan(value):
        return ABSENT
    return f"{value:,.0f}" if value >= 1000 else f"{value:.2g}"


def _settings(comparison: GroupComparison) -> pd.DataFrame:
    """Returns a column for each setting, by group; one column of names where settings do not tell all groups apart."""
    import pandas as pd

    names = pd.Index([group.name for group in comparison.groups], name="group")
    columns = {
        short: [group.settings.get(key, ABSENT) for group in comparison.groups]
        for key, short in comparison.setting_names.items()
    }
    table = pd.DataFrame(columns, index=names)
    is_told_apart = not table.duplicated().any() and all(group.settings for group in comparison.groups)
    return table if is_told_apart else pd.DataFrame({"runs": names}, index=names)


def _wide(table: pd.DataFrame, labels: list[str], cell: CellText, column: str = "slice") -> pd.DataFrame:
    """Returns the texts of some rows, one column for each value of `column`, rows in order of appearance."""
    import pandas as pd

    if table.empty:
        return pd.DataFrame(index=pd.MultiIndex.from_arrays([[] for _ in labels], names=labels))
    texts = table[[*labels, column]].assign(text=[cell(row) for row in table.itertuples()])
    wide = texts.pivot(index=labels, columns=column, values="text")
    rows = texts[labels].drop_duplicates()
    order = pd.MultiIndex.from_frame(rows) if len(labels) > 1 else pd.Index(rows[labels[0]])
    columns = _shown_slices(table, labels) if column == "slice" else list(table[column].unique())
    return wide.reindex(index=order, columns=columns).fillna(ABSENT).rename_axis(columns=None)


def _shown_labels(table: pd.DataFrame, labels: Sequence[str]) -> list[str]:
    """Returns the labels without those that are the same in every row.

    The model is left out where its name repeats that of the run, as for evaluations.
    """
    shown = [name for name in labels if name not in ("run", "group", "benchmark") or table[name].nunique() > 1]
    above = shown[0] if shown else ""
    if above in ("run", "group") and "model" in shown:
        pairs = zip(table[above], table["model"], strict=True)
        if all(name == model or name.startswith(f"{model} (") for name, model in pairs):
            shown.remove("model")
    return shown


def _shown_slices(table: pd.DataFrame, labels: list[str]) -> list[str]:
    """Returns the slices to show: "all" only where there are several benchmarks or a row is neither rare nor common."""
    slices = list(table["slice"].unique())
    by_row = table.groupby(labels, sort=False)["slice"].agg(set)
    has_undivided_row = any(not names & {RARE, COMMON} for names in by_row)
    if "benchmark" not in labels and not has_undivided_row and ALL in slices:
        slices.remove(ALL)
    ordered = [name for name in _SLICE_ORDER if name in slices]
    return [*ordered, *(name for name in slices if name not in ordered)]
