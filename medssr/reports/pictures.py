"""Which pictures a report shows: each is drawn into the report's folder."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medssr.evaluation.scoring import ALL, COMMON, RARE
from medssr.reports.curves import REWARD
from medssr.reports.paired_runs import Pairings
from medssr.reports.plots import plot_label_calibration, plot_rewards
from medssr.reports.runs import LabelSummary, Run
from medssr.reports.score_plots import plot_accuracy, plot_differences, plot_reliability
from medssr.reports.settings import distinct
from medssr.reports.summary import summary_rows
from medssr.statistics import Calibration

_MAX_MODELS_IN_ONE_PICTURE = 6  # curves that can be told apart
_MAX_PAIRS_WITH_A_PICTURE = 12


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG of the page: its file name, what it shows and a note below it."""

    file: str
    title: str
    note: str = ""


def draw_accuracy(runs: Sequence[Run], out_dir: Path) -> list[Picture]:
    """Draws one picture for each benchmark; a lone one is divided into its rare and its common questions."""
    rows = [row for run in runs for row in summary_rows(run)]
    benchmarks = list(dict.fromkeys(row.benchmark for row in rows))
    pictures = []
    for number, benchmark in enumerate(benchmarks):
        found = {row.slice for row in rows if row.benchmark == benchmark} if len(benchmarks) == 1 else set()
        for slice_name in [name for name in (RARE, COMMON) if name in found] or [ALL]:
            file = f"accuracy_{number}_{slug(benchmark)}_{slice_name}.png"
            plot_accuracy(runs, benchmark, slice_name, out_dir / file)
            pictures.append(Picture(file, f"{benchmark}, {slice_name} questions"))
    return pictures


def draw_rewards(runs: Sequence[Run], out_dir: Path) -> list[Picture]:
    """Draws one picture a stage with every run that logged a reward in it."""
    pictures = []
    for number, stage in enumerate(dict.fromkeys(stage for run in runs for stage in run.curves)):
        logged = [(run.name, run.curves[stage][REWARD]) for run in runs if stage in run.curves]
        found = [(name, curve) for name, curve in logged if curve.steps]
        curves = dict(zip(distinct(name for name, _ in found), (curve for _, curve in found), strict=True))
        if not curves:
            continue
        file = f"reward_{number}_{slug(stage)}.png"
        plot_rewards(curves, out_dir / file)
        skipped = sum(curve.num_skipped for curve in curves.values())
        note = f"{skipped} logged rewards are not finite numbers and are left out." if skipped else ""
        pictures.append(Picture(file, stage, note))
    return pictures


def draw_label_calibration(runs: Sequence[Run], out_dir: Path) -> list[Picture]:
    """Draws one picture for each set of labels whose truth is known; runs that share their labels share it."""
    pictures = []
    for number, (labels, names) in enumerate(runs_by_labels(runs)):
        if any(band.accuracy is not None and band.n > 0 for band in labels.bands):
            file = f"labels_{number}.png"
            plot_label_calibration(labels.bands, out_dir / file)
            pictures.append(Picture(file, ", ".join(names)))
    return pictures


def draw_reliability(runs: Sequence[Run], out_dir: Path) -> list[Picture]:
    """Draws one picture a benchmark with the agreement and accuracy of all models, where they are few enough."""
    found: dict[str, dict[str, Calibration]] = {}
    for run in runs:
        for model in run.record.models:
            name = model.name if len(runs) == 1 else run.label(model.name)
            for benchmark, score in model.benchmarks.items():
                if score.calibration is not None and score.calibration.n > 0:
                    found.setdefault(benchmark, {})[name] = score.calibration
    pictures = []
    for number, (benchmark, calibrations) in enumerate(found.items()):
        if len(calibrations) <= _MAX_MODELS_IN_ONE_PICTURE:
            file = f"calibration_{number}_{slug(benchmark)}.png"
            plot_reliability(calibrations, out_dir / file)
            pictures.append(Picture(file, benchmark))
    return pictures


def draw_differences(pairings: Pairings, out_dir: Path) -> list[Picture]:
    """Draws the differences from the first run: one picture a run where these are few, else one a benchmark."""
    pairs = pairings.pairs
    pictures = []
    if len(pairs) <= _MAX_PAIRS_WITH_A_PICTURE:
        for number, pair in enumerate(pairs):
            shown = pair.comparisons.items()
            rows = [(name, slices[ALL]) for name, slices in shown]
            if len(rows) == 1:
                rows = [
                    (f"{benchmark}, {name}", found) for benchmark, slices in shown for name, found in slices.items()
                ]
            file = f"difference_{number}_{slug(pair.second)}.png"
            plot_differences(rows, out_dir / file)
            pictures.append(Picture(file, f"{pair.second} minus {pair.first}"))
        return pictures
    for number, benchmark in enumerate(dict.fromkeys(name for pair in pairs for name in pair.comparisons)):
        rows = [(pair.second, pair.comparisons[benchmark][ALL]) for pair in pairs if benchmark in pair.comparisons]
        file = f"difference_{number}_{slug(benchmark)}.png"
        plot_differences(rows, out_dir / file)
        pictures.append(Picture(file, f"{benchmark}: each run minus {pairs[0].first}"))
    return pictures


def runs_by_labels(runs: Sequence[Run]) -> list[tuple[LabelSummary, list[str]]]:
    """Returns each distinct set of label counts with the names of the runs that have it."""
    groups: dict[str, tuple[LabelSummary, list[str]]] = {}
    for run in runs:
        if run.record.labels is not None:
            key = json.dumps(dataclasses.asdict(run.record.labels), sort_keys=True)
            groups.setdefault(key, (run.record.labels, []))[1].append(run.name)
    return list(groups.values())


def slug(text: str) -> str:
    """Returns a part of a file name; the number beside it keeps equal slugs apart."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:40]
