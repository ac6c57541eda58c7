"""Turns documents into passages, as all readers do, and reads several corpora as one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from medssr.errors import InputError
from medssr.knowledge.corpora.cleaning import REPEATED, Cleaning, find_repeats, hash_text, without_repeats
from medssr.knowledge.corpora.sentences import split_text


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


@dataclass(frozen=True, slots=True)
class Removal:
    """How much boilerplate of one kind was removed, and from how many documents."""

    num_documents: int
    num_chars: int


@dataclass(frozen=True, slots=True)
class CorpusCounts:
    """What became of the documents of a corpus.

    `num_documents = num_empty + num_only_boilerplate + num_duplicates + num_kept`.

    Attributes:
        num_documents: Documents that were read.
        num_empty: Documents without text.
        num_only_boilerplate: Documents that held nothing but boilerplate.
        num_duplicates: Documents whose text, once cleaned, an earlier document has.
        num_kept: Documents that passages come from.
        num_passages: Passages.
        boilerplate: What was removed by each pattern, and as repeated paragraphs.
        parts: The counts of each corpus, where there are several.
        num_duplicate_passages: Passages of several corpora whose text an earlier one has; they are not in
            `num_passages`.
    """

    num_documents: int
    num_empty: int
    num_only_boilerplate: int
    num_duplicates: int
    num_kept: int
    num_passages: int
    boilerplate: dict[str, Removal]
    parts: dict[str, CorpusCounts] = field(default_factory=dict)
    num_duplicate_passages: int = 0


class DocumentCorpus(ABC):
    """A corpus that is read as documents, which are cleaned and split into passages.

    No text is kept: what two documents have in common is found by hashes.

    Attributes:
        max_chars: The most characters of a passage's text; longer texts are split at sentence ends. None: never split.
        cleaning: What is boilerplate, so that it and exact duplicates are dropped. None: every document stays as it is.
        counts: What became of the documents the last time that `passages` was read to its end; None before.
    """

    def __init__(self, max_chars: int | None, cleaning: Cleaning | None) -> None:
        if max_chars is not None and max_chars < 1:
            raise InputError(f"corpus.max_chars: {max_chars}; at least 1, or null for never split.")
        self.max_chars = max_chars
        self.cleaning = cleaning
        self.counts: CorpusCounts | None = None

    @abstractmethod
    def documents(self) -> Iterator[Passage]:
        """Yields every document as one passage, with the text as it stands in the source; it may be empty.

        Raises:
            InputError: When the source cannot be read; the message names the place.
        """

    def passages(self) -> Iterator[Passage]:
        """Yields the passages of every document in the source's order.

        Raises:
            InputError: When the source cannot be read, or nothing is left of it.
        """
        self.counts = None
        tally = _Tally()
        for document in self._cleaned(tally):
            tally.numbers["num_kept"] += 1
            for passage in _split(document, self.max_chars):
                tally.numbers["num_passages"] += 1
                yield passage
        if not tally.numbers["num_kept"]:
            raise InputError(f"corpus: nothing is left of its documents ({dict(tally.numbers)}).")
        self.counts = tally.counts()

    def _cleaned(self, tally: _Tally) -> Iterator[Passage]:
        """Yields the documents that have text of their own, and counts the others."""
        repeats = self._repeats()
        seen: set[int] = set()
        for document in self.documents():
            tally.numbers["num_documents"] += 1
            if not document.text.strip():
                tally.numbers["num_empty"] += 1
                continue
            if self.cleaning is None:
                yield replace(document, text=document.text.strip())
                continue
            text, removed = self.cleaning.without_patterns(document.text)
            rest = without_repeats(text, repeats)
            if len(rest) < len(text):
                removed[REPEATED] = len(text) - len(rest)
            tally.documents_by_rule.update(removed.keys())
            tally.chars_by_rule.update(removed)
            if not rest:
                tally.numbers["num_only_boilerplate"] += 1
            elif (key := hash_text(rest)) in seen:
                tally.numbers["num_duplicates"] += 1
            else:
                seen.add(key)
                yield replace(document, text=rest)

    def _repeats(self) -> frozenset[int]:
        if self.cleaning is None or self.cleaning.min_repeats is None:
            return frozenset()
        texts = (self.cleaning.without_patterns(document.text)[0] for document in self.documents())
        return find_repeats((text for text in texts if text), self.cleaning.min_repeats)


class _Tally:
    """The counts of a corpus while it is read."""

    def __init__(self) -> None:
        self.numbers: Counter[str] = Counter()
        self.documents_by_rule: Counter[str] = Counter()
        self.chars_by_rule: Counter[str] = Counter()

    def counts(self) -> CorpusCounts:
        """Returns the counts so far."""
        return CorpusCounts(
            num_documents=self.numbers["num_documents"],
            num_empty=self.numbers["num_empty"],
            num_only_boilerplate=self.numbers["num_only_boilerplate"],
            num_duplicates=self.numbers["num_duplicates"],
            num_kept=self.numbers["num_kept"],
            num_passages=self.numbers["num_passages"],
            boilerplate={
                rule: Removal(num_documents, self.chars_by_rule[rule])
                for rule, num_documents in sorted(self.documents_by_rule.items())
            },
        )


def _split(document: Passage, max_chars: int | None) -> Iterator[Passage]:
    texts = split_text(document.text, max_chars)
    if len(texts) == 1:
        yield document
        return
    for number, text in enumerate(texts, start=1):
        yield replace(document, id=f"{document.id}#{number}", text=text, document_id=document.id)


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
