"""Counts how many diseases of an entity list a corpus has passages on."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from medssr.knowledge.corpora import Passage
from medssr.knowledge.facts import Entity
from medssr.knowledge.names import all_keys

_NUM_EXAMPLES = 20


@dataclass(frozen=True, slots=True)
class EntityCoverage:
    """How many passages a corpus has on each disease of a list.

    Attributes:
        num_entities: Diseases in the list.
        num_covered: Diseases with at least one passage.
        num_passages: Passages in the corpus.
        num_joined_passages: Passages on at least one of the diseases.
        median_passages: The median number of passages over the covered diseases; 0 where there are none.
        passages_by_entity: The number of passages of each covered disease by its name.
        without: The first diseases of the list without a passage, as examples.
    """

    num_entities: int
    num_covered: int
    num_passages: int
    num_joined_passages: int
    median_passages: float
    passages_by_entity: dict[str, int]
    without: tuple[str, ...]


def entity_coverage(entities: Sequence[Entity], passages: Iterable[Passage]) -> EntityCoverage:
    """Returns how many of the diseases have passages, and how many each.

    A passage is on a disease when its title or one of its synonyms is a name of the disease, as `normalize_name` sees
    it. Of a title "article -- section" the article counts. Passages are taken one by one and not kept.

    Example:
        >>> passages = [Passage("1", "Fabry's Disease", "Pain."), Passage("2", "Fabry disease", "Rash.")]
        >>> entity_coverage([Entity("Fabry disease", True), Entity("Pompe disease", True)], passages).passages_by_entity
        {'Fabry disease': 2}
    """
    from statistics import median

    entities_by_key: defaultdict[str, list[int]] = defaultdict(list)
    for number, entity in enumerate(entities):
        for key in all_keys((entity.name, *entity.synonyms)):
            entities_by_key[key].append(number)
    counts: Counter[int] = Counter()
    num_passages = num_joined = 0
    for passage in passages:
        keys = all_keys((passage.title, passage.title.split(" -- ")[0], *passage.synonyms))
        matches = {number for key in keys for number in entities_by_key.get(key, ())}
        counts.update(matches)
        num_passages += 1
        num_joined += bool(matches)
    without = (entity.name for number, entity in enumerate(entities) if number not in counts)
    return EntityCoverage(
        num_entities=len(entities),
        num_covered=len(counts),
        num_passages=num_passages,
        num_joined_passages=num_joined,
        median_passages=median(counts.values()) if counts else 0,
        passages_by_entity={entities[number].name: counts[number] for number in sorted(counts)},
        without=tuple(name for name, _ in zip(without, range(_NUM_EXAMPLES), strict=False)),
    )
