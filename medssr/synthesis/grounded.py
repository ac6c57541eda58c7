"""Questions from structured facts, without a language model, so that the whole method runs offline."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from medssr.errors import InputError
from medssr.knowledge.entities import EntityList
from medssr.knowledge.facts import Entity, Fact, builtin_common_diseases, relations
from medssr.questions import LETTERS
from medssr.synthesis.generators import Draft, Outcome, Rejection
from medssr.synthesis.plan import Draw, SynthesisRequest


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
        # Few values are right for a fact, so that the length mostly decides.
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


class GroundedGenerator:
    """Asks for a fact of the request's entity, or of a drawn common disease where no knowledge is injected.

    Args:
        entities: The diseases that requests may name; distractors come from their facts too.
        num_options: Options of a question, the right one included.

    Raises:
        InputError: When no common disease has a fact with enough distractors.
    """

    name: ClassVar[str] = "grounded"

    def __init__(self, entities: EntityList, num_options: int) -> None:
        self._num_options = num_options
        common = builtin_common_diseases()
        self._pool = DistractorPool([*entities.entities(), *common])
        self._common = [entity for entity in common if self._usable_facts(entity)]
        if not self._common:
            raise InputError(f"No common disease has a fact with {num_options - 1} distractors; ask for fewer options.")

    def generate(self, requests: Iterable[SynthesisRequest]) -> Iterator[tuple[SynthesisRequest, Outcome]]:
        """Yields each request with a question whose truth is known, or the rejection "no_fact"."""
        for request in requests:
            yield request, self._write(request.draw)

    def usage(self) -> dict[str, Any]:
        """Returns nothing: templates cost nothing."""
        return {}

    def close(self) -> None:
        """Frees nothing."""

    def _write(self, draw: Draw) -> Outcome:
        rng = random.Random(draw.rng_seed)
        if draw.entity is None:
            entity = rng.choice(self._common)
            fact = rng.choice(self._usable_facts(entity))
        else:
            entity = draw.entity
            facts = self._usable_facts(entity)
            if not facts:
                return Rejection("no_fact", f"{entity.name} has no fact with {self._num_options - 1} distractors.")
            fact = facts[draw.entity_turn % len(facts)]
        stems = relations()[fact.relation].stems
        question = write_fact_question(entity, fact, self._pool, stems, self._num_options, rng)
        if question is None:
            raise AssertionError(f"the fact {fact} has too few distractors, but `_usable_facts` returned it")
        details = {"relation": fact.relation, "fact_source": fact.source}
        return Draft(question.stem, question.options, entity.name, entity.is_rare, question.truth, details)

    def _usable_facts(self, entity: Entity) -> list[Fact]:
        return [fact for fact in entity.facts if self._pool.has_distractors(fact, self._num_options - 1)]
