"""The rare diseases of Orphanet, with facts read from the text of GHR."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from medssr.knowledge.entities.orphanet import OrphanetDisease, OrphanetEntities
from medssr.knowledge.entities.orphanet_facts import tells
from medssr.knowledge.facts import Entity, Fact
from medssr.knowledge.ghr import GhrPage, read_ghr
from medssr.knowledge.names import all_keys, join_keys, normalize_name

log = logging.getLogger(__name__)

# Orphanet's words for a pattern of inheritance that it does not know.
_UNKNOWN_INHERITANCE = frozenset({"Unknown", "No data available", "Not yet documented"})
_SHORTEST_SYNONYM = 7  # Characters; shorter ones are mostly abbreviations, which several diseases share.


@dataclass(frozen=True, slots=True)
class MergeCounts:
    """What came of joining GHR's pages to Orphanet's diseases.

    Attributes:
        num_pages: Pages.
        num_joined: Pages that were joined to a disease.
        num_ambiguous: Pages that fit several diseases, or a disease that another page fits; they were left out.
        num_agreeing: Facts that both state, by relation.
        num_conflicts: Facts on which they differ, by relation; they were dropped.
        num_added: Facts that GHR alone states, by relation.
    """

    num_pages: int
    num_joined: int
    num_ambiguous: int
    num_agreeing: dict[str, int] = field(default_factory=dict)
    num_conflicts: dict[str, int] = field(default_factory=dict)
    num_added: dict[str, int] = field(default_factory=dict)


class OrphanetGhrEntities:
    """The rare diseases of Orphanet, with facts that GHR's text adds and without those that it contradicts.

    What is rare is Orphanet's to say: GHR has common diseases too.

    Attributes:
        path: Orphanet's entries; see `OrphanetEntities`.
        ghr_path: MedQuAD as JSONL; see `read_ghr`.
        require_prevalence: See `OrphanetEntities`.
        weight_by_prevalence: See `OrphanetEntities`.
    """

    def __init__(
        self, path: Path | str, ghr_path: Path | str, require_prevalence: bool, weight_by_prevalence: bool
    ) -> None:
        self._orphanet = OrphanetEntities(path, require_prevalence, weight_by_prevalence)
        self.ghr_path = Path(ghr_path)

    @property
    def left_out(self) -> Mapping[str, int]:
        """How many of Orphanet's entries were left out, by reason."""
        return self._orphanet.left_out

    def entities(self) -> list[Entity]:
        """Returns the rare diseases in Orphanet's order.

        Raises:
            InputError: As `OrphanetEntities` and `read_ghr` do.
        """
        entities, counts = merge_ghr(self._orphanet.diseases(), read_ghr(self.ghr_path))
        log.info("GHR and Orphanet: %s", counts)
        return entities


def merge_ghr(diseases: Sequence[OrphanetDisease], pages: Sequence[GhrPage]) -> tuple[list[Entity], MergeCounts]:
    """Returns the diseases with what GHR adds, and counts.

    A fact that both state keeps Orphanet as its source. One on which they differ is dropped. A gene or pattern that GHR
    alone states is added where Orphanet names none at all, and a gene only by a symbol that Orphanet uses: GHR has old
    symbols, and the new one could be a distractor. A protein is added where both name the same gene.

    Args:
        diseases: The rare diseases.
        pages: GHR's pages.
    """
    joined, num_ambiguous = _join(diseases, pages)
    symbols = frozenset(gene for disease in diseases for gene in disease.genes)
    agreeing: Counter[str] = Counter()
    conflicts: Counter[str] = Counter()
    added: Counter[str] = Counter()
    entities = []
    for number, disease in enumerate(diseases):
        page = joined.get(number)
        if page is None:
            entities.append(disease.entity)
            continue
        stated = {fact.relation: fact for fact in page.facts}
        listed = {fact.relation: fact for fact in disease.entity.facts}
        in_both = listed.keys() & stated.keys()
        contradicted = {relation for relation in in_both if not _agree(listed[relation], stated[relation])}
        agreed = in_both - contradicted
        new = [fact for fact in page.facts if _is_new(fact, disease, agreed, symbols)]
        agreeing.update(agreed)
        conflicts.update(contradicted)
        added.update(fact.relation for fact in new)
        kept = [fact for fact in disease.entity.facts if not _is_contradicted(fact, contradicted)]
        facts = tuple(_widened(fact, disease, page) for fact in (*kept, *new))
        entities.append(replace(disease.entity, facts=facts))
    counts = MergeCounts(len(pages), len(joined), num_ambiguous, dict(agreeing), dict(conflicts), dict(added))
    return _with_alike_proteins(entities), counts


