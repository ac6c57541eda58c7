"""Multiple-choice questions from structured facts, with distractors of the same kind."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from medssr.knowledge.facts import Entity, Fact, relations
from medssr.questions import LETTERS


@dataclass(frozen=True, slots=True)
class FactQuestion:
    """A question about a fact, with its truth."""

    stem: str
    options: dict[str, str]
    truth: str


class DistractorPool:
    """The values of each relation over a set of diseases, and the relation's own distractors."""

    def __init__(self, entities: Iterable[Entity]) -> None:
        values: dict[str, set[str]] = defaultdict(set)
        for entity in entities:
            for fact in entity.facts:
                values[fact.relation].update([fact.value, *relations()[fact.relation].distractors])
        # Sorted, so that a draw depends on the seed and the table's content alone.
        self._values = {relation: sorted(texts) for relation, texts in values.items()}

    def has_distractors(self, fact: Fact, count: int) -> bool:
        """Returns whether at least `count` values of the fact's relation are wrong for it."""
        values = self._values.get(fact.relation, [])
        # What is right is rarely more than a few values, so that mostly the length decides.
        return len(values) - len(fact.also_true) - 1 >= count or len(self.distractors(fact)) >= count

    def distractors(self, fact: Fact) -> list[str]:
        """Returns the values of the fact's relation that are wrong for it."""
        right = {fact.value, *fact.also_true}
        return [value for value in self._values.get(fact.relation, []) if value not in right]


def write_fact_question(
    entity: Entity, fact: Fact, pool: DistractorPool, stems: Sequence[str], num_options: int, rng: random.Random
) -> FactQuestion | None:
    """Returns a question about the fact in a drawn order of drawn options, or None without enough distractors."""
    distractors = pool.distractors(fact)
    if len(distractors) < num_options - 1:
        return None
    texts = [fact.value, *rng.sample(distractors, num_options - 1)]
    rng.shuffle(texts)
    options = dict(zip(LETTERS, texts, strict=False))
    return FactQuestion(
        stem=rng.choice(stems).format(entity=fact.subject or entity.name),
        options=options,
        truth=LETTERS[texts.index(fact.value)],
    )
