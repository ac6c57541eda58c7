"""Entity lists: the built-in one, plain names, and tables and ontologies, MONDO's and GARD's among them."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from medssr.errors import InputError, shown
from medssr.knowledge.entities.left_out import (
    OBSOLETE,
    TEMPLATE_ROW,
    is_template_row,
    reason_of_name,
    report_left_out,
    valid_synonyms,
)
from medssr.knowledge.entities.obo import OboTerm, read_obo
from medssr.knowledge.facts import Entity, builtin_rare_diseases
from medssr.utils.records import DATA_SUFFIXES, Record, open_records
from medssr.utils.text_files import data_suffix, is_folder, read_text

_OBO = ".obo"
# Other forms of ontologies, by their endings.
_ONTOLOGIES = {".owl": "OWL", ".ttl": "Turtle", ".xml": "XML"}
_NOT_IN_OBO = 'without a subset that says it is rare ("rare", "gard_rare" ...)'


class EntityList(Protocol):
    """A source of diseases.

    Attributes:
        left_out: How many entries were left out the last time that `entities` ran, by reason.
    """

    left_out: Mapping[str, int]

    def entities(self) -> list[Entity]:
        """Returns the diseases in the list's order."""
        ...


class BuiltinEntities:
    """The rare diseases that ship with the package, with their facts."""

    left_out: Mapping[str, int] = {}

    def entities(self) -> list[Entity]:
        """Returns the built-in rare diseases."""
        return builtin_rare_diseases()


class ListEntities:
    """A plain text file with the name of one rare disease a line; nothing else is known about them.

    Attributes:
        path: The file. Blank lines are skipped.
        left_out: See `EntityList`.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.left_out: Mapping[str, int] = {}

    def entities(self) -> list[Entity]:
        """Returns the diseases in the file's order, all rare and without facts.

        Raises:
            InputError: When the file is absent, empty or no plain text, or a name occurs twice.
        """
        suffix = data_suffix(self.path)
        if suffix in (*DATA_SUFFIXES, _OBO, *_ONTOLOGIES) and suffix not in (".csv", ".tsv", ".tab"):
            remedy = "entities=mondo" if suffix == _OBO else "entities=table"
            raise InputError.at(self.path, f'is no plain list, by its ending "{suffix}"; read it with {remedy}.')
        lines = read_text(self.path, may_be_legacy=True).content.splitlines()
        if lines and _is_header(lines[0]):
            problem = "is the header of a table, whose lines would be taken for names"
            raise InputError.at(self.path, f"{problem}; read it with entities=table.", line=1)
        line_of_name: dict[str, int] = {}
        entities = []
        left_out: Counter[str] = Counter()
        for number, line in enumerate(lines, start=1):
            name = line.strip()
            if not name:
                continue
            if reason := reason_of_name(name):
                left_out[reason] += 1
                continue
            first = line_of_name.setdefault(name.casefold(), number)
            if first != number:
                raise InputError.at(self.path, f'"{name}" is on line {first} already; remove one.', line=number)
            entities.append(Entity(name, is_rare=True))
        if not entities and not left_out:
            raise InputError.at(self.path, "holds no name; write the name of one disease a line.")
        self.left_out = report_left_out(self.path, len(entities), left_out)
        return entities


def _is_header(line: str) -> bool:
    """Returns whether a line has several columns, one of which is named as that of the names is."""
    columns = [column.strip(' "') for column in re.split(r"[;,\t|]", line.casefold())]
    return len(columns) > 1 and not {"name", "label", "disease", "disorder"}.isdisjoint(columns)


class TableEntities:
    """Rare diseases from a table: CSV or TSV with a header, JSONL, JSON or Parquet.

    Left out are names that say they are obsolete or not rare, and the second line of a ROBOT template.

    Attributes:
        path: The file.
        name_field: Name of the column with the disease's name.
        synonyms_field: Name of the column with its other names. None: there is none.
        separator: What stands between other names, where they are one text.
        weight_field: Name of the column with a weight above 0; diseases with great weights are drawn early. None: all
            weigh the same.
        left_out: See `EntityList`.
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
        self.left_out: Mapping[str, int] = {}

    def entities(self) -> list[Entity]:
        """Returns the diseases in the table's order, all rare and without facts.

        Raises:
            InputError: When the file is absent, empty or broken, a column is missing, a value is of the wrong kind, or
                a name occurs twice. The message names file, line and column.
        """
        rows, left_out = self.rows()
        self.left_out = report_left_out(self.path, len(rows), left_out)
        return [entity for _, entity in rows]

    def rows(self) -> tuple[list[tuple[Mapping[str, Any], Entity]], Counter[str]]:
        """Returns each row with the disease in it, and how many were left out by reason. Raises as `entities` does."""
        rows: list[tuple[Mapping[str, Any], Entity]] = []
        place_of_name: dict[str, int] = {}
        left_out: Counter[str] = Counter()
        for record in read_table(self.path):
            if reason := self._reason(record):
                left_out[reason] += 1
                continue
            entity = self._entity(record)
            line_number = record.line or record.number
            first = place_of_name.setdefault(entity.name, line_number)
            if first != line_number:
                raise record.error(f'"{entity.name}" is on line {first} already; remove one.', self.name_field)
            rows.append((record.value, entity))
        if not rows and not left_out:
            raise InputError.at(self.path, "holds no disease; give a table with a header and one disease a line.")
        return rows, left_out

    def _reason(self, record: Record) -> str | None:
        name = record.value.get(self.name_field)
        if record.number == 1 and is_template_row(record.value.values()):
            return TEMPLATE_ROW
        return reason_of_name(name) if isinstance(name, str) else None

    def _entity(self, record: Record) -> Entity:
        name = self._value(record, self.name_field)
        if not isinstance(name, str) or not name.strip():
            raise record.error(f"expected a name, found {shown(name)}; correct or remove the line.", self.name_field)
        weight = 1.0 if self.weight_field is None else self._weight(record, self.weight_field)
        synonyms = () if self.synonyms_field is None else self._synonyms(record, self.synonyms_field)
        return Entity(name.strip(), is_rare=True, synonyms=synonyms, weight=weight)

    def _synonyms(self, record: Record, field: str) -> tuple[str, ...]:
        value = self._value(record, field) or []
        items = value.split(self.separator) if isinstance(value, str) else value
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            raise record.error(f'expected names with "{self.separator}" between, found {shown(value)}.', field)
        return valid_synonyms(item.strip() for item in items if item.strip())

    def _weight(self, record: Record, field: str) -> float:
        value = self._value(record, field)
        try:
            weight = math.nan if value is None or isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            weight = math.nan
        if not (weight > 0 and math.isfinite(weight)):
            raise record.error(f"expected a number above 0, found {shown(value)}.", field)
        return weight

    def _value(self, record: Record, field: str) -> Any:
        if field not in record.value:
            columns = ", ".join(record.value)
            problem = f"is missing; the table has {columns}. Name the right column in the entities config."
            raise record.error(problem, field)
        return record.value[field]


