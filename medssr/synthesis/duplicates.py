"""Finds near-duplicates: questions that repeat an earlier one in all but trivial words, in any order of the options.

MinHash (datasketch) proposes candidates and a weighted Jaccard similarity of their words decides, so that no question
is dropped for a collision. Hashes of the words are kept in a temporary file: memory does not grow with the number of
questions.
"""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from zlib import crc32

from medssr.questions import Question
from medssr.text.words import EXAM_WORDS, FUNCTION_WORDS, fold, singular, split_words

# Two questions of similarity 0.8 share all hashes of at least one band in 99.5% of cases, of similarity 0.5 in 48%.
_NUM_BANDS = 10
_HASHES_PER_BAND = 4
# Small words that change the meaning of a question.
_TURNING_WORDS = frozenset({"no", "not", "without", "except", "true", "false", "before", "after", "more", "most"})
# The weight of a word in a comparison, by its hash; integers, so that equal words have similarity 1 exactly.
_FULL_WEIGHT = 10
_WEIGHTS = {
    crc32(singular(word).encode()): weight
    for words, weight in ((EXAM_WORDS, 3), (FUNCTION_WORDS, 1))
    for word in words - _TURNING_WORDS
}
_NO_ENTITY = 0
_CACHE_KIB = 8192


@dataclass(frozen=True, slots=True)
class QuestionWords:
    """The words of a question as hashes: of its stem, of its options, and its entity's name as one (0: none)."""

    stem: frozenset[int]
    options: frozenset[int]
    entity: int


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The id of the earlier question and how similar it is, from 0 to 1."""

    id: str
    similarity: float


def question_words(question: Question) -> QuestionWords:
    """Returns the question's words without case, diacritics, punctuation and plural, in no order."""
    return QuestionWords(
        stem=_hashes([question.stem]),
        options=_hashes(question.options.values()),
        entity=_NO_ENTITY if question.entity is None else crc32(fold(question.entity).encode()),
    )


def similarity(first: QuestionWords, second: QuestionWords) -> float:
    """Returns the weighted Jaccard similarity of the stems or of the whole questions, whichever is smaller.

    Function words count a tenth, standing words of examinations three tenths. Both must agree: the same stem with other
    options asks something else, and so do the same options under another stem. In a long stem the options matter less.

    Example:
        >>> def words(stem):
        ...     return question_words(Question("q", stem, {"A": "GLA", "B": "GAA"}, None, "example"))
        >>> first = words("Which gene is mutated in Fabry disease?")
        >>> round(similarity(first, words("In Fabry's disease, which genes are mutated?")), 2)
        0.95
        >>> round(similarity(first, words("Which gene is mutated in Pompe disease?")), 2)
        0.57
    """
    shared_stem, all_stem = _weight(first.stem & second.stem), _weight(first.stem | second.stem)
    shared = shared_stem + _weight(first.options & second.options)
    everything = all_stem + _weight(first.options | second.options)
    return min(_ratio(shared_stem, all_stem), _ratio(shared, everything))


class NearDuplicates:
    """The questions so far, searchable for near-duplicates of a new one.

    Two questions on different entities are duplicates only when their words are the same: the names of diseases can be
    long and alike ("... type 1", "... type 2").

    Args:
        threshold: The least similarity of near-duplicates.
    """

    def __init__(self, threshold: float = 0.8) -> None:
        from datasketch import MinHash

        self._threshold = threshold
        self._sketch = MinHash(num_perm=_NUM_BANDS * _HASHES_PER_BAND, seed=1, hashfunc=int)
        self._last: tuple[Question, QuestionWords, list[int]] | None = None
        # The empty name stands for a temporary file that SQLite deletes.
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.executescript(
            f"""
            PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -{_CACHE_KIB};
            CREATE TABLE questions (number INTEGER PRIMARY KEY, id TEXT, stem BLOB, options BLOB, entity INTEGER);
            CREATE TABLE bands (
                band INTEGER, entity INTEGER, number INTEGER, PRIMARY KEY (band, entity, number)
            ) WITHOUT ROWID;
            BEGIN; -- never committed: nobody else reads the file, and each commit would write the changed pages
            """
        )

    def find(self, question: Question) -> Duplicate | None:
        """Returns the first question added that this one nearly repeats, or None."""
        words, bands = self._analyse(question)
        marks = ", ".join("?" * len(bands))
        # The index skips questions on other entities, of which templates make many.
        is_comparable = "" if words.entity == _NO_ENTITY else f"AND entity IN ({_NO_ENTITY}, {words.entity})"
        rows = self._database.execute(
            "SELECT id, stem, options, entity FROM questions WHERE number IN "
            f"(SELECT number FROM bands WHERE band IN ({marks}) {is_comparable}) ORDER BY number",
            bands,
        )
        for name, stem, options, entity in rows:
            is_other_entity = _NO_ENTITY not in (words.entity, entity) and words.entity != entity
            value = similarity(words, QuestionWords(_unpack(stem), _unpack(options), entity))
            if value >= (1.0 if is_other_entity else self._threshold):
                return Duplicate(name, value)
        return None

    def add(self, question: Question) -> None:
        """Counts the question among those that later ones must not repeat."""
        words, (same_words, *bands) = self._analyse(question)
        number = self._database.execute(
            "INSERT INTO questions (id, stem, options, entity) VALUES (?, ?, ?, ?)",
            (question.id, _pack(words.stem), _pack(words.options), words.entity),
        ).lastrowid
        # The same words are a duplicate for any entity. One statement for all: each is a turn in the queue of threads.
        rows = [(same_words, _NO_ENTITY, number), *((band, words.entity, number) for band in bands)]
        marks = ", ".join(["(?, ?, ?)"] * len(rows))
        self._database.execute(f"INSERT OR IGNORE INTO bands VALUES {marks}", [value for row in rows for value in row])

    def _analyse(self, question: Question) -> tuple[QuestionWords, list[int]]:
        """Returns the question's words and bands, cached for the question of the last call."""
        if self._last is None or self._last[0] is not question:
            words = question_words(question)
            self._last = question, words, self._bands(words)
        return self._last[1:]

    def _bands(self, words: QuestionWords) -> list[int]:
        """Returns a number for all the words, and one for each band of the MinHash of those that are not trivial."""
        everything = words.stem | words.options
        self._sketch.clear()
        self._sketch.update_batch(sorted(everything - _WEIGHTS.keys()) or sorted(everything))
        bands = self._sketch.hashvalues.reshape(_NUM_BANDS, _HASHES_PER_BAND).tolist()
        return [hash((words.stem, words.options)), *(hash((index, *band)) for index, band in enumerate(bands))]


def _hashes(texts: Iterable[str]) -> frozenset[int]:
    return frozenset(_hash(word) for text in texts for word in split_words(text))


@lru_cache(maxsize=2**15)
def _hash(word: str) -> int:
    return crc32(singular(word).encode(errors="surrogatepass"))


def _weight(hashes: Iterable[int]) -> int:
    return sum(_WEIGHTS.get(value, _FULL_WEIGHT) for value in hashes)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def _pack(hashes: Iterable[int]) -> bytes:
    return array("I", sorted(hashes)).tobytes()


def _unpack(data: bytes) -> frozenset[int]:
    values = array("I")
    values.frombytes(data)
    return frozenset(values)
