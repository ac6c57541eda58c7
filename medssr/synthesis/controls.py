"""What each synthetic question is to be about: the draws that steer synthesis."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from medssr.errors import InputError
from medssr.knowledge.entities import EntitySampler
from medssr.knowledge.facts import Entity
from medssr.questions import Question
from medssr.utils.seeding import derive_seed

_BLOCK_SIZE = 4096


@dataclass(frozen=True, slots=True)
class Draw:
    """The draws for one synthetic question.

    Attributes:
        index: The question's number, from 0.
        rho: The draw from U(0, 1) that decides on injection.
        is_injected: Whether knowledge about a rare disease goes into the prompt: rho < rare_share.
        entity: The disease of an injected question, None otherwise.
        entity_turn: Rises by one each time the entity is drawn, from a start that depends on seed and entity; 0 without
            an entity. Whoever picks one of an entity's facts by it covers them evenly.
        seed_questions: Two different seed questions.
        rng_seed: Seed of the generator's own draws for this question.
    """

    index: int
    rho: float
    is_injected: bool
    entity: Entity | None
    entity_turn: int
    seed_questions: tuple[Question, Question]
    rng_seed: int


def draw(seed: int, index: int, rare_share: float, sampler: EntitySampler, seeds: Sequence[Question]) -> Draw:
    """Returns the draws for question number `index`: a pure function of its arguments.

    For one seed, rho does not depend on `rare_share`: a greater share injects knowledge into the same questions and
    more. The k-th injected question gets the sampler's k-th entity, so that every entity is used before any is reused.

    Raises:
        InputError: When `rare_share` lies outside [0, 1] or there are fewer than two seed questions.
    """
    if not 0 <= rare_share <= 1:
        raise InputError(f"The share of rare-disease questions is {rare_share}; give a number from 0 to 1.")
    if len(seeds) < 2:
        raise InputError(f"There are {len(seeds)} seed questions; a prompt shows two different ones.")
    rho = _rho(seed, index)
    is_injected = rho < rare_share
    entity, turn = None, 0
    if is_injected:
        entity, visit = sampler.sample(seed, _num_injected_before(seed, index, rare_share))
        turn = visit + derive_seed(seed, "turn", entity.name) % 2**16
    first, second = random.Random(derive_seed(seed, "seed questions", index)).sample(range(len(seeds)), 2)
    return Draw(
        index=index,
        rho=rho,
        is_injected=is_injected,
        entity=entity,
        entity_turn=turn,
        seed_questions=(seeds[first], seeds[second]),
        rng_seed=derive_seed(seed, "generator", index),
    )


def _rho(seed: int, index: int) -> float:
    return random.Random(derive_seed(seed, "rho", index)).random()


def _num_injected_before(seed: int, index: int, rare_share: float) -> int:
    """Returns how many questions before `index` are injected."""
    blocks, rest = divmod(index, _BLOCK_SIZE)
    whole = sum(_injected_counts(seed, block, rare_share)[-1] for block in range(blocks))
    return whole + _injected_counts(seed, blocks, rare_share)[rest]


@cache
def _injected_counts(seed: int, block: int, rare_share: float) -> list[int]:
    """Returns, for each place of a block of questions and for its end, the number injected before it in the block."""
    counts = [0]
    for index in range(block * _BLOCK_SIZE, (block + 1) * _BLOCK_SIZE):
        counts.append(counts[-1] + (_rho(seed, index) < rare_share))
    return counts
