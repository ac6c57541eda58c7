"""Finds the benchmark question that a question repeats: by its stem or, where that says nothing, by its options."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import repeat

from medssr.synthesis.content_words import has_content
from medssr.synthesis.coverage import CoverageIndex
from medssr.text.words import words_key

# What collections write around a stem: "Q12.", "Question 7:", "(AIIMS 2010)".
_NUMBER_BEFORE = re.compile(
    r"^\W*(?:(?:q|que|ques|question|item|no|nr|mcq)\W{0,3})?\d{1,5}\s*[.):\]-]+\s*", re.IGNORECASE
)
_EXAM = re.compile(r"[(\[][^()\[\]]{0,40}\b(?:19|20)\d\d\b[^()\[\]]{0,20}[)\]]")
_BLANK_BESIDE_LETTER = re.compile(r"(?<!\d) | (?!\d)")


@dataclass(frozen=True, slots=True)
class ContaminationMatch:
    """The benchmark question that a question repeats.

    Attributes:
        stem: Its stem as it was given to the index.
        score: How much of it is repeated: 1 for the whole stem up to case, punctuation and numbers, else below 1. For a
            stem without content the same of its options.
        index: The index of the stem among those that were given.
    """

    stem: str
    score: float
    index: int


class ContaminationIndex:
    """Finds the benchmark question that a question repeats.

    Stems are compared with stems (`coverage` says how). A stem without content words, such as "Which of the following
    is true?", is shared by questions that have nothing else in common, and nearly every stem repeats most of it. Such
    questions are compared by their options, in any order, with other such questions. Without options to compare, a
    stem without content matches only the same stem, numbers included.

    Args:
        stems: The stems of all benchmarks. Empty ones are passed over; of equal ones, the first is reported.
        threshold: The least score of a match.
        options: The texts of the options of each stem; None to compare stems alone.

    Example:
        >>> index = ContaminationIndex(["Which enzyme is deficient in patients with Fabry disease?"])
        >>> index.check("WHICH ENZYME IS DEFICIENT in patients with Fabry disease").score
        1.0
        >>> round(index.check("Which enzyme is lacking in most patients with Fabry disease?").score, 2)
        0.78
        >>> index.check("Which enzyme is measured in patients with chest pain?") is None
        True
    """

    def __init__(
        self, stems: Iterable[str], threshold: float = 0.58, options: Iterable[Iterable[str]] | None = None
    ) -> None:
        self._stems: list[str] = []
        texts, option_texts = [], []
        self._index_of_key: dict[str, int] = {}
        keys = set()
        pairs = zip(stems, repeat(()), strict=False) if options is None else zip(stems, options, strict=True)
        for index, (stem, option_list) in enumerate(pairs):
            is_content, key, option_text = has_content(_core(stem)), _exact_key(stem), _option_text(option_list)
            self._stems.append(stem)
            texts.append(stem if is_content else "")
            option_texts.append("" if is_content or not has_content(option_text) else option_text)
            if key and not is_content:
                keys.add((key, words_key(option_text)))
                if options is None:
                    self._index_of_key.setdefault(key, index)
        self._by_stem = CoverageIndex(texts, threshold)
        self._by_options = CoverageIndex(option_texts, threshold)
        self.num_without_content = len(keys)

    def __len__(self) -> int:
        """Returns the number of different questions."""
        return len(self._by_stem) + self.num_without_content

    def check(self, stem: str, options: Iterable[str] = ()) -> ContaminationMatch | None:
        """Returns the question that a question repeats most, with its score, or None when it repeats none.

        Args:
            stem: The stem of the question.
            options: The texts of its options; they count only where the stem has no content.
        """
        if has_content(_core(stem)):
            match = self._by_stem.check(stem)
        elif (index := self._index_of_key.get(_exact_key(stem))) is not None:
            match = index, 1.0
        else:
            match = self._by_options.check(_option_text(options))
        return None if match is None else ContaminationMatch(self._stems[match[0]], match[1], match[0])


def _core(stem: str) -> str:
    """Returns a stem without the number of the question before it and without the examination that it is from."""
    return _EXAM.sub(" ", _NUMBER_BEFORE.sub("", stem))


def _exact_key(stem: str) -> str:
    """Returns the letters and numbers of the core of a stem, if it has one, with blanks between numbers alone."""
    return _BLANK_BESIDE_LETTER.sub("", words_key(_core(stem)) or words_key(stem))


def _option_text(options: Iterable[str]) -> str:
    """Returns the options in an order of their own, so that shuffled options are the same."""
    return " | ".join(sorted(options, key=words_key))
