"""JSONL files with named fields, MedRAG's among them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from medssr.errors import InputError
from medssr.knowledge.corpora.cleaning import Cleaning
from medssr.knowledge.corpora.documents import DocumentCorpus
from medssr.knowledge.corpora.fields import FieldNames, document_from_record
from medssr.knowledge.corpora.passages import Passage
from medssr.utils.files import read_jsonl

_LFS_POINTER = b"version https://git-lfs"


class JsonlCorpus(DocumentCorpus):
    """A JSONL file, one document a line, or a folder of such files.

    Attributes:
        path: The file, or a folder whose files "*.jsonl" are read in the order of their names, subfolders' too.
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
            for line, record in read_jsonl(file):
                document = document_from_record(record, self.fields, f"{file}, line {line}", len(first_use) + 1)
                first_file, first_line = first_use.setdefault(document.id, (file, line))
                if (first_file, first_line) != (file, line):
                    where = f"line {first_line}" if first_file == file else f"{first_file}, line {first_line},"
                    problem = f'"{document.id}" was used on {where} already; ids are unique.'
                    raise InputError.at(file, problem, line=line, field=self.fields.id)
                yield document
        if not first_use:
            raise InputError.at(self.path, "holds no document; give a JSONL file with one document a line.")


def _files(path: Path) -> list[Path]:
    files = sorted(path.rglob("*.jsonl")) if path.is_dir() else [path]
    if not files:
        raise InputError.at(path, 'the folder holds no file "*.jsonl".')
    for file in files:
        if file.is_file():
            with file.open("rb") as stream:
                if stream.read(len(_LFS_POINTER)) == _LFS_POINTER:
                    raise InputError.at(file, "is a Git LFS pointer, not the file itself; fetch it: git lfs pull.")
    return files
