"""Configurations as tables and pictures: a page's section, CSV, Markdown and LaTeX."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from medssr.evaluation.scoring import ALL, COMMON, RARE
from medssr.reports.configuration_plots import plot_learning_curves, plot_pareto, plot_swept
from medssr.reports.configuration_table import ConfigurationRow, ConfigurationTable
from medssr.reports.curves import DRAWN, Curve
from medssr.reports.pictures import Picture, slug
from medssr.reports.summary import Cell, WideRow, WideTable, interval, markdown_table
from medssr.reports.swept import Sweep, sweeps
from medssr.utils.files import open_atomically

_LATEX = {
    "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}",
}  # fmt: skip


def wide_configurations(table: ConfigurationTable, *, has_costs: bool = True) -> WideTable:
    """Returns one row a configuration and benchmark: accuracy and difference by slice, seeds and cost."""
    benchmarks = list(dict.fromkeys(row.benchmark for row in table.rows))
    slices = _shown_slices(table)
    has_differences = len(table.configurations) > 1
    columns = [name for each in slices for name in ([each, f"{each}, difference"] if has_differences else [each])]
    found = {(row.configuration, row.benchmark, row.slice): row for row in table.rows}
    headings, labels_of = _labels(table)
    rows: list[WideRow] = []
    for configuration in table.configurations:
        for benchmark in benchmarks:
            cells: list[Cell | None] = []
            for name in slices:
                row = found.get((configuration.name, benchmark, name))
                cells.append(None if row is None else _accuracy(row))
                if has_differences:
                    cells.append(None if row is None else _difference(row))
            if all(cell is None for cell in cells):
                continue
            cells.append(Cell(str(len(configuration.runs)), "", ""))
            if has_costs:
                cells += [_cost(value) for value in dataclasses.astuple(table.costs[configuration.name])]
            labels = [*labels_of[configuration.name], *([benchmark] if len(benchmarks) > 1 else [])]
            is_first = not rows or rows[-1].group != configuration.name
            rows.append(WideRow(configuration.name, is_first, labels, cells))
    headings = [*headings, *(["benchmark"] if len(benchmarks) > 1 else [])]
    costs = ["GPU hours", "CPU hours", "tokens trained on"] if has_costs else []
    full = {name: key for key, name in table.setting_names.items() if name != key}
    return WideTable(None, headings, [*columns, "seeds", *costs], rows, full)


def _labels(table: ConfigurationTable) -> tuple[list[str], dict[str, list[str]]]:
    """Returns the headings of what names a configuration, and the texts below them by its name.

    A column for each setting where the settings tell all configurations apart, else one for their names.
    """
    labels = {each.name: [each.settings.get(key, "-") for key in table.setting_names] for each in table.configurations}
    is_told_apart = len(set(map(tuple, labels.values()))) == len(labels)
    if is_told_apart and all(each.settings for each in table.configurations):
        return list(table.setting_names.values()), labels
    return ["configuration"], {name: [name] for name in labels}


def write_configurations(table: ConfigurationTable, out_dir: Path) -> None:
    """Writes `configurations.csv`, one row a slice, and `configurations.tex`, the table for a paper."""
    with open_atomically(out_dir / "configurations.csv") as stream:
        names = [field.name for field in dataclasses.fields(ConfigurationRow)]
        writer = csv.DictWriter(stream, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(dataclasses.asdict(row) for row in table.rows)
    with open_atomically(out_dir / "configurations.tex") as stream:
        stream.write(latex_table(wide_configurations(table)))


def markdown_configurations(table: ConfigurationTable) -> str:
    """Returns the table as Markdown."""
    return markdown_table(wide_configurations(table))


def latex_table(table: WideTable) -> str:
    """Returns a wide table as LaTeX with booktabs."""
    headings = [*table.headings, *table.slices]
    lines = ["% needs \\usepackage{booktabs}", *([f"% {table.note}"] if table.note else [])]
    lines += [f"\\begin{{tabular}}{{{'l' * len(headings)}}}", "\\toprule"]
    lines += [_latex_line(headings), "\\midrule"]
    lines += [_latex_line([*row.labels, *(str(cell) if cell else "--" for cell in row.cells)]) for row in table.rows]
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def draw_configurations(table: ConfigurationTable, out_dir: Path) -> list[Picture]:
    """Draws accuracy against each swept number, learning curves of each stage, and cost against accuracy."""
    found = sweeps(table)
    pictures = [
        picture
        for sweep in found
        for number, benchmark in enumerate(dict.fromkeys(row.benchmark for row in table.rows))
        if (picture := _draw_sweep(table, sweep, benchmark, number, out_dir)) is not None
    ]
    pictures += _draw_learning(table, found[0] if found else None, out_dir)
    pareto = _draw_pareto(table, out_dir)
    return [*pictures, *([pareto] if pareto else [])]


def _draw_sweep(table: ConfigurationTable, sweep: Sweep, benchmark: str, number: int, out_dir: Path) -> Picture | None:
    rows = {name: table.of(benchmark, name) for name in _shown_slices(table)}
    rows = {name: found for name, found in rows.items() if found}
    if not rows:
        return None
    file = f"swept_{number}_{slug(sweep.key)}_{slug(benchmark)}.png"
    plot_swept(sweep, rows, out_dir / file)
    return Picture(file, f"{benchmark}: accuracy by {sweep.name}")


def _draw_learning(table: ConfigurationTable, sweep: Sweep | None, out_dir: Path) -> list[Picture]:
    stages = dict.fromkeys(stage for each in table.configurations for run in each.runs for stage in run.curves)
    pictures = []
    for number, stage in enumerate(stages):
        curves = {metric: found for metric in DRAWN if (found := _curves(table, stage, metric))}
        if curves:
            file = f"learning_{number}_{slug(stage)}.png"
            plot_learning_curves(curves, sweep, out_dir / file)
            pictures.append(Picture(file, f"{stage}: means over seeds"))
    return pictures


def _curves(table: ConfigurationTable, stage: str, metric: str) -> dict[str, list[Curve]]:
    """Returns the curve of each seed by configuration."""
    found = {
        each.name: [run.curves[stage][metric] for run in each.runs if metric in run.curves.get(stage, {})]
        for each in table.configurations
    }
    logged = {name: [curve for curve in seeds if curve.steps] for name, seeds in found.items()}
    return {name: seeds for name, seeds in logged.items() if seeds}


def _draw_pareto(table: ConfigurationTable, out_dir: Path) -> Picture | None:
    accuracies: dict[str, list[float]] = {}
    for row in table.rows:
        if row.slice == ALL:
            accuracies.setdefault(row.configuration, []).append(row.accuracy)
    scored = [(table.costs[each.name], each.name) for each in table.configurations if each.name in accuracies]
    units = {"gpu_hours": "GPU hours", "cpu_hours": "CPU hours", "train_tokens": "tokens trained on"}
    for name, unit in units.items():
        costs = [getattr(cost, name) for cost, _ in scored]
        if len(scored) > 1 and None not in costs and max(costs) > 0:
            points = [(each, found, fmean(accuracies[each])) for (_, each), found in zip(scored, costs, strict=True)]
            plot_pareto(points, f"{unit} of a run", out_dir / "pareto.png")
            return Picture("pareto.png", f"accuracy against {unit}", "Joined: what no other beats in both.")
    return None


def _shown_slices(table: ConfigurationTable) -> list[str]:
    """Returns rare and common where every benchmark is divided into them, else all too."""
    found = {row.slice for row in table.rows}
    benchmarks = {row.benchmark for row in table.rows}
    is_divided = all(any(table.of(each, name) for name in (RARE, COMMON)) for each in benchmarks)
    return [name for name in (RARE, COMMON, ALL) if name in found and not (name == ALL and is_divided)]


def _accuracy(row: ConfigurationRow) -> Cell:
    spread = interval(row.low, row.high) if row.low is not None and row.high is not None else ""
    return Cell(f"{row.accuracy:.3f}", spread, f"n={row.num_questions}")


def _difference(row: ConfigurationRow) -> Cell | None:
    if row.difference is None or row.difference_low is None or row.difference_high is None:
        return None
    return Cell(f"{row.difference:+.3f}", f"[{row.difference_low:+.2f}, {row.difference_high:+.2f}]", "")


def _cost(value: float | None) -> Cell | None:
    return None if value is None else Cell(f"{value:,.0f}" if value >= 1000 else f"{value:.2g}", "", "")


def _latex_line(cells: Sequence[str]) -> str:
    return " & ".join("".join(_LATEX.get(character, character) for character in text) for text in cells) + r" \\"
