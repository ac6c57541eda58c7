"""The unit of retrieval, and what yields it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from medssr.knowledge.corpora.documents import CorpusCounts


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
    """A source of passages.

    Attributes:
        counts: What became of the documents the last time that `passages` was read to its end; None before.
    """

    counts: CorpusCounts | None

    def passages(self) -> Iterator[Passage]:
        """Yields every passage in the corpus's order."""
        ...
