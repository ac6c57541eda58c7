"""Groups of runs against a baseline, over questions and seeds, as one table.

A row is one model of a group on one slice of a benchmark, with its score and its difference from a baseline. A model is
compared with every earlier model of its own group, and the last model with the last model of the baseline's group.

Which statistic a difference has depends on the number of seeds. Between two single models: a bootstrap over questions,
an exact sign-flip test and McNemar's test, both corrected by Holm's method over the benchmarks. With several seeds on
a side: a bootstrap over seeds and questions, and no test, because a test over questions would take the seeds as fixed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

import numpy as np

from medssr.evaluation.comparison import Comparison, compare, corrected
from medssr.evaluation.scoring import SliceScore, sample_accuracy, slice_ids
from medssr.questions import Question
from medssr.reports.examples import Candidate, Example, choose_examples, match_answers, read_examples
from medssr.reports.groups import RunGroup, find_baseline, group_runs
from medssr.reports.metrics import RunCost, run_cost
from medssr.reports.paired_answers import (
    Answers,
    UnpairedError,
    check_protocols,
    check_questions,
    evaluation_folder,
    read_answers,
)
from medssr.reports.runs import LeftOut, PairedDifference, Run, read_evaluation
from medssr.reports.settings import SEED, differing_settings
from medssr.statistics import crossed_bootstrap_interval

if TYPE_CHECKING:
    import pandas as pd

_TEXTS = ("group", "model", "baseline", "baseline_model", "overrides", "benchmark", "slice")
_COUNTS = ("num_seeds", "num_questions", "n", "num_won", "num_lost")
# The columns of the table; docs/results.md says what each of them holds.
COLUMNS = (
    *_TEXTS,
    "num_seeds", "num_questions", "accuracy", "accuracy_low", "accuracy_high", "seed_deviation",
    "n", "difference", "low", "high", "p_value", "p_adjusted", "num_won", "num_lost", "mcnemar_p_value",
    "mcnemar_p_adjusted", "gpu_hours", "cpu_hours", "train_tokens",
)  # fmt: skip

# By benchmark and slice, some columns of a row.
Cells = dict[tuple[str, str], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class GroupComparison:
    """All groups against one of them.

    Attributes:
        groups: The groups of runs.
        setting_names: The short names of the settings in which the groups differ, by full key.
        baseline: The group that the others are compared with.
        table: The scores and differences; `COLUMNS` are its columns.
        examples: By group, questions won and lost against the baseline.
        left_out: The scores without an interval and the differences that are missing, with the reasons.
    """

    groups: list[RunGroup]
    setting_names: dict[str, str]
    baseline: RunGroup
    table: pd.DataFrame
    examples: dict[str, list[Example]]
    left_out: list[LeftOut]

    @property
    def runs(self) -> list[Run]:
        """All runs, group by group."""
        return [run for group in self.groups for run in group.runs]

    @property
    def finished_groups(self) -> list[RunGroup]:
        """The groups with their finished runs alone, which are those of the table."""
        return _finished(self.groups)

    def last_models(self) -> pd.DataFrame:
        """Returns the rows of each group's last model, with the difference from the baseline's last model."""
        last = self.table["group"].map({group.name: group.models[-1] for group in self.finished_groups})
        is_shown = self.table["baseline"].isna() | (self.table["baseline"] != self.table["group"])
        return self.table[(self.table["model"] == last) & is_shown]

    def differences_from_baseline(self) -> pd.DataFrame:
        """Returns the rows with a difference from the baseline's last model."""
        is_other = self.table["baseline"].notna() & (self.table["baseline"] != self.table["group"])
        return self.table[is_other & self.table["difference"].notna()]

    def differences_within_groups(self) -> pd.DataFrame:
        """Returns the rows with a difference between two models of one group."""
        return self.table[(self.table["baseline"] == self.table["group"]) & self.table["difference"].notna()]


def compare_groups(
    runs: Sequence[Run], baseline: str | None = None, *, num_examples: int = 0, seed: int = 0
) -> GroupComparison:
    """Returns the groups of some runs with their scores, their costs and their differences from a baseline.

    Args:
        runs: The runs. Those under way belong to groups, but nothing is compared with them.
        baseline: The name of the group that the others are compared with, or settings that it alone has, with short or
            full keys; None for the group of the first run.
        num_examples: How many questions won, and as many lost, to show of each group.
        seed: Of the bootstrap.

    Raises:
        InputError: When no group, or more than one, is the baseline, or a file of questions or answers is broken.
    """
    import pandas as pd

    settings = differing_settings(runs)
    groups = group_runs(runs, settings)
    finished = _finished(groups)
    origin = find_baseline(finished or groups, baseline)
    comparer = _Comparer(seed)
    rows: list[dict[str, Any]] = []
    examples = {}
    for group in finished:
        costs = _mean_cost(group.runs)
        for second, baselines in _compared_models(group, origin):
            scores = comparer.scores(second)
            for first in baselines:
                differences = {} if first is None else comparer.differences(first, second)
                rows += [row | costs for row in _rows(second, first, scores, differences)]
        if group is not origin and num_examples:
            examples[group.name] = comparer.examples(origin, group, num_examples)
    # "Int64" is for whole numbers that may be missing.
    types = {name: "object" if name in _TEXTS else "Int64" if name in _COUNTS else "float64" for name in COLUMNS}
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype(types)
    names = {key: name for key, name in settings.names.items() if key != SEED}
    return GroupComparison(groups, names, origin, table, examples, list(dict.fromkeys(comparer.left_out)))


