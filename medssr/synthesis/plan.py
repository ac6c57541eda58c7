"""From a seed to requests: what each synthetic question is to be about, and the prompt that asks for it."""

from __future__ import annotations

import random
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from medssr.errors import InputError
from medssr.knowledge.entities import EntitySampler
from medssr.knowledge.facts import Entity
from medssr.knowledge.retrieval import Hit, Retriever
from medssr.questions import Question
from medssr.synthesis.prompts import build_synthesis_prompt
from medssr.utils.seeding import derive_seed

_BLOCK_SIZE = 100
# More than there are slots, so that no two attempts share one of the sampler's draws.
_DRAWS_PER_ATTEMPT = 1_000_003


@dataclass(frozen=True, slots=True)
class Draw:
    """The random draws for one attempt at one synthetic question.

    Attributes:
        slot: The question's number, from 0.
        attempt: How many drafts for this slot were rejected before.
        rho: The slot's number between 0 and 1 that decides on injection, the same at each attempt.
        is_injected: Whether knowledge about a rare disease goes into the prompt: rho < rare_share.
        entity: The disease of an injected question, None otherwise.
        entity_turn: Rises by one each time the entity is drawn, from a start that depends on seed, entity and attempt;
            0 without an entity. Whoever picks one of an entity's facts by it covers them evenly.
        seed_questions: Two different seed questions.
        rng_seed: Seed of the generator for this attempt.
    """

    slot: int
    attempt: int
    rho: float
    is_injected: bool
    entity: Entity | None
    entity_turn: int
    seed_questions: tuple[Question, Question]
    rng_seed: int


class QuestionPlan:
    """The draws for all questions of a run: pure functions of seed, number of slots, slot and attempt.

    The paper draws rho from U(0, 1) for each question and injects knowledge when rho < alpha, so that the share of few
    questions is alpha on the average only. Here the n slots share the values 0.5/n, 1.5/n ... (n - 0.5)/n, in an order
    drawn by the seed: which slots are injected is as random as before, and how many is n * alpha, rounded. A slot keeps
    its rho through all attempts, so that rejections do not change the number.

    For one seed, rho does not depend on `rare_share`: a greater one injects knowledge into the same slots and more.
    Each 100 slots in turn nearly have the share too. The k-th injected slot gets the sampler's k-th entity, so
    that every entity is used before any is reused.

    Args:
        seed: Run seed.
        num_slots: Questions wanted.
        rare_share: Fraction of slots with injection, from 0 to 1.
        sampler: The rare diseases.
        seeds: At least two seed questions.

    Raises:
        InputError: When `rare_share` lies outside [0, 1] or there are fewer than two seed questions.
    """

    def __init__(
        self, seed: int, num_slots: int, rare_share: float, sampler: EntitySampler, seeds: Sequence[Question]
    ) -> None:
        if not 0 <= rare_share <= 1:
            raise InputError(f"synthesis.rare_share is {rare_share}; give a number from 0 to 1.")
        if len(seeds) < 2:
            raise InputError(f"There are {len(seeds)} seed questions; a prompt shows two different ones.")
        self._seed = seed
        self._rare_share = rare_share
        self._sampler = sampler
        self._seeds = seeds
        self._rhos = _shuffled_rhos(seed, num_slots)
        injected = (rho < rare_share for rho in self._rhos)
        self._num_injected_before = array("q", accumulate(injected, initial=0))

    def draw(self, slot: int, attempt: int) -> Draw:
        """Returns the draws for an attempt at a slot, both from 0."""
        rho = self._rhos[slot]
        is_injected = rho < self._rare_share
        entity, turn = None, 0
        if is_injected:
            number = self._num_injected_before[slot] + attempt * _DRAWS_PER_ATTEMPT
            entity, visit = self._sampler.sample(self._seed, number)
            turn = visit + derive_seed(self._seed, "turn", entity.name) % 2**16
        rng = random.Random(derive_seed(self._seed, "seed questions", slot, attempt))
        first, second = rng.sample(range(len(self._seeds)), 2)
        return Draw(
            slot=slot,
            attempt=attempt,
            rho=rho,
            is_injected=is_injected,
            entity=entity,
            entity_turn=turn,
            seed_questions=(self._seeds[first], self._seeds[second]),
            rng_seed=derive_seed(self._seed, "generator", slot, attempt),
        )


def _shuffled_rhos(seed: int, num_slots: int) -> array[float]:
    """Returns the values (k + 0.5) / n for k = 0 ... n - 1, in an order drawn by the seed.

    The order is that of draws with one in each percentile for each block of 100 slots. So a share is nearly reached in
    each block too, and with more slots hardly any of the first ones changes to the other kind.
    """
    draws: list[float] = []
    for block in range(-(-num_slots // _BLOCK_SIZE)):
        percentiles = list(range(_BLOCK_SIZE))
        rng = random.Random(derive_seed(seed, "rho", block))
        rng.shuffle(percentiles)
        draws += ((percentile + rng.random()) / _BLOCK_SIZE for percentile in percentiles)
    rhos = array("d", bytes(8 * num_slots))
    for rank, slot in enumerate(sorted(range(num_slots), key=draws.__getitem__)):
        rhos[slot] = (rank + 0.5) / num_slots
    return rhos


@dataclass(frozen=True, slots=True)
class SynthesisRequest:
    """One question to be written: its draws, the retrieved passages about its entity, the whole prompt."""

    draw: Draw
    hits: tuple[Hit, ...]
    prompt: str


class RequestMaker:
    """Makes the request for an attempt at a slot.

    Args:
        plan: The draws.
        retriever: Finds the passages about a disease; indexed.
        template: Text of the prompt template.
        num_passages: Passages for a disease.
        num_options: Options of a question.
    """

    def __init__(
        self, plan: QuestionPlan, retriever: Retriever, template: str, num_passages: int, num_options: int
    ) -> None:
        self._plan = plan
        self._retriever = retriever
        self._template = template
        self._num_passages = num_passages
        self._num_options = num_options

    def __call__(self, slot: int, attempt: int) -> SynthesisRequest:
        """Returns the request: the same for the same slot and attempt, both from 0."""
        drawn = self._plan.draw(slot, attempt)
        hits = () if drawn.entity is None else tuple(self._retriever.search(drawn.entity.name, self._num_passages))
        prompt = build_synthesis_prompt(self._template, drawn.seed_questions, drawn.entity, hits, self._num_options)
        return SynthesisRequest(drawn, hits, prompt)
