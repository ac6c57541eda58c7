"""Reads CSV and TSV files as spreadsheets write them: any delimiter, quoted line breaks, several encodings."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from medssr.errors import InputError
from medssr.utils.text_files import data_suffix, read_text

TABLE_SUFFIXES = (".csv", ".tsv", ".tab")
_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_NUM_SAMPLED_ROWS = 50
# Excel's hint in the first line, which is no row of the table.
_SEPARATOR_LINE = re.compile(r"sep=(.)\r?\n")
# A question with its abstract, or a document, is longer than the module's default of 131,072 characters.
_MAX_CELL_CHARS = 2**31 - 1


@dataclass(frozen=True, slots=True)
class TableRow:
    """The cells of a row, and the line of the file on which the row starts."""

    cells: list[str]
    line: int


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its rows, the header among them, and how its file is written."""

    path: Path
    rows: list[TableRow]
    delimiter: str
    encoding: str

    @property
    def description(self) -> str:
        """Returns how the file is written: "CSV", "CSV (semicolon, cp1252)"."""
        details = [_DELIMITERS[self.delimiter]] if self.delimiter != "," else []
        details += [self.encoding] if self.encoding != "UTF-8" else []
        return "CSV" + (f" ({', '.join(details)})" if details else "")

    def records(self, header: Sequence[str] | None = None) -> Iterator[tuple[int, dict[str, str | None]]]:
        """Yields (line, cells by the names of the columns); cells that a row lacks at its end are None.

        Args:
            header: The names of the columns; None: the first row has them.

        Raises:
            InputError: When a column occurs twice, or a row has more cells than there are columns.
        """
        rows = self.rows
        if header is None:
            header = [name.strip() for name in rows[0].cells] if rows else []
            rows = rows[1:]
        repeated = [name for name, count in Counter(header).items() if name and count > 1]
        if repeated:
            raise InputError.at(self.path, "is the name of two columns; rename one.", line=1, field=repeated[0])
        for row in rows:
            cells: list[str | None] = list(row.cells)
            while len(cells) > len(header) and not cells[-1]:
                cells.pop()
            if len(cells) > len(header):
                problem = (
                    f"has {len(cells)} cells, but there are {len(header)} columns; put a text that holds a "
                    f"{_DELIMITERS[self.delimiter]} in quotes."
                )
                raise InputError.at(self.path, problem, line=row.line)
            cells += [None] * (len(header) - len(cells))
            yield row.line, dict(zip(header, cells, strict=True))


def read_table(path: Path) -> Table:
    """Returns the table of a file; blank lines are left out.

    The delimiter is the one that gives the most columns in the most rows. Tab-separated files often have no quotes:
    where reading with quotes fails, a quote is a character as any other.

    Raises:
        InputError: When the file cannot be read, or a quote does not close.
    """
    text = read_text(path, may_be_legacy=True)
    content, first_line, delimiter = text.content, 1, None
    if match := _SEPARATOR_LINE.match(content):
        content, first_line, delimiter = content[match.end() :], 2, match[1]
    if delimiter not in _DELIMITERS:
        delimiter = _find_delimiter(content, path)
    try:
        rows = list(_parse(content, delimiter, first_line, has_quotes=True))
        is_whole = delimiter != "\t" or _num_widths(rows) == 1
    except csv.Error as error:
        if delimiter != "\t":
            raise InputError.at(path, f"is no valid table ({error}); does each quote close?") from error
        is_whole = False
    if not is_whole:
        rows = list(_parse(content, delimiter, first_line, has_quotes=False))
    return Table(path, rows, delimiter, text.encoding)


def _parse(content: str, delimiter: str, first_line: int, *, has_quotes: bool) -> Iterator[TableRow]:
    csv.field_size_limit(_MAX_CELL_CHARS)
    reader = csv.reader(
        io.StringIO(content, newline=""),
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if has_quotes else csv.QUOTE_NONE,
        strict=has_quotes,
    )
    start = 0
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield TableRow(cells, first_line + start)
        start = reader.line_num


def _num_widths(rows: Sequence[TableRow]) -> int:
    return len({len(row.cells) for row in rows})


def _find_delimiter(content: str, path: Path) -> str:
    """Returns the delimiter with the most columns: their usual number, times the share of rows that have it."""

    def columns(delimiter: str) -> float:
        widths: list[int] = []
        try:
            for row in _parse(content, delimiter, 1, has_quotes=True):
                widths.append(len(row.cells))
                if len(widths) == _NUM_SAMPLED_ROWS:
                    break
        except csv.Error:  # a quote inside a cell of another delimiter
            pass
        width, count = max(Counter(widths).items(), key=lambda item: item[1], default=(0, 0))
        return width * count / max(len(widths), 1) if width > 1 else 0.0

    by_suffix = "," if data_suffix(path) == ".csv" else "\t"
    return max((by_suffix, *_DELIMITERS), key=columns)
