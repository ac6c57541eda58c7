"""Tables of text as Markdown, LaTeX, CSV and on the console. A cell may have several parts, one a line.

The index of such a table holds its labels (run, model, benchmark), its columns hold the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medssr.utils.console import table_console
from medssr.utils.files import open_atomically

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table

ABSENT = "-"
LEAST_WIDTH = 100  # characters that scores with their intervals need
_LONGEST_UNFOLDED = 20  # characters of a label that stays on one line


def markdown(table: pd.DataFrame, note: str = "") -> str:
    """Returns the table as Markdown, with a note below."""
    cells = _with_labels(table)
    rows = [list(cells.columns), ["---"] * len(cells.columns), *cells.values.tolist()]
    text = "".join("| " + " | ".join(escape_markdown(str(cell)) for cell in row) + " |\n" for row in rows)
    return text + (f"\n{escape_markdown(note)}\n" if note else "")


def escape_markdown(text: str) -> str:
    """Returns the text as a cell of a Markdown table shows it literally."""
    for character, replacement in (("&", "&amp;"), ("<", "&lt;"), ("|", "\\|"), ("\n", " ")):
        text = text.replace(character, replacement)
    return text


def latex(table: pd.DataFrame, note: str = "") -> str:
    """Returns the table as LaTeX with booktabs, with a note as a comment above."""
    cells = _with_labels(table).replace(ABSENT, "--").replace("\n", " ", regex=True)
    comments = ["needs \\usepackage{booktabs}", *([" ".join(note.split())] if note else [])]
    text: str = cells.to_latex(index=False, escape=True, column_format="l" * len(cells.columns))
    return "".join(f"% {comment}\n" for comment in comments) + text


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Writes a table of values, whole or not at all; a missing value is an empty cell."""
    with open_atomically(path) as stream:
        table.to_csv(stream, index=False, lineterminator="\n")


def without_repeats(table: pd.DataFrame) -> pd.DataFrame:
    """Returns the labels and columns of a table, a first label only where it differs from the one above it."""
    cells = _with_labels(table)
    if table.index.nlevels > 1:
        first = cells.iloc[:, 0]
        cells.isetitem(0, first.where(first != first.shift(), ""))
    return cells


def _with_labels(table: pd.DataFrame) -> pd.DataFrame:
    """Returns a table with its labels as columns; a label may have the name of another column."""
    import pandas as pd

    index = table.index
    labels = [pd.Series(index.get_level_values(level), name=name) for level, name in enumerate(index.names)]
    return pd.concat([*labels, table.reset_index(drop=True)], axis=1)


@dataclass(frozen=True, slots=True)
class ConsoleTable:
    """A table for the terminal: the parts of a cell on one line where the terminal is wide enough, else one a line."""

    table: pd.DataFrame
    title: str
    note: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        on_one_line = self._rich_table(" ")
        width = console.measure(on_one_line, options=options.update_width(10_000)).maximum
        yield on_one_line if width <= options.max_width else self._rich_table("\n")

    def _rich_table(self, separator: str) -> Table:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        cells, num_labels = without_repeats(self.table), self.table.index.nlevels
        result = Table(title=Text(self.title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        result.caption, result.caption_justify = Text(self.note), "left"
        for number, name in enumerate(cells.columns):
            parts = [part for text in cells.iloc[:, number] for part in text.replace("\n", separator).split("\n")]
            longest = max(map(len, parts), default=0)
            # Only long labels are folded; parts of other cells stay whole.
            least = min(longest, _LONGEST_UNFOLDED) if number < num_labels else longest
            result.add_column(Text(name), overflow="fold", min_width=least)
        for row in cells.itertuples(index=False):
            labels = [text.replace("\n", " ") for text in row[:num_labels]]
            result.add_row(*map(Text, labels), *(Text(text.replace("\n", separator)) for text in row[num_labels:]))
        return result


def print_scores(benchmarks: Mapping[str, Mapping[str, Any]]) -> None:
    """Prints accuracy with its interval, majority accuracy and invalid rate of every slice of every benchmark.

    Args:
        benchmarks: `BenchmarkScore` as JSON, by benchmark.
    """
    rows = [
        {
            "benchmark": f"{benchmark} (k={result['num_samples']})",
            "slice": name,
            "n": str(score["num_questions"]),
            "accuracy, 95% interval": _estimate(score["accuracy"]),
            "maj@k": f"{score['majority_accuracy']['value']:.3f}",
            "pass@k": f"{score['pass_at_k'][-1]['value']:.3f}",
            "invalid": f"{score['invalid']['value']:.3f}",
            "recovered": f"{score['recovered']['value']:.3f}",
            "always A": f"{score['always_a']['value']:.3f}",
        }
        for benchmark, result in benchmarks.items()
        for name, score in result["slices"].items()
    ]
    _print(rows, ["benchmark", "slice"])


def print_ranking_scores(metrics: Mapping[str, Any]) -> None:
    """Prints each metric of a retriever with its interval and the number of questions that have it.

    Args:
        metrics: `metrics.json` of medssr-retrieve; the metrics are the entries with an "@" in their names.
    """
    rows = [
        {"metric": name, "value, 95% interval": _estimate(estimate), "n": str(estimate["n"])}
        for name, estimate in metrics.items()
        if "@" in name
    ]
    _print(rows, ["metric"])


def _estimate(estimate: Mapping[str, float]) -> str:
    return f"{estimate['value']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}]"


def _print(rows: list[dict[str, str]], labels: list[str]) -> None:
    import pandas as pd

    table_console(LEAST_WIDTH).print(ConsoleTable(pd.DataFrame(rows).set_index(labels), title=""))
