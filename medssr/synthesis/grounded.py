"""A generator without a language model: questions from structured facts, so that the whole method runs offline."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from medssr.errors import InputError
from medssr.knowledge.entities import EntityList
from medssr.knowledge.facts import Entity, Fact, builtin_common_diseases, relations
from medssr.synthesis.controls import Draw
from medssr.synthesis.fact_questions import DistractorPool, write_fact_question
from medssr.synthesis.generators import Draft, Outcome, Rejection, SynthesisRequest


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
            raise AssertionError(f"the fact {fact} was usable a moment ago")
        details = {"relation": fact.relation, "fact_source": fact.source}
        return Draft(question.stem, question.options, entity.name, entity.is_rare, question.truth, details)

    def _usable_facts(self, entity: Entity) -> list[Fact]:
        return [fact for fact in entity.facts if self._pool.has_distractors(fact, self._num_options - 1)]
