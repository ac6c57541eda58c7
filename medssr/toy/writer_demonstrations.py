"""Demonstrations of writing questions for the tiny writer: prompts as synthesis makes them, and replies to imitate."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from medssr.errors import InputError
from medssr.knowledge.corpora.builtin import statement_passage
from medssr.knowledge.facts import Entity, Fact, builtin_common_diseases, builtin_rare_diseases, relations
from medssr.knowledge.retrieval import Hit
from medssr.synthesis.grounded import DistractorPool, write_fact_question
from medssr.synthesis.prompts import build_synthesis_prompt, load_template
from medssr.synthesis.replies import write_reply
from medssr.toy.builtin_questions import NUM_OPTIONS, human_questions
from medssr.toy.demonstrations import belief
from medssr.training.demonstrations import Demonstration


class WriterDemonstrations:
    """Prompts of synthesis about the built-in diseases, each with the reply that a writer is to give.

    There are three kinds:

    - passages: about a disease, with its passage and those of others. Each value that a passage states is drawn anew
      from those of its relation, so that nothing but reading tells the right one.
    - name: about a disease, with its name alone. The reply is from memory: facts of rare diseases are wrong in part.
    - nothing: about no disease. The reply asks about a common one, rightly.

    A reply states the fact and then asks for it. The right option comes first: a generator shuffles what it reads.

    Args:
        num_rows: How many demonstrations.
        prompt_path: The prompt template of synthesis that the writer is for.
        weights: How often a kind is drawn, in proportion to the others.
        max_passages: The most passages of a prompt.
        rare_belief: See `belief`.

    Raises:
        InputError: When a number is out of range, or a kind is missing or unknown.
    """

    source = "the built-in demonstrations of writing"

    def __init__(
        self,
        num_rows: int,
        prompt_path: Path | str,
        weights: Mapping[str, float],
        max_passages: int,
        rare_belief: Sequence[float],
    ) -> None:
        if num_rows < 1 or max_passages < 1:
            raise InputError(f"demonstrations: num_rows {num_rows}, max_passages {max_passages}; each is at least 1.")
        self._kinds: dict[str, Callable[[random.Random], Demonstration | None]] = {
            "passages": self._with_passages,
            "name": self._with_name,
            "nothing": self._with_nothing,
        }
        if weights.keys() != self._kinds.keys() or min(weights.values()) < 0 or sum(weights.values()) <= 0:
            problem = f"{dict(weights)}; expected a share of each of {', '.join(self._kinds)}, not all of them 0."
            raise InputError(f"demonstrations.weights: {problem}")
        self._num_rows = num_rows
        self._weights = weights
        self._max_passages = max_passages
        self._rare_belief = rare_belief
        self._template = load_template(prompt_path, "demonstrations.prompt_path")
        self._common = builtin_common_diseases()
        self._entities = [*builtin_rare_diseases(), *self._common]
        self._pool = DistractorPool(self._entities)
        self._values = _values_by_relation(self._entities)
        self._seeds = human_questions()

    def draw(self, seed: int) -> list[Demonstration]:
        """Returns the demonstrations."""
        rng = random.Random(seed)
        kinds, weights = zip(*self._weights.items(), strict=True)
        rows: list[Demonstration] = []
        while len(rows) < self._num_rows:
            row = self._kinds[rng.choices(kinds, weights)[0]](rng)
            if row is not None:
                rows.append(row)
        return rows

    def _with_passages(self, rng: random.Random) -> Demonstration | None:
        entities = rng.sample(self._entities, rng.randint(1, self._max_passages))
        shown = [self._with_drawn_values(entity, rng) for entity in entities]
        hits = [Hit(statement_passage(entity), 0.0) for entity in rng.sample(shown, len(shown))]
        return self._demonstration(shown[0], rng.choice(shown[0].facts), shown[0], hits, rng)

    def _with_name(self, rng: random.Random) -> Demonstration | None:
        entity = rng.choice(self._entities)
        fact = rng.choice(entity.facts)
        if rng.random() >= belief(entity, fact, self._rare_belief):
            fact = _restated(fact, rng.choice(self._pool.distractors(fact)))
        return self._demonstration(entity, fact, entity, [], rng)

    def _with_nothing(self, rng: random.Random) -> Demonstration | None:
        entity = rng.choice(self._common)
        return self._demonstration(entity, rng.choice(entity.facts), None, [], rng)

    def _with_drawn_values(self, entity: Entity, rng: random.Random) -> Entity:
        facts = (_restated(fact, rng.choice(self._values[fact.relation])) for fact in entity.facts)
        return replace(entity, facts=tuple(facts))

    def _demonstration(
        self, entity: Entity, fact: Fact, named: Entity | None, hits: Sequence[Hit], rng: random.Random
    ) -> Demonstration | None:
        """Returns a demonstration whose reply asks for the fact, or None when it has too few distractors."""
        drafted = write_fact_question(entity, fact, self._pool, relations()[fact.relation].stems, NUM_OPTIONS, rng)
        if drafted is None:
            return None
        first, second = rng.sample(self._seeds, 2)
        prompt = build_synthesis_prompt(self._template, (first, second), named, hits, NUM_OPTIONS)
        statement = relations()[fact.relation].statement.format(entity=entity.name, value=fact.value)
        wrong = [text for text in drafted.options.values() if text != fact.value]
        return Demonstration(prompt, f"{statement}\n{write_reply(drafted.stem, [fact.value, *wrong])}")


def _restated(fact: Fact, value: str) -> Fact:
    """Returns the fact with another value; what is true is no distractor of it."""
    return replace(fact, value=value, also_true=(fact.value, *fact.also_true))


def _values_by_relation(entities: Sequence[Entity]) -> dict[str, list[str]]:
    values: dict[str, set[str]] = defaultdict(set)
    for entity in entities:
        for fact in entity.facts:
            values[fact.relation].add(fact.value)
    return {relation: sorted(texts) for relation, texts in values.items()}