class MondoEntities:
    """MONDO's rare diseases: its report of them, or its ontology in the OBO format.

    Attributes:
        path: The report (`new-rare-diseases.tsv`: ID, LABEL, SYNONYMS with "|" between), or `mondo.obo`, of which the
            terms in a subset "rare", "gard_rare" and the like are taken.
        gard_path: MONDO's template of GARD's subset (`gard-subset.template.tsv`: mondo_id ...), which has no names:
            only diseases that it lists are taken. None: all.
        left_out: See `EntityList`.
    """

    def __init__(self, path: Path | str, gard_path: Path | str | None) -> None:
        self.path = Path(path)
        self.gard_path = None if gard_path is None else Path(gard_path)
        self.left_out: Mapping[str, int] = {}

    def entities(self) -> list[Entity]:
        """Returns the diseases in the file's order, all rare and without facts.

        Raises:
            InputError: As `TableEntities` does, when an ontology does not say which terms are rare or is in another
                format, and when no disease is in GARD's subset.
        """
        suffix = data_suffix(self.path)
        if suffix in _ONTOLOGIES:
            problem = (
                f"is an ontology as {_ONTOLOGIES[suffix]}; take MONDO's report new-rare-diseases.tsv or mondo.obo."
            )
            raise InputError.at(self.path, problem)
        rows, left_out = self._obo_rows() if suffix == _OBO else self._report_rows()
        if self.gard_path is not None:
            ids = (record.value.get("mondo_id") for record in read_table(self.gard_path))
            listed = {mondo_id for mondo_id in ids if isinstance(mondo_id, str) and mondo_id}
            num_rows = len(rows)
            rows = [(mondo_id, entity) for mondo_id, entity in rows if isinstance(mondo_id, str) and mondo_id in listed]
            left_out["not in GARD's subset"] = num_rows - len(rows)
            if not rows:
                problem = f'its column "mondo_id" names no disease of {self.path}.'
                raise InputError.at(self.gard_path, problem)
        self.left_out = report_left_out(self.path, len(rows), left_out)
        return [entity for _, entity in rows]

    def _report_rows(self) -> tuple[list[tuple[Any, Entity]], Counter[str]]:
        rows, left_out = TableEntities(self.path, "LABEL", "SYNONYMS", "|", None).rows()
        return [(row.get("ID"), entity) for row, entity in rows], left_out

    def _obo_rows(self) -> tuple[list[tuple[Any, Entity]], Counter[str]]:
        rows: dict[str, tuple[str, Entity]] = {}
        left_out: Counter[str] = Counter()
        for term in read_obo(self.path):
            if reason := _reason_of_term(term):
                left_out[reason] += 1
            elif term.name in rows:
                left_out["of the name of an earlier term"] += 1
            else:
                entity = Entity(term.name, is_rare=True, synonyms=valid_synonyms(term.synonyms))
                rows[term.name] = (term.id, entity)
        if not rows and left_out[_NOT_IN_OBO]:
            problem = (
                'is an OBO file in which no term has a subset "rare", so that it does not say which diseases are rare; '
                "take MONDO's report new-rare-diseases.tsv, or a mondo.obo whose rare diseases have such a subset."
            )
            raise InputError.at(self.path, problem)
        return list(rows.values()), left_out


def _reason_of_term(term: OboTerm) -> str | None:
    """Returns why a term is left out; None where it is not."""
    if term.is_obsolete:
        return OBSOLETE
    if not term.name:
        return "without a name"
    return reason_of_name(term.name) or (None if term.is_rare else _NOT_IN_OBO)


def read_table(path: Path) -> Iterator[Record]:
    """Yields the rows of a table: CSV, TSV, JSONL, JSON or Parquet.

    Raises:
        InputError: When the file is absent, has another ending, or is broken. The message names file and line.
    """
    is_folder(path)  # or a file, else it raises
    if data_suffix(path) not in DATA_SUFFIXES:
        expected = ", ".join(DATA_SUFFIXES)
        raise InputError.at(path, f'has the ending "{path.suffix}"; expected one of {expected}.')
    yield from open_records(path)
