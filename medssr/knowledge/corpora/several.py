"""Several corpora as one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from medssr.errors import InputError
from medssr.knowledge.corpora.cleaning import hash_text
from medssr.knowledge.corpora.documents import CorpusCounts, DocumentCorpus, Removal
from medssr.knowledge.corpora.passages import Passage


class SeveralCorpora:
    """Corpora one after the other, each cleaned and split in its own way.

    Ids become "<name of the corpus>:<id>", so that they stay unique; a passage without a source gets the corpus's name.
    A passage with the text of an earlier one is dropped, so that a document that two corpora hold comes once.

    Attributes:
        corpora: The corpora by name, in the order in which they are read.
        counts: The sum over the corpora, and the counts of each, once `passages` was read to its end; None before.

    Raises:
        InputError: When there is no corpus.
    """

    def __init__(self, corpora: Mapping[str, DocumentCorpus]) -> None:
        if not corpora:
            raise InputError("corpus.corpora: is empty; name at least one corpus.")
        self.corpora = dict(corpora)
        self.counts: CorpusCounts | None = None

    def passages(self) -> Iterator[Passage]:
        """Yields the passages of all corpora.

        Raises:
            InputError: As the corpora do.
        """
        self.counts = None
        seen: set[int] = set()
        parts: dict[str, CorpusCounts] = {}
        for name, corpus in self.corpora.items():
            for passage in corpus.passages():
                key = hash_text(passage.text)
                if key not in seen:
                    seen.add(key)
                    yield _named(passage, name)
            assert corpus.counts is not None
            parts[name] = corpus.counts
        self.counts = _sum(parts, num_passages=len(seen))


def _named(passage: Passage, name: str) -> Passage:
    document_id = None if passage.document_id is None else f"{name}:{passage.document_id}"
    return replace(passage, id=f"{name}:{passage.id}", source=passage.source or name, document_id=document_id)


def _sum(parts: Mapping[str, CorpusCounts], num_passages: int) -> CorpusCounts:
    all_counts = parts.values()
    removals: dict[str, list[Removal]] = {}
    for counts in all_counts:
        for rule, removal in counts.boilerplate.items():
            removals.setdefault(rule, []).append(removal)
    return CorpusCounts(
        num_documents=sum(counts.num_documents for counts in all_counts),
        num_empty=sum(counts.num_empty for counts in all_counts),
        num_only_boilerplate=sum(counts.num_only_boilerplate for counts in all_counts),
        num_duplicates=sum(counts.num_duplicates for counts in all_counts),
        num_kept=sum(counts.num_kept for counts in all_counts),
        num_passages=num_passages,
        boilerplate={
            rule: Removal(sum(item.num_documents for item in items), sum(item.num_chars for item in items))
            for rule, items in sorted(removals.items())
        },
        parts=dict(parts),
        num_duplicate_passages=sum(counts.num_passages for counts in all_counts) - num_passages,
    )
