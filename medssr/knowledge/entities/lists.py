"""Entity lists: the built-in one, plain names, and tables (CSV, TSV or JSONL), MONDO's and GARD's among them."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from medssr.errors import InputError
from medssr.knowledge.facts import Entity, builtin_rare_diseases
from medssr.utils.files import read_jsonl

# TSV knows no quotes: in MONDO's reports a name may begin with one.
_FORMATS: dict[str, dict[str, Any]] = {
    ".csv": {"delimiter": ",", "strict": True},
    ".tsv": {"delimiter": "\t", "quoting": csv.QUOTE_NONE},
}


class EntityList(Protocol):
    """A source of diseases."""

    def entities(self) -> list[Entity]:
        """Returns the diseases in the list's order."""
        ...


class BuiltinEntities:
    """The rare diseases that ship with the package, with their facts."""

    def entities(self) -> list[Entity]:
        """Returns the built-in rare diseases."""
        return builtin_rare_diseases()


class ListEntities:
    """A plain text file with the name of one rare disease a line; nothing else is known about them.

    Attributes:
        path: The file, in UTF-8. Blank lines are skipped.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def entities(self) -> list[Entity]:
        """Returns the diseases in the file's order, all rare and without facts.

        Raises:
            InputError: When the file is absent, empty or not UTF-8, or a name occurs twice.
        """
        if not self.path.is_file():
            raise InputError.at(self.path, "there is no such file.")
        try:
            lines = self.path.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise InputError.at(self.path, f"is not UTF-8 ({error}); save it as UTF-8 text.") from error
        line_of_name: dict[str, int] = {}
        entities = []
        for number, line in enumerate(lines, start=1):
            name = line.strip()
            if not name:
                continue
            first = line_of_name.setdefault(name.casefold(), number)
            if first != number:
                raise InputError.at(self.path, f'"{name}" is on line {first} already; remove one.', line=number)
            entities.append(Entity(name, is_rare=True))
        if not entities:
            raise InputError.at(self.path, "holds no name; write the name of one disease a line.")
        return entities


class TableEntities:
    """Rare diseases from a table: CSV or TSV with a header, or JSONL, told apart by the file's ending.

    Attributes:
        path: The file, in UTF-8.
        name_field: Name of the column with the disease's name.
        synonyms_field: Name of the column with its other names. None: there is none.
        separator: What stands between other names, where they are one text.
        weight_field: Name of the column with a weight above 0; diseases with great weights are drawn early. None: all
            weigh the same.
    """

    def __init__(
        self,
        path: Path | str,
        name_field: str,
        synonyms_field: str | None,
        separator: str,
        weight_field: str | None,
    ) -> None:
        self.path = Path(path)
        self.name_field = name_field
        self.synonyms_field = synonyms_field
        self.separator = separator
        self.weight_field = weight_field

    def entities(self) -> list[Entity]:
        """Returns the diseases in the table's order, all rare and without facts.

        Raises:
            InputError: When the file is absent, empty or broken, a column is missing, a value is of the wrong kind, or
                a name occurs twice. The message names file, line and column.
        """
        return [entity for _, entity in self.rows()]

    def rows(self) -> list[tuple[Mapping[str, Any], Entity]]:
        """Returns each row as it stands in the table, with the disease in it. Raises as `entities` does."""
        rows: list[tuple[Mapping[str, Any], Entity]] = []
        line_of_name: dict[str, int] = {}
        for line, row in read_table(self.path):
            entity = self._entity(row, line)
            first = line_of_name.setdefault(entity.name, line)
            if first != line:
                problem = f'"{entity.name}" is on line {first} already; remove one.'
                raise InputError.at(self.path, problem, line=line, field=self.name_field)
            rows.append((row, entity))
        if not rows:
            raise InputError.at(self.path, "holds no disease; give a table with a header and one disease a line.")
        return rows

    def _entity(self, row: Mapping[str, Any], line: int) -> Entity:
        name = self._value(row, self.name_field, line)
        if not isinstance(name, str) or not name.strip():
            problem = f"expected a name, found {name!r}; correct or remove the line."
            raise InputError.at(self.path, problem, line=line, field=self.name_field)
        weight = 1.0 if self.weight_field is None else self._weight(row, self.weight_field, line)
        synonyms = () if self.synonyms_field is None else self._synonyms(row, self.synonyms_field, line)
        return Entity(name.strip(), is_rare=True, synonyms=synonyms, weight=weight)

    def _synonyms(self, row: Mapping[str, Any], field: str, line: int) -> tuple[str, ...]:
        value = self._value(row, field, line) or []
        items = value.split(self.separator) if isinstance(value, str) else value
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            problem = f'expected names with "{self.separator}" between, found {value!r}.'
            raise InputError.at(self.path, problem, line=line, field=field)
        return tuple(dict.fromkeys(item.strip() for item in items if item.strip()))

    def _weight(self, row: Mapping[str, Any], field: str, line: int) -> float:
        value = self._value(row, field, line)
        try:
            weight = math.nan if value is None or isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            weight = math.nan
        if not (weight > 0 and math.isfinite(weight)):
            raise InputError.at(self.path, f"expected a number above 0, found {value!r}.", line=line, field=field)
        return weight

    def _value(self, row: Mapping[str, Any], field: str, line: int) -> Any:
        if field not in row:
            problem = f"is missing; the table has {', '.join(row)}. Name the right column in the entities config."
            raise InputError.at(self.path, problem, line=line, field=field)
        return row[field]


class MondoEntities:
    """MONDO's report of rare diseases (`new-rare-diseases.tsv`: ID, LABEL, SYNONYMS with "|" between).

    Attributes:
        path: The report.
        gard_path: MONDO's template of GARD's subset (`gard-subset.template.tsv`: mondo_id ...), which has no names:
            only diseases that it lists are taken. None: all.
    """

    def __init__(self, path: Path | str, gard_path: Path | str | None) -> None:
        self.path = Path(path)
        self.gard_path = None if gard_path is None else Path(gard_path)

    def entities(self) -> list[Entity]:
        """Returns the diseases in the report's order, all rare and without facts.

        Raises:
            InputError: As `TableEntities` does, and when no disease of the report is in GARD's subset.
        """
        table = TableEntities(self.path, "LABEL", "SYNONYMS", "|", None)
        if self.gard_path is None:
            return table.entities()
        listed = {row.get("mondo_id") for _, row in read_table(self.gard_path)} - {None, ""}
        entities = [entity for row, entity in table.rows() if row.get("ID") in listed]
        if not entities:
            problem = f'its column "mondo_id" names no disease in the column "ID" of {self.path}.'
            raise InputError.at(self.gard_path, problem)
        return entities


def read_table(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields (line number, row by column name) of a CSV, TSV or JSONL file.

    Raises:
        InputError: When the file is absent, has another ending, is not UTF-8 or has a quote that does not close.
    """
    if path.suffix == ".jsonl":
        yield from read_jsonl(path)
        return
    if path.suffix not in _FORMATS:
        raise InputError.at(path, f'has the ending "{path.suffix}"; expected .csv, .tsv or .jsonl.')
    if not path.is_file():
        raise InputError.at(path, "there is no such file.")
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream, **_FORMATS[path.suffix])
        try:
            for row in reader:
                yield reader.line_num, {name: value for name, value in row.items() if name is not None}
        except csv.Error as error:
            raise InputError.at(path, f"is no valid table ({error}).", line=reader.line_num) from error
        except UnicodeDecodeError as error:
            raise InputError.at(path, f"is not UTF-8 text ({error.reason}); convert the file.") from error