def _finished(groups: Sequence[RunGroup]) -> list[RunGroup]:
    finished = [replace(group, runs=[run for run in group.runs if run.is_finished]) for group in groups]
    return [group for group in finished if group.runs]


@dataclass(frozen=True, slots=True)
class _Side:
    """One model of a group: one side of a comparison."""

    group: RunGroup
    model: str

    @property
    def runs(self) -> list[Run]:
        """The runs that have the model."""
        return [run for run in self.group.runs if any(result.name == self.model for result in run.record.models)]

    @property
    def scores(self) -> dict[str, dict[str, list[SliceScore]]]:
        """The scores of the runs by benchmark and slice, without runs that have none."""
        scores: dict[str, dict[str, list[SliceScore]]] = {}
        for result in (result for run in self.runs for result in run.record.models if result.name == self.model):
            for benchmark, benchmark_score in result.benchmarks.items():
                for name, score in benchmark_score.slices.items():
                    scores.setdefault(benchmark, {}).setdefault(name, []).append(score)
        return scores


def _compared_models(group: RunGroup, origin: RunGroup) -> Iterator[tuple[_Side, list[_Side | None]]]:
    """Yields each model of a group with the models that it is compared with, None standing for no model.

    The first model of a group, and the last one of the baseline's group, have rows without a difference.
    """
    sides = [_Side(group, model) for model in group.models]
    for index, second in enumerate(sides):
        earlier: list[_Side | None] = [*sides[:index]]
        if second is not sides[-1]:
            yield second, earlier or [None]
        elif group is origin:
            yield second, [None, *earlier]
        else:
            yield second, [_Side(origin, origin.models[-1]), *earlier]


def _rows(second: _Side, first: _Side | None, scores: Cells, differences: Cells) -> list[dict[str, Any]]:
    names = {"group": second.group.name, "model": second.model, "overrides": " ".join(second.group.overrides)}
    if first is not None:
        names |= {"baseline": first.group.name, "baseline_model": first.model}
    return [
        names | {"benchmark": benchmark, "slice": name} | cells | differences.get((benchmark, name), {})
        for (benchmark, name), cells in scores.items()
    ]


def _mean_cost(runs: Sequence[Run]) -> dict[str, float | None]:
    costs = [asdict(run_cost(run)) for run in runs]
    columns = {field.name: [cost[field.name] for cost in costs] for field in fields(RunCost)}
    return {name: None if None in values else fmean(values) for name, values in columns.items()}


