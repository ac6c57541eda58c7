"""Documents from records: which field holds what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from medssr.errors import InputError
from medssr.knowledge.corpora.passages import Passage


@dataclass(frozen=True, slots=True)
class FieldNames:
    """The names of the fields of a record.

    Attributes:
        id: The document's id. None: the record's number, from 1.
        title: Its title.
        text: Its text.
        source: Where it is from. None: the records do not say.
        synonyms: Other names of what it is about, a list of texts or one text with "; " between them. None: the
            records have none.
    """

    id: str | None
    title: str
    text: str
    source: str | None
    synonyms: str | None


def document_from_record(record: Mapping[str, Any], names: FieldNames, place: str, number: int) -> Passage:
    """Returns the document in a record. Its text may be empty, nothing else may.

    Args:
        record: The record.
        names: Which field holds what.
        place: Where the record is, for messages: "c.jsonl, line 3".
        number: The record's number, the id where records have none.

    Raises:
        InputError: When a field is missing, has the wrong type or is empty.
    """
    text = _field(record, names.text, place)
    if text is not None and not isinstance(text, str):
        raise InputError.at(place, f"expected a text, found {text!r}; correct the line.", field=names.text)
    return Passage(
        id=str(number) if names.id is None else _text(record, names.id, place),
        title=_text(record, names.title, place),
        text=text or "",
        source=None if names.source is None else _text(record, names.source, place),
        synonyms=() if names.synonyms is None else _synonyms(record, names.synonyms, place),
    )


def _field(record: Mapping[str, Any], name: str, place: str) -> Any:
    if name not in record:
        problem = f"is missing; the line has {', '.join(record)}. Name the right field in the corpus config."
        raise InputError.at(place, problem, field=name)
    return record[name]


def _text(record: Mapping[str, Any], name: str, place: str) -> str:
    value = _field(record, name, place)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        problem = f"expected a text that is not empty, found {value!r}; correct or remove the line."
        raise InputError.at(place, problem, field=name)
    return value.strip()


def _synonyms(record: Mapping[str, Any], name: str, place: str) -> tuple[str, ...]:
    value = _field(record, name, place)
    items = value.split("; ") if isinstance(value, str) else value or []
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
        problem = f'expected a list of texts, or one text with "; " between, found {value!r}; correct the line.'
        raise InputError.at(place, problem, field=name)
    return tuple(dict.fromkeys(item.strip() for item in items if item.strip()))
