"""Splits diseases into those that training may ask about and those that are kept for a benchmark."""

from __future__ import annotations

from collections.abc import Iterable

from medssr.config.groups import Split
from medssr.errors import InputError
from medssr.knowledge.facts import Entity
from medssr.knowledge.graph.structure import disease_id
from medssr.utils.seeding import derive_seed

_NUM_SEEDS = 2**63


def is_held_out(disease: str, share: float) -> bool:
    """Returns whether a disease is kept for a benchmark: by the hash of its id, in about the given share of cases.

    It does not depend on a seed. All lists with Orphanet's numbers have the same split; a list without them has ids by
    names (`disease_id`), and another split. A greater share keeps the same diseases and more.

    Example:
        >>> is_held_out("ORPHA:324", 0.0), is_held_out("ORPHA:324", 1.0)
        (False, True)
    """
    return derive_seed("held-out disease", disease) < share * _NUM_SEEDS


def in_split(entities: Iterable[Entity], share: float, split: Split) -> list[Entity]:
    """Returns the diseases of a split, in their order.

    Raises:
        InputError: When there is none.
    """
    kept = [entity for entity in entities if is_held_out(disease_id(entity), share) == (split is Split.held_out)]
    if not kept:
        problem = f"no disease is in it with synthesis.held_out_share={share}; change the share."
        raise InputError(f"synthesis.split={split.value}: {problem}")
    return kept