class _Comparer:
    """Scores and compares sides; reads every file of answers once, and notes what cannot be compared."""

    def __init__(self, seed: int) -> None:
        self.left_out: list[LeftOut] = []
        self._seed = seed
        self._read = cache(read_answers)
        self._protocol = cache(lambda folder: read_evaluation(folder).protocol)

    def scores(self, side: _Side) -> Cells:
        """Returns means over seeds; intervals over seeds and questions, or with one seed those of `results.json`."""
        cells: Cells = {}
        for benchmark, by_slice in side.scores.items():
            intervals = self._intervals(side, benchmark) if len(side.runs) > 1 else {}
            for name, scores in by_slice.items():
                values = [score.accuracy.value for score in scores]
                ends = (scores[0].accuracy.low, scores[0].accuracy.high) if len(scores) == 1 else intervals.get(name)
                low, high = ends or (None, None)
                cells[benchmark, name] = {
                    "num_seeds": len(scores),
                    "num_questions": scores[0].num_questions,
                    "accuracy": fmean(values),
                    "accuracy_low": low,
                    "accuracy_high": high,
                    "seed_deviation": stdev(values) if len(values) > 1 else None,
                }
        return cells

    def _intervals(self, side: _Side, benchmark: str) -> dict[str, tuple[float, float]]:
        try:
            questions, accuracies = self._accuracies(side, benchmark)
        except UnpairedError as reason:
            self.left_out.append(LeftOut(side.group.name, benchmark, str(reason)))
            return {}
        intervals = {}
        for name, (columns, clusters) in _slice_columns(questions).items():
            interval = crossed_bootstrap_interval(accuracies[:, columns], clusters, seed=self._seed)
            intervals[name] = (interval.low, interval.high)
        return intervals

    def differences(self, first: _Side, second: _Side) -> Cells:
        """Returns the differences of two models; those within a run are the ones that its `results.json` has."""
        if first.group is second.group and len(second.group.runs) == 1:
            pairs = second.group.runs[0].record.paired
            return {
                (pair.benchmark, pair.slice): _difference_cells(pair)
                for pair in pairs
                if (pair.origin, pair.to) == (first.model, second.model)
            }
        try:
            self._check_protocols(first, second)
        except UnpairedError as reason:
            self.left_out.append(LeftOut(second.group.name, None, str(reason)))
            return {}
        tested: dict[str, dict[str, Comparison]] = {}
        cells: Cells = {}
        for benchmark in dict.fromkeys([*first.scores, *second.scores]):
            try:
                if len(first.runs) == len(second.runs) == 1:
                    before, after = self._answers(first, benchmark)[0], self._answers(second, benchmark)[0]
                    check_questions(before.questions, after.questions)
                    tested[benchmark] = compare(
                        before.questions, before.predictions, after.predictions, seed=self._seed
                    )
                else:
                    cells |= self._crossed_differences(first, second, benchmark)
            except UnpairedError as reason:
                self.left_out.append(LeftOut(second.group.name, benchmark, str(reason)))
        for benchmark, slices in corrected(tested).items():
            cells |= {(benchmark, name): _difference_cells(result) for name, result in slices.items()}
        return cells

    def _crossed_differences(self, first: _Side, second: _Side, benchmark: str) -> Cells:
        questions, before = self._accuracies(first, benchmark)
        others, after = self._accuracies(second, benchmark)
        check_questions(questions, others)
        columns_by_id = {question.id: column for column, question in enumerate(others)}
        after = after[:, [columns_by_id[question.id] for question in questions]]
        cells: Cells = {}
        for name, (columns, clusters) in _slice_columns(questions).items():
            scores, baseline_scores = after[:, columns], before[:, columns]
            interval = crossed_bootstrap_interval(scores, clusters, minus=baseline_scores, seed=self._seed)
            difference = float(scores.mean() - baseline_scores.mean())
            cells[benchmark, name] = {"n": len(columns), "difference": difference} | asdict(interval)
        return cells

    def examples(self, origin: RunGroup, group: RunGroup, num_examples: int) -> list[Example]:
        """Returns questions won and lost by the first run of a group against the first run of the baseline."""
        first, second = (_Side(RunGroup(each.name, {}, each.runs[:1]), each.models[-1]) for each in (origin, group))
        candidates: list[Candidate] = []
        try:
            folders = [evaluation_folder(side.group.runs[0], side.model) for side in (first, second)]
            self._check_protocols(first, second)
        except UnpairedError:  # `differences` has noted it
            return []
        for benchmark in first.scores:
            try:
                before, after = (self._read(folder, benchmark) for folder in folders)
                check_questions(before.questions, after.questions)
            except UnpairedError:
                continue
            candidates += match_answers(benchmark, before, after)
        return read_examples(choose_examples(candidates, num_examples), folders[0], folders[1])

    def _check_protocols(self, *sides: _Side) -> None:
        folders = [evaluation_folder(run, side.model) for side in sides for run in side.runs]
        check_protocols([self._protocol(folder) for folder in folders])

    def _answers(self, side: _Side, benchmark: str) -> list[Answers]:
        return [self._read(evaluation_folder(run, side.model), benchmark) for run in side.runs]

    def _accuracies(self, side: _Side, benchmark: str) -> tuple[list[Question], np.ndarray[Any, np.dtype[np.float64]]]:
        """Returns the questions, and the fraction of right samples by seed and question: `[S, Q]`."""
        answers = self._answers(side, benchmark)
        questions = answers[0].questions
        rows = []
        for each in answers:
            check_questions(questions, each.questions)
            by_id = {prediction.question_id: prediction for prediction in each.predictions}
            rows.append([sample_accuracy(question, by_id[question.id]) for question in questions])
        return questions, np.array(rows)


def _difference_cells(comparison: Comparison | PairedDifference) -> dict[str, Any]:
    """Returns the columns of a row that the fields of a `Comparison` fill."""
    return {field.name: getattr(comparison, field.name) for field in fields(Comparison)}


def _slice_columns(questions: Sequence[Question]) -> dict[str, tuple[list[int], list[Any]]]:
    """Returns for each slice the indices of its questions and the cluster of each: copies of one are a cluster."""
    slices = {}
    for name, ids in slice_ids(questions).items():
        columns = [column for column, question in enumerate(questions) if question.id in ids]
        slices[name] = (columns, [questions[column].content_key for column in columns])
    return slices
