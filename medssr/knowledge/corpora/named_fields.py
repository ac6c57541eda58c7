"""Corpora of records with named fields: JSONL files, MedRAG's among them, tables, and Hugging Face datasets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medssr.errors import InputError, shown
from medssr.knowledge.corpora.cleaning import Cleaning
from medssr.knowledge.corpora.documents import DocumentCorpus, Passage
from medssr.utils.records import data_files, open_records
from medssr.utils.text_files import data_suffix, is_folder


class JsonlCorpus(DocumentCorpus):
    """A file of documents, one a record: JSONL, JSON, CSV, TSV, Parquet; or a folder of such files.

    Attributes:
        path: The file, or a folder whose files are read in the order of their names, subfolders' too. Where a folder
            has JSONL files, those alone are read.
        fields: Which field holds what; see `FieldNames`.
        max_chars: See `DocumentCorpus`.
        cleaning: See `DocumentCorpus`.
    """

    def __init__(
        self,
        path: Path | str,
        id_field: str | None,
        title_field: str,
        text_field: str,
        source_field: str | None,
        max_chars: int | None,
        synonyms_field: str | None = None,
        cleaning: Cleaning | None = None,
    ) -> None:
        super().__init__(max_chars, cleaning)
        self.path = Path(path)
        self.fields = FieldNames(id_field, title_field, text_field, source_field, synonyms_field)

    def documents(self) -> Iterator[Passage]:
        """Yields the document of every line in file order.

        Raises:
            InputError: When a file is absent or empty, a line is broken, a field is missing or of the wrong type, or an
                id is used twice. The message names file, line and field.
        """
        first_use: dict[str, tuple[Path, int]] = {}
        for file in _files(self.path):
            for record in open_records(file):
                location = f"{file}, row {record.number}" if record.line is None else f"{file}, line {record.line}"
                line_number = record.line or record.number
                document = document_from_record(record.value, self.fields, location, len(first_use) + 1)
                first_file, first_place = first_use.setdefault(document.id, (file, line_number))
                if (first_file, first_place) != (file, line_number):
                    where = f"line {first_place}" if first_file == file else f"{first_file}, line {first_place},"
                    problem = f'"{document.id}" was used on {where} already; ids are unique.'
                    raise record.error(problem, self.fields.id)
                yield document
        if not first_use:
            raise InputError.at(self.path, "holds no document; give a JSONL file with one document a line.")


def _files(path: Path) -> list[Path]:
    if not is_folder(path):
        return [path]
    files = data_files(path, is_deep=True)
    if not files:
        raise InputError.at(path, "the folder holds no data file (.jsonl, .json, .csv, .tsv, .parquet).")
    return [file for file in files if data_suffix(file) == ".jsonl"] or files


class HuggingFaceCorpus(DocumentCorpus):
    """A Hugging Face dataset, one document a row; it is streamed, never loaded as a whole.

    Attributes:
        path: Name of a dataset on the hub; or a folder or file on disk in a format that `datasets` reads (JSON, CSV,
            Parquet ...).
        name: The dataset's configuration. None: its only one.
        split: The split, e.g. "train".
        revision: Commit or tag on the hub. None: the newest.
        fields: Which field holds what; see `FieldNames`.
        max_chars: See `DocumentCorpus`.
        cleaning: See `DocumentCorpus`.
    """

    def __init__(
        self,
        path: Path | str,
        name: str | None,
        split: str,
        revision: str | None,
        id_field: str | None,
        title_field: str,
        text_field: str,
        source_field: str | None,
        synonyms_field: str | None,
        max_chars: int | None,
        cleaning: Cleaning | None,
    ) -> None:
        super().__init__(max_chars, cleaning)
        self.path = str(path)
        self.name = name
        self.split = split
        self.revision = revision
        self.fields = FieldNames(id_field, title_field, text_field, source_field, synonyms_field)

    def documents(self) -> Iterator[Passage]:
        """Yields the document of every row in the dataset's order.

        Raises:
            InputError: When the dataset cannot be found or read, a field is missing or of the wrong type, or an id is
                used twice. The message names dataset, row and field.
        """
        first_use: dict[str, int] = {}
        for number, record in enumerate(self._rows(), start=1):
            location = f"{self.path}, row {number}"
            document = document_from_record(record, self.fields, location, number)
            if (first := first_use.setdefault(document.id, number)) != number:
                problem = f'"{document.id}" was used in row {first} already; ids are unique.'
                raise InputError.at(location, problem, field=self.fields.id)
            yield document
        if not first_use:
            raise InputError.at(self.path, "holds no document.")

    def _rows(self) -> Iterator[dict[str, Any]]:
        import datasets

        try:
            if Path(self.path).is_file():
                folder, file = str(Path(self.path).parent), Path(self.path).name
                rows = datasets.load_dataset(folder, data_files=file, split=self.split, streaming=True)
            else:
                rows = datasets.load_dataset(
                    self.path, self.name, split=self.split, revision=self.revision, streaming=True
                )
            yield from rows
        except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
            if isinstance(error, InputError):
                raise
            problem = f'cannot be read as a dataset (split "{self.split}"): {error}'
            raise InputError.at(self.path, problem) from error


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


def document_from_record(record: Mapping[str, Any], names: FieldNames, location: str, number: int) -> Passage:
    """Returns the document in a record. Its text may be empty, nothing else may.

    Args:
        record: The record.
        names: Which field holds what.
        location: Where the record is, for messages: "c.jsonl, line 3".
        number: The record's number, the id where records have none.

    Raises:
        InputError: When a field is missing, has the wrong type or is empty.
    """
    text = _field(record, names.text, location)
    if text is not None and not isinstance(text, str):
        raise InputError.at(location, f"expected a text, found {shown(text)}; correct the line.", field=names.text)
    return Passage(
        id=str(number) if names.id is None else _text(record, names.id, location),
        title=_text(record, names.title, location),
        text=text or "",
        source=None if names.source is None else _text(record, names.source, location),
        synonyms=() if names.synonyms is None else _synonyms(record, names.synonyms, location),
    )


def _field(record: Mapping[str, Any], name: str, location: str) -> Any:
    if name not in record:
        problem = f"is missing; the line has {', '.join(record)}. Name the right field in the corpus config."
        raise InputError.at(location, problem, field=name)
    return record[name]


def _text(record: Mapping[str, Any], name: str, location: str) -> str:
    value = _field(record, name, location)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        problem = f"expected a text that is not empty, found {shown(value)}; correct or remove the line."
        raise InputError.at(location, problem, field=name)
    return value.strip()


def _synonyms(record: Mapping[str, Any], name: str, location: str) -> tuple[str, ...]:
    value = _field(record, name, location)
    items = value.split("; ") if isinstance(value, str) else value or []
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
        problem = f'expected a list of texts, or one text with "; " between, found {shown(value)}; correct the line.'
        raise InputError.at(location, problem, field=name)
    return tuple(dict.fromkeys(item.strip() for item in items if item.strip()))
