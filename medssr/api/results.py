"""What the steps return to Python: artefacts with their files, their numbers, tables of pandas and pictures."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from medssr.errors import InputError
from medssr.manifests import Artifact, read_artifact

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from medssr.reports.comparison import GroupComparison
    from medssr.reports.runs import LeftOut, Run


@dataclass(frozen=True, slots=True, repr=False)
class StepResult(Artifact):
    """A finished step. `directory` is its folder, `fingerprint` its id, `path(name)` one of its files."""

    @property
    def files(self) -> dict[str, Path]:
        """The files that the step made, by their names in its folder."""
        return {name: self.path(name) for name in self.manifest["outputs"]}

    @property
    def metrics(self) -> dict[str, float]:
        """The numbers that sum the step up, by name."""
        return _numbers(self.manifest["counts"])

    def to_pandas(self) -> pd.DataFrame:
        """Returns the main table of the step."""
        raise NotImplementedError

    def __repr__(self) -> str:
        numbers = ", ".join(f"{name}={value:.4g}" for name, value in list(self.metrics.items())[:6])
        return f"{type(self).__name__}({self.directory}: {numbers})"


Result = TypeVar("Result", bound=StepResult)


@dataclass(frozen=True, slots=True, repr=False)
class SynthesizeResult(StepResult):
    """Questions without labels."""

    @property
    def questions(self) -> Path:
        """The file of the questions."""
        return self.path("questions.jsonl")

    def to_pandas(self) -> pd.DataFrame:
        """Returns a row for each question; what is known of its origin has names that start with "provenance."."""
        return _table(self.questions)

    def rejected(self) -> pd.DataFrame:
        """Returns a row for each rejected draft with the reason."""
        return _table(self.path("rejected.jsonl"))


@dataclass(frozen=True, slots=True, repr=False)
class PseudoLabelResult(StepResult):
    """Questions with labels by majority vote."""

    @property
    def questions(self) -> Path:
        """The file of the labelled questions."""
        return self.path("questions.jsonl")

    @property
    def metrics(self) -> dict[str, float]:
        """Counts, and the accuracy and agreement of the labels where the truth is known."""
        from medssr.reports.runs import label_summary_of_counts
        from medssr.reports.wandb_steps import label_summary

        counts = self.manifest["counts"]
        return _numbers(counts) | label_summary(label_summary_of_counts(counts))

    def to_pandas(self) -> pd.DataFrame:
        """Returns a row for each labelled question; "answer" is the label."""
        return _table(self.questions)

    def votes(self) -> pd.DataFrame:
        """Returns a row for each question that was voted on, kept or not, with its outcome and its votes."""
        return _table(self.path("votes.jsonl"), is_flat=False)

    def plot(self) -> Figure:
        """Returns how often labels are right by how far the votes agree.

        Raises:
            InputError: When the truth of no question is known.
        """
        from medssr.reports.plots import plot_label_calibration
        from medssr.reports.runs import label_summary_of_counts

        bands = label_summary_of_counts(self.manifest["counts"]).bands
        if not any(band.n for band in bands):
            raise InputError(f"{self.questions}: the truth of no question is known, so there is nothing to plot.")
        return plot_label_calibration(bands)


@dataclass(frozen=True, slots=True, repr=False)
class TrainingResult(StepResult):
    """A trained policy."""

    @property
    def model(self) -> Path:
        """The folder of the model, a checkpoint of Hugging Face."""
        return self.path("model")

    @property
    def metrics(self) -> dict[str, float]:
        """The last value of each metric that was logged, and what is known of the held-out questions."""
        table = self.to_pandas()
        last = {str(name): float(column.dropna().iloc[-1]) for name, column in table.items() if column.notna().any()}
        return last | _numbers(self.manifest["counts"])

    def to_pandas(self) -> pd.DataFrame:
        """Returns the metrics, a row for each step; docs/metrics.md explains the columns."""
        import pandas as pd

        return pd.read_csv(self.path("metrics.csv"), index_col="step")

    def plot(self) -> Figure:
        """Returns the learning curves.

        Raises:
            InputError: When no metric that is drawn was logged.
        """
        import numpy as np

        from medssr.reports.colours import DISTINCT
        from medssr.reports.metrics import DRAWN, read_curves
        from medssr.reports.plots import plot_training

        name = str(self.manifest["config"].get("stage", self.manifest["step"]))
        drawn = {metric: curve for metric, curve in read_curves(self.path("metrics.csv")).items() if metric in DRAWN}
        finite = {metric: curve[np.isfinite(curve)] for metric, curve in drawn.items()}
        curves = {metric: {name: [curve]} for metric, curve in finite.items() if len(curve)}
        if not curves:
            raise InputError.at(self.path("metrics.csv"), f"holds none of {', '.join(DRAWN)}, so nothing is plotted.")
        return plot_training(curves, axis=None, colours={name: DISTINCT[0]})


@dataclass(frozen=True, slots=True, repr=False)
class EvaluateResult(StepResult):
    """The scores of a model."""

    @property
    def metrics(self) -> dict[str, float]:
        """Accuracies and the ends of their intervals: `score/<slice>`, `score/<benchmark>/<slice>`."""
        from medssr.reports.runs import read_evaluation
        from medssr.reports.wandb_steps import score_summary

        return score_summary(read_evaluation(self.directory).benchmarks)

    def to_pandas(self) -> pd.DataFrame:
        """Returns the scores with their intervals, a row for each benchmark and slice."""
        return _scores([self._run()]).drop(columns=["run", "overrides", "model"])

    def answers(self, benchmark: str | None = None) -> pd.DataFrame:
        """Returns every answer to a benchmark: its text, the letter that was read, and whether it is right.

        Args:
            benchmark: Its name; None for the only one.

        Raises:
            InputError: When there is no such benchmark.
        """
        import pandas as pd

        from medssr.evaluation.results_io import predictions_file, questions_file
        from medssr.utils.files import read_jsonl

        names = list(self._run().record.models[0].benchmarks)
        if benchmark is None and len(names) == 1:
            benchmark = names[0]
        if benchmark not in names:
            raise InputError(f"answers: {benchmark!r} is no benchmark of this evaluation; it has {', '.join(names)}.")
        rows = []
        records = read_jsonl(predictions_file(self.directory, benchmark), allows_nan=True)
        questions = _records(questions_file(self.directory, benchmark))
        for question, (_, record) in zip(questions, records, strict=True):
            head = {name: question[name] for name in ("id", "stem", "options", "answer", "entity", "is_rare")}
            for number, answer in enumerate(record["answers"]):
                is_right = answer["letter"] == record["gold"]
                rows.append(head | {"sample": number, "is_right": is_right} | answer)
        return pd.DataFrame(rows)

    def plot(self) -> Figure:
        """Returns accuracy with its interval, a row for each benchmark and slice."""
        return _plot_scores(_compared(self._run()))

    def _run(self) -> Run:
        from medssr.reports.runs import read_run

        return read_run(self.directory)


@dataclass(frozen=True, slots=True, repr=False)
class PipelineResult:
    """A run of the whole method.

    Attributes:
        directory: The folder of the run.
        report: Its page.
    """

    directory: Path
    report: Path

    @property
    def run(self) -> Run:
        """The results as `results.json` has them."""
        from medssr.reports.runs import read_run

        return read_run(self.directory)

    @property
    def synthesized(self) -> SynthesizeResult | None:
        """The synthetic questions; None where no stage uses any."""
        return self._step("synthesize", SynthesizeResult)

    @property
    def labelled(self) -> PseudoLabelResult | None:
        """The labelled questions; None where no stage uses any."""
        return self._step("pseudo_label", PseudoLabelResult)

    @property
    def stages(self) -> dict[str, TrainingResult]:
        """The stages of training by name, in order."""
        folders = {stage.stage: (self.directory / stage.metrics_file).parent for stage in self.run.record.training}
        return {name: _result(folder, TrainingResult) for name, folder in folders.items()}

    @property
    def evaluations(self) -> dict[str, EvaluateResult]:
        """The scores of each model by name, "base" first."""
        run = self.run
        names = [model.name for model in run.record.models]
        folders = {name: run.evaluation(name) for name in names}
        return {name: _result(folder, EvaluateResult) for name, folder in folders.items() if folder is not None}

    @property
    def metrics(self) -> dict[str, float]:
        """The accuracies of the last model, and those of the first under `base_score/...`."""
        from medssr.reports.wandb_steps import score_summary

        models = self.run.record.models
        return score_summary(models[-1].benchmarks) | score_summary(models[0].benchmarks, "base_score")

    @property
    def files(self) -> dict[str, Path]:
        """The files of the run, by their names in its folder."""
        return _files(self.directory)

    def to_pandas(self) -> pd.DataFrame:
        """Returns the scores with their intervals, a row for each model, benchmark and slice."""
        return _scores([self.run]).drop(columns=["run", "overrides"])

    def plot(self) -> Figure:
        """Returns accuracy with its interval, a row for each model."""
        return _plot_scores(_compared(self.run))

    def _step(self, name: str, kind: type[Result]) -> Result | None:
        path = self.run.record.artifacts.get(name)
        return None if path is None else _result(self.directory / path, kind)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.directory}, report={self.report})"


@dataclass(frozen=True, slots=True, repr=False)
class CompareResult:
    """A comparison of runs.

    Attributes:
        report: Its page.
        comparison: The groups of runs with their scores and differences.
        left_out: What could not be read as a run, with the reasons.
    """

    report: Path
    comparison: GroupComparison
    left_out: list[LeftOut]

    @property
    def directory(self) -> Path:
        """The folder of the page."""
        return self.report.parent

    @property
    def files(self) -> dict[str, Path]:
        """The files beside the page, by name."""
        return _files(self.directory)

    @property
    def metrics(self) -> dict[str, float]:
        """The accuracy of each group's last model on all questions, by group and benchmark."""
        table = self.comparison.last_models()
        rows = table[table["slice"] == "all"]
        return {f"{row.group}/{row.benchmark}": float(row.accuracy) for row in rows.itertuples()}

    def to_pandas(self) -> pd.DataFrame:
        """Returns the groups with their differences from the baseline; docs/results.md explains the columns."""
        return self.comparison.table

    def scores(self) -> pd.DataFrame:
        """Returns the scores with their intervals, a row for each run, model, benchmark and slice."""
        return _scores(self.comparison.runs)

    def plot(self) -> Figure:
        """Returns accuracy with its interval, a row for each model of each run."""
        return _plot_scores(self.comparison)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.comparison.runs)} runs, report={self.report})"


