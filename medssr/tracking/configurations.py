"""Runs that differ in their seed alone as one row: mean, interval over seeds and questions, difference, cost."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from medssr.errors import InputError
from medssr.evaluation.scoring import ALL, COMMON, RARE, sample_accuracy, slice_ids
from medssr.evaluation.statistics import crossed_bootstrap_interval
from medssr.questions import Question
from medssr.tracking.costs import RunCost, run_cost
from medssr.tracking.paired_runs import (
    LeftOut,
    UnpairedError,
    check_protocols,
    check_questions,
    read_answers,
    side_of,
)
from medssr.tracking.runs import Run
from medssr.utils.naming import job_name

SLICES = (ALL, RARE, COMMON)


@dataclass(frozen=True, slots=True)
class Configuration:
    """Runs of one configuration, one for each seed.

    Attributes:
        name: The overrides but for the seed.
        runs: The runs in order of their seeds.
        cost: The mean cost of a run.
    """

    name: str
    runs: list[Run]
    cost: RunCost

    @property
    def seeds(self) -> list[str]:
        """The seeds of the runs."""
        return [str(run.record.config.get("seed")) for run in self.runs]


@dataclass(frozen=True, slots=True)
class ConfigurationRow:
    """The last model of a configuration on a slice of a benchmark.

    The interval is over seeds and questions, with one seed over questions alone; it is None where runs of several seeds
    do not have their answers. The difference is from the baseline, on the same questions.
    """

    configuration: str
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
    """All configurations against one of them."""

    configurations: list[Configuration]
    baseline: str
    rows: list[ConfigurationRow]
    left_out: list[LeftOut]

    def of(self, benchmark: str, slice_name: str) -> list[ConfigurationRow]:
        """Returns the rows of a slice of a benchmark."""
        return [row for row in self.rows if (row.benchmark, row.slice) == (benchmark, slice_name)]

    @property
    def places(self) -> list[tuple[str, str]]:
        """The slices of benchmarks that have a row."""
        return list(dict.fromkeys((row.benchmark, row.slice) for row in self.rows))


@dataclass(frozen=True, slots=True)
class _Scores:
    """The share of right samples by seed and question: `values` [S, Q]."""

    questions: list[Question]
    values: np.ndarray[Any, np.dtype[np.float64]]

    def of(self, ids: frozenset[str]) -> tuple[np.ndarray[Any, np.dtype[np.float64]], list[Any]]:
        """Returns the scores of some of the questions, and the cluster of each of them."""
        places = [place for place, question in enumerate(self.questions) if question.id in ids]
        return self.values[:, places], [self.questions[place].content_key for place in places]


def configuration_table(runs: Sequence[Run], baseline: str | None = None, seed: int = 0) -> ConfigurationTable:
    """Returns the configurations of some runs with their scores and costs.

    Args:
        runs: The runs.
        baseline: Name of the configuration that the others are compared with, or overrides that it alone has; None for
            that of the first run.
        seed: Of the bootstrap.

    Raises:
        InputError: When no configuration, or more than one, is the baseline.
    """
    configurations = group_by_configuration(runs)
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

    rows = []
    for configuration in configurations:
        for benchmark in configuration.runs[0].record.models[-1].benchmarks:
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
            rows += _rows(configuration, benchmark, own, other, origin.name, seed)
    return ConfigurationTable(configurations, origin.name, rows, left_out)


def group_by_configuration(runs: Sequence[Run]) -> list[Configuration]:
    """Returns the runs by what they have in common but for the seed, in order of appearance."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        rest = {key: value for key, value in run.record.config.items() if key != "seed"}
        named = run.record.overrides or [run.name]
        key = json.dumps([rest, sorted(_without_seed(named))], sort_keys=True, default=str)
        groups.setdefault(key, []).append(run)
    configurations: list[Configuration] = []
    for group in groups.values():
        overrides = group[0].record.overrides
        name = job_name(_without_seed(overrides)) if overrides else group[0].name
        num_same = sum(found.name == name or found.name.startswith(f"{name} (") for found in configurations)
        name = f"{name} ({num_same + 1})" if num_same else name
        costs = [run_cost(run) for run in group]
        known = {field.name: [getattr(cost, field.name) for cost in costs] for field in fields(RunCost)}
        means = {key: None if None in values else fmean(values) for key, values in known.items()}
        group.sort(key=lambda run: str(run.record.config.get("seed")).zfill(12))
        configurations.append(Configuration(name, group, RunCost(**means)))
    return configurations


def _without_seed(overrides: Sequence[str]) -> list[str]:
    return [text for text in overrides if not text.startswith("seed=")]


def _baseline(configurations: Sequence[Configuration], name: str | None) -> Configuration:
    if name is None:
        return configurations[0]
    asked = set(name.split(","))
    found = [each for each in configurations if each.name == name]
    found = found or [each for each in configurations if asked <= set(each.name.split(","))]
    found = found or [each for each in configurations if any(asked <= set(run.record.overrides) for run in each.runs)]
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
        answers = read_answers(Path(side_of(run).folder), benchmark)
        if not questions:
            questions = answers.questions
        check_questions(questions, answers.questions)
        by_id = {question.id: question for question in answers.questions}
        rows.append(
            {found.question_id: sample_accuracy(by_id[found.question_id], found) for found in answers.predictions}
        )
    return _Scores(questions, np.array([[row[question.id] for question in questions] for row in rows]))


def _rows(
    configuration: Configuration,
    benchmark: str,
    own: _Scores | None,
    other: _Scores | None,
    baseline: str,
    seed: int,
) -> list[ConfigurationRow]:
    """Returns the rows of a benchmark: means of what the runs say, intervals and differences from their answers."""
    found = [run.record.models[-1].benchmarks for run in configuration.runs]
    rows = []
    for name in SLICES:
        slices = [
            scores[benchmark].slices[name]
            for scores in found
            if benchmark in scores and name in scores[benchmark].slices
        ]
        if not slices:
            continue
        low: float | None = slices[0].accuracy.low
        high: float | None = slices[0].accuracy.high
        difference: tuple[float | None, float | None, float | None] = (None, None, None)
        if len(slices) > 1:
            low = high = None
        if own is not None:
            values, clusters = own.of(slice_ids(own.questions)[name])
            if len(slices) > 1:
                interval = crossed_bootstrap_interval(values, clusters, seed=seed)
                low, high = interval.low, interval.high
            if other is not None:
                # The order of questions is that of the own side.
                others = _aligned(other, own).of(slice_ids(own.questions)[name])[0]
                gain = crossed_bootstrap_interval(values, clusters, minus=others, seed=seed)
                difference = (float(values.mean() - others.mean()), gain.low, gain.high)
        rows.append(
            ConfigurationRow(
                configuration.name,
                benchmark,
                name,
                len(slices),
                slices[0].num_questions,
                fmean(each.accuracy.value for each in slices),
                low,
                high,
                baseline,
                *difference,
                configuration.cost.gpu_hours,
                configuration.cost.cpu_hours,
                configuration.cost.train_tokens,
            )
        )
    return rows


def _aligned(scores: _Scores, like: _Scores) -> _Scores:
    place = {question.id: number for number, question in enumerate(scores.questions)}
    return _Scores(like.questions, scores.values[:, [place[question.id] for question in like.questions]])
