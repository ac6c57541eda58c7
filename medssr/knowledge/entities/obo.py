"""Reads ontologies in the OBO format, such as mondo.obo."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from medssr.errors import InputError
from medssr.utils.text_files import read_text

_SYNONYM = re.compile(r'"((?:[^"\\]|\\.)*)"\s+(\w+)')
_ESCAPED = re.compile(r"\\(.)")
_RARE = re.compile(r"(?:(?!non|not)[a-z0-9]+_)*rare(?:_[a-z0-9_]+)?", re.IGNORECASE)


@dataclass(slots=True)
class OboTerm:
    """A term of an ontology.

    Attributes:
        line: The line of the file on which it starts.
        id: "MONDO:0010526".
        name: Its name; empty where it has none.
        synonyms: Its exact synonyms.
        parents: Ids of the terms that it is a kind of.
        subsets: The subsets that it is in: "gard_rare", "rare" ...
        is_obsolete: Whether it is no longer used.
    """

    line: int
    id: str = ""
    name: str = ""
    synonyms: list[str] = field(default_factory=list)
    parents: list[str] = field(default_factory=list)
    subsets: list[str] = field(default_factory=list)
    is_obsolete: bool = False

    @property
    def is_rare(self) -> bool:
        """Whether a subset says that the disease is rare."""
        return any(_RARE.fullmatch(subset) for subset in self.subsets)


def read_obo(path: Path) -> Iterator[OboTerm]:
    """Yields the terms of an OBO file in its order.

    Raises:
        InputError: When the file is absent or no OBO file.
    """
    text = read_text(path, may_be_legacy=False).content
    if not text.lstrip().startswith(("format-version:", "[", "!")):
        raise InputError.at(path, "is no OBO file: it does not start with format-version.", line=1)
    term: OboTerm | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("["):
            if term is not None:
                yield term
            term = OboTerm(number) if line.strip() == "[Term]" else None
        elif term is not None:
            _add(term, line)
    if term is not None:
        yield term


def _add(term: OboTerm, line: str) -> None:
    tag, _, value = line.partition(":")
    value = value.strip()
    if tag == "id":
        term.id = value.split(" ")[0]
    elif tag == "name":
        term.name = _ESCAPED.sub(r"\1", value)
    elif tag == "is_a":
        term.parents.append(value.split(" ")[0])
    elif tag == "subset":
        term.subsets.append(re.split(r"[\s{!]", value, maxsplit=1)[0])
    elif tag == "is_obsolete":
        term.is_obsolete = value.split(" ")[0] == "true"
    elif tag == "synonym" and (match := _SYNONYM.match(value)) and match[2] == "EXACT":
        term.synonyms.append(_ESCAPED.sub(r"\1", match[1]))
