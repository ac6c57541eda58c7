"""Draws diseases from an entity list, each once before any is drawn again."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from functools import lru_cache

from medssr.errors import InputError
from medssr.knowledge.facts import Entity
from medssr.utils.seeding import derive_seed


class EntitySampler:
    """Draws every entity once, in a random order, before it draws any entity again.

    The next entity is one of those that are left, each with a chance in proportion to its weight: entities with great
    weights come early. Equal weights make every order equally likely.

    Raises:
        InputError: When there are no entities, or a weight is not a number above 0.
    """

    def __init__(self, entities: Sequence[Entity]) -> None:
        if not entities:
            raise InputError("The entity list is empty; give at least one disease.")
        for entity in entities:
            if not (entity.weight > 0 and math.isfinite(entity.weight)):
                raise InputError(f'"{entity.name}" has the weight {entity.weight}; weights are numbers above 0.')
        self._entities = tuple(entities)
        weights = tuple(entity.weight for entity in entities)
        # One order for each time through the list; the last few are kept, so that draws in turn are cheap.
        self._order = lru_cache(maxsize=4)(lambda seed, epoch: _random_order(seed, epoch, weights))

    def __len__(self) -> int:
        return len(self._entities)

    def sample(self, seed: int, number: int) -> tuple[Entity, int]:
        """Returns draw number `number` (from 0) and how many times its entity was drawn before, from nothing else."""
        epoch, index = divmod(number, len(self._entities))
        return self._entities[self._order(seed, epoch)[index]], epoch


def _random_order(seed: int, epoch: int, weights: Sequence[float]) -> list[int]:
    """Returns the indices 0 ... n-1 in the order of a weighted draw without replacement.

    By the exponential keys of Efraimidis and Spirakis, "Weighted random sampling with a reservoir" (2006): the index
    with the smallest -ln(u) / weight comes first.
    """
    rng = random.Random(derive_seed(seed, "entities", epoch))
    order = list(range(len(weights)))
    if min(weights) == max(weights):
        rng.shuffle(order)
        return order
    keys = [-math.log(1 - rng.random()) / weight for weight in weights]
    return sorted(order, key=keys.__getitem__)
