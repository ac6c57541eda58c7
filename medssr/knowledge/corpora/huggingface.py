"""Hugging Face datasets with named fields, from the hub or from disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medssr.errors import InputError
from medssr.knowledge.corpora.cleaning import Cleaning
from medssr.knowledge.corpora.documents import DocumentCorpus
from medssr.knowledge.corpora.fields import FieldNames, document_from_record
from medssr.knowledge.corpora.passages import Passage


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
            place = f"{self.path}, row {number}"
            document = document_from_record(record, self.fields, place, number)
            if (first := first_use.setdefault(document.id, number)) != number:
                problem = f'"{document.id}" was used in row {first} already; ids are unique.'
                raise InputError.at(place, problem, field=self.fields.id)
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
