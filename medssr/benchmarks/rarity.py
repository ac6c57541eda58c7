"""Flags questions about rare diseases by the names of diseases in their texts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from medssr.config import RarityField
from medssr.knowledge.facts import Entity
from medssr.knowledge.names import normalize_name
from medssr.questions import Question
from medssr.text.words import singular

# Names have three small letters in a row somewhere; acronyms such as "ADPKD", "Hb SS" and "CADASIL" have not.
_WORDY = re.compile(r"[^\W\d_A-Z]{3}")


class RareDiseaseMatcher:
    """Finds the names of rare diseases, as whole words, in chosen fields of a question.

    Spelling, case, hyphens, possessives, Roman numerals and plurals make no difference (see `normalize_name`). Acronyms
    and short names are left out because they are ambiguous.

    Args:
        entities: Diseases; those that are rare count, by their names and synonyms.
        fields: Where to look.
        min_chars: The shortest name, in characters.
    """

    def __init__(self, entities: Iterable[Entity], fields: Sequence[RarityField], min_chars: int) -> None:
        self._fields = tuple(fields)
        self._name_of: dict[tuple[str, ...], str] = {}
        self._lengths_by_first_word: dict[str, list[int]] = {}
        for entity in entities:
            if entity.is_rare:
                for name in (entity.name, *entity.synonyms):
                    if len(name) >= min_chars and _WORDY.search(name):
                        self._name_of.setdefault(_words(name), entity.name)
        for words in self._name_of:
            if words:
                lengths = self._lengths_by_first_word.setdefault(words[0], [])
                if len(words) not in lengths:
                    lengths.append(len(words))
        for lengths in self._lengths_by_first_word.values():
            lengths.sort(reverse=True)

    @property
    def num_names(self) -> int:
        """How many different names are looked for."""
        return len(self._name_of)

    def disease(self, question: Question) -> str | None:
        """Returns the rare disease that a question names, the first one by field and position, or None.

        Example:
            >>> matcher = RareDiseaseMatcher([Entity("Fabry disease", is_rare=True)], [RarityField.stem], 6)
            >>> question = Question("1", "Which enzyme is low in Fabry's disease?", {"A": "x", "B": "y"}, "A", "toy")
            >>> matcher.disease(question)
            'Fabry disease'
        """
        for field in self._fields:
            name = self._first_name(_text(question, field))
            if name is not None:
                return name
        return None

    def flagged(self, question: Question) -> Question:
        """Returns the question with `is_rare` and, where it is rare, `entity`; one that has a flag stays as it is."""
        if question.is_rare is not None:
            return question
        disease = self.disease(question)
        return replace(question, is_rare=disease is not None, entity=question.entity or disease)

    def _first_name(self, text: str) -> str | None:
        words = _words(text)
        for start, word in enumerate(words):
            for length in self._lengths_by_first_word.get(word, ()):
                name = self._name_of.get(words[start : start + length])
                if name is not None:
                    return name
        return None


def _text(question: Question, field: RarityField) -> str:
    if field is RarityField.stem:
        return question.stem
    assert question.answer is not None
    return question.options[question.answer]


def _words(text: str) -> tuple[str, ...]:
    return tuple(singular(word) for word in normalize_name(text).split())