def _join(diseases: Sequence[OrphanetDisease], pages: Sequence[GhrPage]) -> tuple[dict[int, GhrPage], int]:
    """Returns the page of each disease by the disease's index, and how many pages are ambiguous."""
    by_key: defaultdict[str, set[int]] = defaultdict(set)
    for number, disease in enumerate(diseases):
        for key in all_keys((disease.entity.name, *disease.entity.synonyms)):
            by_key[key].add(number)
    pages_of: defaultdict[int, list[GhrPage]] = defaultdict(list)
    num_ambiguous = 0
    for page in pages:
        matches = _matching_diseases(join_keys(page.name), by_key) or _matching_diseases(
            _long(all_keys(page.synonyms)), by_key
        )
        if len(matches) == 1:
            pages_of[matches.pop()].append(page)
        elif matches:
            num_ambiguous += 1
    joined = {number: of_one[0] for number, of_one in pages_of.items() if len(of_one) == 1}
    return joined, num_ambiguous + sum(len(of_one) for of_one in pages_of.values() if len(of_one) > 1)


def _matching_diseases(keys: Iterable[str], by_key: defaultdict[str, set[int]]) -> set[int]:
    return {number for key in keys for number in by_key.get(key, ())}


def _long(keys: Iterable[str]) -> list[str]:
    return [key for key in keys if " " in key or len(key) >= _SHORTEST_SYNONYM]


def _agree(first: Fact, second: Fact) -> bool:
    return first.value.casefold() == second.value.casefold()


def _is_new(fact: Fact, disease: OrphanetDisease, agreed: set[str], symbols: frozenset[str]) -> bool:
    if tells(disease.entity.name, fact.value):
        return False
    if fact.relation == "gene":
        return not disease.genes and fact.value in symbols
    if fact.relation == "inheritance":
        return disease.inheritance <= _UNKNOWN_INHERITANCE
    return "gene" in agreed


def _is_contradicted(fact: Fact, contradicted: set[str]) -> bool:
    return fact.relation in contradicted or (fact.relation == "disease_of_gene" and "gene" in contradicted)


def _widened(fact: Fact, disease: OrphanetDisease, page: GhrPage) -> Fact:
    """Returns the fact with what page and relatives name besides, so that it is no distractor."""
    named = {"gene": page.genes | disease.related_genes, "inheritance": page.patterns}.get(fact.relation, frozenset())
    return replace(fact, also_true=tuple(sorted({*fact.also_true, *named} - {fact.value})))


def _with_alike_proteins(entities: list[Entity]) -> list[Entity]:
    """Returns the diseases; of two proteins of which one's words are all in the other, neither distracts from it."""
    words = {
        fact.value: frozenset(normalize_name(fact.value).split())
        for entity in entities
        for fact in entity.facts
        if fact.relation == "protein"
    }

    def widened(fact: Fact) -> Fact:
        if fact.relation != "protein":
            return fact
        words_of_value = words[fact.value]
        alike = (
            name
            for name, other in words.items()
            if name != fact.value and (other <= words_of_value or words_of_value <= other)
        )
        return replace(fact, also_true=tuple(sorted(alike)))

    return [replace(entity, facts=tuple(widened(fact) for fact in entity.facts)) for entity in entities]
