"""Removes boilerplate from a corpus before it is split: by pattern and by repetition."""

from __future__ import annotations

import hashlib
import re
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from medssr.errors import InputError
from medssr.knowledge.corpora.sentences import split_sentences

# Fewer sentences in a row are no paragraph: hundreds of answers hold "It is inherited in an autosomal dominant pattern,
# which means ..." with one sentence more, and it is what they have to say.
_SENTENCES_OF_PARAGRAPH = 3
# The name under which repeated paragraphs are counted, beside the names of the patterns.
REPEATED = "repeated_paragraph"


@dataclass(frozen=True, slots=True)
class Cleaning:
    """What is boilerplate in a corpus.

    Attributes:
        patterns: Regular expressions of boilerplate by name; what matches is removed. They see a text whose blanks and
            line ends are single blanks. "." matches every character.
        min_repeats: A paragraph that this many documents hold is boilerplate: three or more sentences in a row, or a
            document's whole text, the same to the letter. Found by a first pass over the corpus, which keeps eight
            bytes for each sentence. None: nothing is removed for being repeated, and the corpus is read once.

    Raises:
        InputError: When a pattern is no regular expression or `min_repeats` is below 2.
    """

    patterns: Mapping[str, str]
    min_repeats: int | None
    _compiled: dict[str, re.Pattern[str]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Compiles the patterns."""
        if self.min_repeats is not None and self.min_repeats < 2:
            raise InputError(f"corpus.cleaning.min_repeats: {self.min_repeats}; at least 2, or null for never.")
        compiled = {}
        for name, pattern in self.patterns.items():
            try:
                compiled[name] = re.compile(pattern, re.DOTALL)
            except re.error as error:
                raise InputError(f"corpus.cleaning.patterns.{name}: is no regular expression ({error}).") from error
        object.__setattr__(self, "_compiled", compiled)

    def without_patterns(self, text: str) -> tuple[str, dict[str, int]]:
        """Returns the text without what the patterns match, and how many characters went by each pattern that did.

        Example:
            >>> Cleaning({"links": r"See also:.*"}, None).without_patterns("A text.  See also: this.")
            ('A text.', {'links': 16})
        """
        text = " ".join(text.split())
        removed = {}
        for name, pattern in self._compiled.items():
            rest = " ".join(pattern.sub(" ", text).split())
            if len(rest) < len(text):
                removed[name] = len(text) - len(rest)
            text = rest
        return text, removed


def find_repeats(texts: Iterable[str], min_repeats: int) -> frozenset[int]:
    """Returns the hashes of the paragraphs that at least `min_repeats` of the texts hold.

    Memory: eight bytes for each sentence of the corpus.
    """
    import numpy as np

    hashes = array("Q")
    for text in texts:
        hashes.extend(set(_paragraph_hashes(split_sentences(text))))
    values, counts = np.unique(np.frombuffer(hashes, dtype=np.uint64), return_counts=True)
    return frozenset(values[counts >= min_repeats].tolist())


def without_repeats(text: str, repeats: frozenset[int]) -> str:
    """Returns the text without its repeated paragraphs.

    The first sentence stays where anything does: it says what the text is about ("This condition is inherited in an
    X-linked recessive pattern.").

    Args:
        text: The text.
        repeats: The result of `find_repeats`.

    Example:
        >>> texts = ["It begins with fever. Rest. Drink. Sleep.", "Rest. Drink. Sleep. It ends."]
        >>> without_repeats(texts[0], find_repeats(texts, 2))
        'It begins with fever.'
    """
    sentences = split_sentences(text) if repeats else []
    if not sentences:
        return text
    *runs, whole = _paragraph_hashes(sentences)
    if whole in repeats:
        return ""
    is_repeated = [False] * len(sentences)
    for start, run in enumerate(runs):
        if run in repeats:
            is_repeated[start : start + _SENTENCES_OF_PARAGRAPH] = [True] * _SENTENCES_OF_PARAGRAPH
    is_repeated[0] = False
    if not any(is_repeated):
        return text
    return " ".join(sentence for sentence, is_gone in zip(sentences, is_repeated, strict=True) if not is_gone)


def hash_text(*parts: str) -> int:
    """Returns a 64-bit hash of the texts, the same on every machine."""
    digest = hashlib.blake2b("\0".join(parts).encode(errors="surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest(), "big")


def _paragraph_hashes(sentences: list[str]) -> Iterator[int]:
    """Yields a hash for each run of sentences that makes a paragraph, and last one for the whole text."""
    for start in range(len(sentences) - _SENTENCES_OF_PARAGRAPH + 1):
        yield hash_text("run", *sentences[start : start + _SENTENCES_OF_PARAGRAPH])
    yield hash_text("whole", *sentences)