def _result(folder: Path, kind: type[Result]) -> Result:
    return kind(folder, read_artifact(folder).manifest)


def _files(folder: Path) -> dict[str, Path]:
    return {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}


def _numbers(counts: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """Returns the numbers in counts, nested ones under their names joined by a slash."""
    numbers: dict[str, float] = {}
    for name, value in counts.items():
        if isinstance(value, dict):
            numbers |= _numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            numbers[prefix + name] = value
    return numbers


def _records(path: Path) -> Iterable[dict[str, Any]]:
    with path.open(encoding="utf-8") as stream:
        yield from (json.loads(line) for line in stream if line.strip())


def _table(path: Path, *, is_flat: bool = True) -> pd.DataFrame:
    """Returns the records of a file of JSON lines; with `is_flat`, each value of "provenance" as a column."""
    import pandas as pd

    rows = []
    for record in _records(path):
        provenance = record.pop("provenance", {}) if is_flat else {}
        rows.append(record | {f"provenance.{name}": value for name, value in provenance.items()})
    return pd.DataFrame(rows)


def _scores(runs: list[Run]) -> pd.DataFrame:
    from medssr.reports.tables import scores

    return scores(runs)


def _compared(run: Run) -> GroupComparison:
    from medssr.reports.comparison import compare_groups

    return compare_groups([run])


def _plot_scores(comparison: GroupComparison) -> Figure:
    from medssr.reports.colours import palette_of
    from medssr.reports.plots import accuracy_limits, plot_accuracy

    table = _scores(comparison.runs)
    table = table[table["slice"] == "all"]
    colours = palette_of(comparison).of_rows(table)
    if table["benchmark"].nunique() > 1:
        table = table.assign(model=table["model"] + ", " + table["benchmark"])
    return plot_accuracy(table, accuracy_limits(table), colours)
