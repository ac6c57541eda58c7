"""Corpora: where the passages that a retriever searches come from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from medssr.errors import InputError
from medssr.knowledge.facts import Entity, builtin_common_diseases, builtin_rare_diseases, relations
from medssr.utils.files import read_jsonl

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True, slots=True)
class Passage:
    """The unit of retrieval.

    Attributes:
        id: Unique within its corpus. A document that was split has passages "<document id>#1", "<document id>#2" ...
        title: The title of its document.
        text: The text without the title.
        source: Where the document is from, where known.
        synonyms: Other names of what the document is about.
        document_id: The id of its document, where that was split; None where the passage is the whole document.
    """

    id: str
    title: str
    text: str
    source: str | None = None
    synonyms: tuple[str, ...] = ()
    document_id: str | None = None


class Corpus(Protocol):
    """A source of passages."""

    def passages(self) -> Iterator[Passage]:
        """Yields every passage in the corpus's order."""
        ...


class BuiltinCorpus:
    """The statements of the fact tables that ship with the package: one passage per disease."""

    def passages(self) -> Iterator[Passage]:
        """Yields one passage for each disease with at least one fact."""
        for entity in [*builtin_rare_diseases(), *builtin_common_diseases()]:
            if entity.facts:
                yield _statements(entity)


class JsonlCorpus:
    """A JSONL file, one document a line.

    Attributes:
        path: The file.
        id_field: Name of the field with the document's id.
        title_field: Name of the field with its title.
        text_field: Name of the field with its text.
        source_field: Name of the field that says where it is from, or None when the file has none.
        max_chars: The most characters of a passage's text; longer texts are split at sentence ends. None: never split.
        synonyms_field: Name of the field with other names of what it is about, a list or one text with "; " between, or
            None when the file has none.
    """

    def __init__(
        self,
        path: Path | str,
        id_field: str,
        title_field: str,
        text_field: str,
        source_field: str | None,
        max_chars: int | None,
        synonyms_field: str | None,
    ) -> None:
        self.path = Path(path)
        self.id_field = id_field
        self.title_field = title_field
        self.text_field = text_field
        self.source_field = source_field
        self.max_chars = max_chars
        self.synonyms_field = synonyms_field

    def passages(self) -> Iterator[Passage]:
        """Yields the passages of every document in file order.

        Raises:
            InputError: When the file is absent or empty, a line is broken, a field is missing or empty, or an id is
                used twice. The message names file, line and field.
        """
        line_of_id: dict[str, int] = {}
        for line, record in read_jsonl(self.path):
            document_id = self._field(record, self.id_field, line)
            if document_id in line_of_id:
                problem = f'"{document_id}" was used on line {line_of_id[document_id]} already; ids are unique.'
                raise InputError.at(self.path, problem, line=line, field=self.id_field)
            line_of_id[document_id] = line
            title = self._field(record, self.title_field, line)
            texts = split_text(self._field(record, self.text_field, line), self.max_chars)
            source = None if self.source_field is None else self._field(record, self.source_field, line)
            synonyms = () if self.synonyms_field is None else self._synonyms(record, self.synonyms_field, line)
            for number, text in enumerate(texts, start=1):
                if len(texts) == 1:
                    yield Passage(document_id, title, text, source, synonyms)
                else:
                    yield Passage(f"{document_id}#{number}", title, text, source, synonyms, document_id)
        if not line_of_id:
            raise InputError.at(self.path, "holds no document; give a JSONL file with one document a line.")

    def _synonyms(self, record: Mapping[str, Any], name: str, line: int) -> tuple[str, ...]:
        value = record.get(name)
        names = [] if value is None else value.split("; ") if isinstance(value, str) else value
        if not isinstance(names, list) or not all(isinstance(item, str) for item in names):
            problem = f"expected a list of texts or one text, found {value!r}; correct the line."
            raise InputError.at(self.path, problem, line=line, field=name)
        return tuple(stripped for item in names if (stripped := item.strip()))

    def _field(self, record: Mapping[str, Any], name: str, line: int) -> str:
        if name not in record:
            problem = f"is missing; the line has {', '.join(record)}. Name the right field in the corpus config."
            raise InputError.at(self.path, problem, line=line, field=name)
        value = record[name]
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or not value.strip():
            problem = f"expected a text that is not empty, found {value!r}; correct or remove the line."
            raise InputError.at(self.path, problem, line=line, field=name)
        return value.strip()


def split_text(text: str, max_chars: int | None) -> list[str]:
    """Returns the text in pieces of at most `max_chars` characters that end at sentence ends.

    A sentence that is longer than a whole piece is cut at the last blank before the limit, or at the limit itself when
    it has no blank.

    Example:
        >>> split_text("One is short. Two is short. Three.", 28)
        ['One is short. Two is short.', 'Three.']
    """
    if max_chars is None or len(text) <= max_chars:
        return [text]
    pieces: list[str] = []
    piece = ""
    for sentence in _SENTENCE_END.split(text):
        for part in _cut(sentence, max_chars):
            if piece and len(piece) + 1 + len(part) > max_chars:
                pieces.append(piece)
                piece = part
            else:
                piece = f"{piece} {part}" if piece else part
    return [*pieces, piece] if piece else pieces


def _cut(sentence: str, max_chars: int) -> Iterator[str]:
    rest = sentence.strip()
    while len(rest) > max_chars:
        blank = rest.rfind(" ", 1, max_chars + 1)
        end = blank if blank > 0 else max_chars
        yield rest[:end].rstrip()
        rest = rest[end:].lstrip()
    if rest:
        yield rest


def _statements(entity: Entity) -> Passage:
    sentences = (
        relations()[fact.relation].statement.format(entity=entity.name, value=fact.value) for fact in entity.facts
    )
    sources = sorted({fact.source for fact in entity.facts})
    return Passage(f"builtin:{entity.name}", entity.name, " ".join(sentences), ", ".join(sources))
