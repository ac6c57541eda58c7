"""Configurations as rows: mean, interval over seeds and questions, difference from a baseline, cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from statistics import fmean
from typing import Any

import numpy as np

from medssr.errors import InputError
from medssr.evaluation.scoring import ALL, COMMON, RARE, sample_accuracy, slice_ids
from medssr.questions import Question
from medssr.reports.configurations import Configuration, group_by_configuration
from medssr.reports.costs import RunCost, run_cost
from medssr.reports.paired_runs import LeftOut, UnpairedError, check_protocols, check_questions, read_answers, side_of
from medssr.reports.runs import Run
from medssr.reports.settings import SEED, differing_settings
from medssr.statistics import crossed_bootstrap_interval

SLICES = (ALL, RARE, COMMON)


@dataclass(frozen=True, slots=True)
class ConfigurationRow:
    """The last model of a configuration on a slice of a benchmark.

    The interval is over seeds and questions, with one seed over questions alone; it is None where runs of several seeds
    do not have their answers. The difference is from the baseline, on the same questions.
    """

    configuration: str
    overrides: str
    benchmark: str
    slice: str
    num_seeds: int
    num_questions: int
    accuracy: float
    low: float | None
    high: float | None
    baseline: str
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    gpu_hours: float | None
    cpu_hours: float | None
    train_tokens: float | None


@dataclass(frozen=True, slots=True)
class ConfigurationTable:
    """All configurations against one of them.

    Attributes:
        configurations: The configurations.
        costs: By configuration, the mean cost of a run.
        setting_names: What the settings are called in which they differ, by full key.
        baseline: Name of the configuration that the others are compared with.
        rows: The scores.
        left_out: What has no interval or difference, and why.
    """

    configurations: list[Configuration]
    costs: dict[str, RunCost]
    setting_names: dict[str, str]
    baseline: str
    rows: list[ConfigurationRow]
    left_out: list[LeftOut]

    def of(self, benchmark: str, slice_name: str) -> list[ConfigurationRow]:
        """Returns the rows of a slice of a benchmark."""
        return [row for row in self.rows if (row.benchmark, row.slice) == (benchmark, slice_name)]


@dataclass(frozen=True, slots=True)
class _Scores:
    """The share of right samples by seed and question: `values` [S, Q]."""

    questions: list[Question]
    values: np.ndarray[Any, np.dtype[np.float64]]

    def of(self, ids: frozenset[str]) -> tuple[np.ndarray[Any, np.dtype[np.float64]], list[Any]]:
        """Returns the scores of some of the questions, and the cluster of each of them."""
        places = [place for place, question in enumerate(self.questions) if question.id in ids]
        return self.values[:, places], [self.questions[place].content_key for place in places]

    def like(self, questions: Sequence[Question]) -> _Scores:
        """Returns the scores in the order of the questions of others."""
        place = {question.id: number for number, question in enumerate(self.questions)}
        return _Scores(list(questions), self.values[:, [place[question.id] for question in questions]])


@dataclass(frozen=True, slots=True)
class _Sides:
    """The scores of a configuration and of the baseline, on the same questions; None where they cannot be had."""

    own: _Scores | None
    baseline: _Scores | None

    def interval(self, slice_name: str, seed: int) -> tuple[float | None, float | None]:
        """Returns the ends of the interval over seeds and questions."""
        if self.own is None:
            return None, None
        values, clusters = self.own.of(slice_ids(self.own.questions)[slice_name])
        found = crossed_bootstrap_interval(values, clusters, seed=seed)
        return found.low, found.high

    def difference(self, slice_name: str, seed: int) -> tuple[float | None, float | None, float | None]:
        """Returns the difference from the baseline with the ends of its interval."""
        if self.own is None or self.baseline is None:
            return None, None, None
        ids = slice_ids(self.own.questions)[slice_name]
        values, clusters = self.own.of(ids)
        others, _ = self.baseline.like(self.own.questions).of(ids)
        found = crossed_bootstrap_interval(values, clusters, minus=others, seed=seed)
        return float(values.mean() - others.mean()), found.low, found.high


def configuration_table(runs: Sequence[Run], baseline: str | None = None, seed: int = 0) -> ConfigurationTable:
    """Returns the configurations of some runs with their scores and costs.

    Args:
        runs: The runs.
        baseline: Name of the configuration that the others are compared with, or settings that it alone has, with
            short or full keys; None for that of the first run.
        seed: Of the bootstrap.

    Raises:
        InputError: When no configuration, or more than one, is the baseline.
    """
    settings = differing_settings(runs)
    configurations = group_by_configuration(runs, settings)
    origin = _baseline(configurations, baseline)
    left_out: list[LeftOut] = []
    cache: dict[tuple[str, str], _Scores | None] = {}

    def scores_of(configuration: Configuration, benchmark: str) -> _Scores | None:
        key = (configuration.name, benchmark)
        if key not in cache:
            try:
                cache[key] = _read_scores(configuration, benchmark)
            except UnpairedError as reason:
                cache[key] = None
                left_out.append(LeftOut(configuration.name, benchmark, str(reason)))
        return cache[key]

    costs = {each.name: _mean_cost(each.runs) for each in configurations}
    rows = []
    for configuration in configurations:
        for benchmark in configuration.benchmarks:
            own, other = scores_of(configuration, benchmark), None
            if configuration is not origin:
                try:
                    check_protocols(_protocol(origin), _protocol(configuration))
                    other = scores_of(origin, benchmark)
                    if own is not None and other is not None:
                        check_questions(other.questions, own.questions)
                except UnpairedError as reason:
                    left_out.append(LeftOut(configuration.name, benchmark, str(reason)))
                    other = None
            cost = costs[configuration.name]
            rows += _rows(configuration, benchmark, _Sides(own, other), origin.name, cost, seed)
    names = {key: name for key, name in settings.names.items() if key != SEED}
    return ConfigurationTable(configurations, costs, names, origin.name, rows, left_out)


def _mean_cost(runs: Sequence[Run]) -> RunCost:
    costs = [run_cost(run) for run in runs]
    known = {field.name: [getattr(cost, field.name) for cost in costs] for field in fields(RunCost)}
    return RunCost(**{name: None if None in values else fmean(values) for name, values in known.items()})


def _baseline(configurations: Sequence[Configuration], name: str | None) -> Configuration:
    if name is None:
        return configurations[0]
    found = [each for each in configurations if each.name == name]
    found = found or [each for each in configurations if each.is_called(name)]
    if len(found) != 1:
        number = "none" if not found else f"{len(found)} of them"
        names = "; ".join(each.name for each in configurations)
        raise InputError(f"baseline: {name!r} names {number}; the configurations are: {names}.")
    return found[0]


def _protocol(configuration: Configuration) -> dict[str, Any]:
    return side_of(configuration.runs[0]).results.protocol


def _read_scores(configuration: Configuration, benchmark: str) -> _Scores:
    """Returns the scores of all seeds of a configuration on the questions of the first of them."""
    questions: list[Question] = []
    rows: list[Mapping[str, float]] = []
    for run in configuration.runs:
        answers = read_answers(side_of(run).folder, benchmark)
        if not questions:
            questions = answers.questions
        check_questions(questions, answers.questions)
        by_id = {question.id: question for question in answers.questions}
        rows.append(
            {found.question_id: sample_accuracy(by_id[found.question_id], found) for found in answers.predictions}
        )
    return _Scores(questions, np.array([[row[question.id] for question in questions] for row in rows]))


def _rows(
    configuration: Configuration, benchmark: str, sides: _Sides, baseline: str, cost: RunCost, seed: int
) -> list[ConfigurationRow]:
    """Returns the rows of a benchmark: means of what the runs say, intervals and differences from their answers."""
    found = [run.record.models[-1].benchmarks.get(benchmark) for run in configuration.runs]
    rows = []
    for name in SLICES:
        slices = [score.slices[name] for score in found if score is not None and name in score.slices]
        if not slices:
            continue
        low, high = (
            (slices[0].accuracy.low, slices[0].accuracy.high) if len(slices) == 1 else sides.interval(name, seed)
        )
        rows.append(
            ConfigurationRow(
                configuration.name,
                " ".join(configuration.overrides),
                benchmark,
                name,
                len(slices),
                slices[0].num_questions,
                fmean(each.accuracy.value for each in slices),
                low,
                high,
                baseline,
                *sides.difference(name, seed),
                *astuple(cost),
            )
        )
    return rows
