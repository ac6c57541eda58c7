"""Chooses wrong options: diseases that share findings with the answer, but fit the patient clearly worse."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from medssr.knowledge.entities.orphanet_facts import Relatives
from medssr.knowledge.graph import Edge, Profiles
from medssr.knowledge.graph.profiles import UNKNOWN_FREQUENCY
from medssr.knowledge.graph.structure import FINDING
from medssr.synthesis.graph_questions.patients import Patient, is_in_name, tellable
from medssr.synthesis.graph_questions.wording import can_be_denied, can_be_of_one_gene, first_years, sex_of

# So many times as many diseases as are needed are looked at together.
_WINDOW = 4
# The most diseases that are looked at for one question.
_MOST_TRIED = 200
# A finding that more of the diseases have argues for none of them: annotations are incomplete.
_MOST_DISEASES = 0.05
# A finding is worth looking for when so many patients with another disease have it, and so few with the answer.
_OFTEN, _SELDOM = 0.3, 0.1


@dataclass(frozen=True, slots=True)
class Difficulty:
    """How hard questions are.

    Attributes:
        min_findings: The fewest findings of a vignette.
        max_findings: The most findings of a vignette.
        max_absent: The most findings that a vignette says are absent.
        distractor_similarity: 0 to 1: 1 takes the diseases most similar to the answer, 0 the least similar that share a
            finding.
        min_odds: How many times as likely as under each distractor the vignette is under the answer, at least.
    """

    min_findings: int
    max_findings: int
    max_absent: int
    distractor_similarity: float
    min_odds: float


class World:
    """Diseases that questions can be about, and those that they are told from.

    Attributes:
        profiles: Of the whole graph.
        members: Ids of the diseases that may be named; others only count for how common findings are.
    """

    def __init__(self, profiles: Profiles, names: Collection[str]) -> None:
        self.profiles = profiles
        graph = profiles.graph
        self.id_of = {graph.nodes[disease].name: disease for disease in profiles.ids}
        kept = set(names)
        self.members = frozenset(disease for name, disease in self.id_of.items() if name in kept)
        self._tellable: dict[str, list[Edge]] = {}

    def tellable(self, disease: str) -> list[Edge]:
        """Returns the edges to the findings of a disease that can be told without giving its name away."""
        if disease not in self._tellable:
            self._tellable[disease] = tellable(self.profiles, disease)
        return self._tellable[disease]

    def related_names(self, disease: str) -> frozenset[str]:
        """Returns the names of a disease and of those that are kinds of it, or that it is a kind of."""
        return self._relatives.names(self._numbers[disease])

    def genes_of_relatives(self, disease: str) -> frozenset[str]:
        """Returns the ids of the genes of a disease and of its relatives."""
        return self._relatives.genes(self._numbers[disease])

    def diseases_of_gene(self, gene: str) -> list[str]:
        """Returns the diseases that have findings and an edge to the gene."""
        return self._by_gene.get(gene, [])

    def similar(self, disease: str, similarity: float, num_needed: int) -> Iterator[list[str]]:
        """Yields diseases to tell one from: first a group of the wanted similarity, then one by one those beyond.

        Left out are relatives, and diseases of the same gene.
        """
        order, values = self.profiles.ranked(disease)
        is_member = self._is_member[order]
        order = order[is_member]
        num_sharing = int(np.count_nonzero(values[is_member] > 0))
        window = _WINDOW * num_needed
        start = round((1 - similarity) * max(0, num_sharing - window))
        numbers = np.concatenate([order[start:], order[:start][::-1]])[: window + _MOST_TRIED]
        names = self.related_names(disease)
        genes = set(self.profiles.genes[disease])
        others = (
            other
            for other in (self.profiles.ids[number] for number in numbers)
            if self.profiles.graph.nodes[other].name not in names and genes.isdisjoint(self.profiles.genes[other])
        )
        yield list(islice(others, window))
        for other in others:
            yield [other]

    @cached_property
    def _is_member(self) -> NDArray[np.bool_]:
        return np.array([disease in self.members for disease in self.profiles.ids])

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {disease: number for number, disease in enumerate(self.profiles.ids)}

    @cached_property
    def _relatives(self) -> Relatives:
        nodes = [self.profiles.graph.nodes[disease] for disease in self.profiles.ids]
        return Relatives(
            [
                {
                    "label": node.name,
                    # "Osteopetrosis, autosomal recessive 5" is a kind of "Osteopetrosis".
                    "synonyms": (*node.synonyms, node.name.partition(",")[0]),
                    "genes": [{"symbol": gene} for gene in self.profiles.genes[node.id]],
                }
                for node in nodes
            ]
        )

    @cached_property
    def _by_gene(self) -> dict[str, list[str]]:
        by_gene: defaultdict[str, list[str]] = defaultdict(list)
        for disease in self.profiles.ids:
            for gene in self.profiles.genes[disease]:
                by_gene[gene].append(disease)
        return dict(by_gene)


@dataclass(frozen=True, slots=True)
class Choice:
    """Wrong options for a vignette.

    Attributes:
        values: Ids of diseases or of genes.
        absent: Ids of the findings that the patient does not have.
        odds: How many times as likely as under the best-fitting distractor the vignette is under the answer.
    """

    values: tuple[str, ...]
    absent: tuple[str, ...]
    odds: float


def choose_diseases(
    world: World, patient: Patient, num_needed: int, difficulty: Difficulty, rng: random.Random
) -> Choice | None:
    """Returns diseases as wrong options for the diagnosis; None where too few fit clearly worse than the answer."""
    return _choose(world, patient, num_needed, difficulty, rng, lambda disease: (disease, [disease]))


def choose_genes(
    world: World, patient: Patient, num_needed: int, difficulty: Difficulty, rng: random.Random
) -> Choice | None:
    """Returns genes as wrong options for the gene of the patient's disease; None where there are too few.

    No disease of such a gene fits the vignette nearly as well as the answer.
    """
    related = world.genes_of_relatives(patient.disease)

    def gene_of(disease: str) -> tuple[str, list[str]] | None:
        genes = world.profiles.genes[disease]
        name = world.profiles.graph.nodes[disease].name
        if len(genes) != 1 or genes[0] in related or not can_be_of_one_gene(name):
            return None
        return genes[0], world.diseases_of_gene(genes[0])

    return _choose(world, patient, num_needed, difficulty, rng, gene_of)


def _choose(
    world: World,
    patient: Patient,
    num_needed: int,
    difficulty: Difficulty,
    rng: random.Random,
    option_of: Callable[[str], tuple[str, list[str]] | None],
) -> Choice | None:
    """Returns the options that `option_of` makes of diseases, each with the diseases that must fit clearly worse."""
    groups = world.similar(patient.disease, difficulty.distractor_similarity, num_needed)
    window = next(groups)
    rng.shuffle(window)
    # First those that share the most telling findings with the patient, not with the disease alone.
    window.sort(key=lambda other: -_shared_information(world.profiles, other, patient))
    absent = _absent(world, patient, window[:num_needed], rng.randint(0, difficulty.max_absent))
    evidence = patient.evidence(absent)
    fit_of_disease = world.profiles.fit(patient.disease, evidence)
    chosen: dict[str, float] = {}
    for other in (disease for group in ([window], groups) for diseases in group for disease in diseases):
        option = option_of(other)
        if option is None or option[0] in chosen:
            continue
        margin = fit_of_disease - max(world.profiles.fit(disease, evidence) for disease in option[1])
        if margin >= math.log(difficulty.min_odds):
            chosen[option[0]] = margin
        if len(chosen) == num_needed:
            return Choice(tuple(chosen), tuple(absent), math.exp(min(chosen.values())))
    return None


def _shared_information(profiles: Profiles, disease: str, patient: Patient) -> float:
    """Returns the information content of the patient's findings that the disease is annotated with."""
    shared = [edge.tail for edge in patient.edges if profiles.has(disease, edge.tail)]
    return sum(map(profiles.information, shared))


def _absent(world: World, patient: Patient, others: Sequence[str], count: int) -> list[str]:
    """Returns findings that tell the answer from others by their absence; those that the source excludes come first."""
    profiles = world.profiles
    edges = profiles.graph.edges_from(patient.disease, FINDING)
    # What no disease has tells none from another.
    excluded = [edge for edge in edges if edge.is_excluded and edge.tail in profiles.num_with]
    frequent = [
        edge for other in others for edge in world.tellable(other) if (edge.frequency or UNKNOWN_FREQUENCY) >= _OFTEN
    ]
    kept: list[str] = []
    present = [edge.tail for edge in patient.edges]
    for edge in [*excluded, *frequent]:
        name = profiles.graph.nodes[edge.tail].name
        if (
            len(kept) < count
            and can_be_denied(name)
            and (edge.sex or sex_of(name)) in (None, patient.sex)
            and (patient.years is None or first_years(name) <= patient.years)
            and not any(profiles.is_related(edge.tail, other) for other in (*present, *kept))
            and profiles.probability(patient.disease, edge.tail) <= _SELDOM
        ):
            kept.append(edge.tail)
    return kept


@dataclass(frozen=True, slots=True)
class Contrast:
    """A finding that one disease has and another lacks, and findings that do not speak for the one.

    Attributes:
        second: Id of the other disease.
        truth: The edge to the finding.
        wrong: Ids of the other findings.
        odds: How many times as much for the first disease the finding speaks as the best of the others.
    """

    second: str
    truth: Edge
    wrong: tuple[str, ...]
    odds: float


def choose_contrast(
    world: World, first: str, num_wrong: int, difficulty: Difficulty, rng: random.Random
) -> Contrast | None:
    """Returns another disease, a finding that it lacks, and wrong ones, which it has; None if there are none."""
    groups = world.similar(first, difficulty.distractor_similarity, num_wrong)
    window = next(groups)
    rng.shuffle(window)
    for second in window:
        contrast = _contrast(world, first, second, num_wrong, difficulty.min_odds, rng)
        if contrast is not None:
            return contrast
    return None


def _contrast(
    world: World, first: str, second: str, num_wrong: int, min_odds: float, rng: random.Random
) -> Contrast | None:
    profiles = world.profiles
    nodes = profiles.graph.nodes
    names = [name for disease in (first, second) for name in (nodes[disease].name, *nodes[disease].synonyms)]

    def ratio(finding: str) -> float:
        """Returns how many times as likely the finding is in the first disease as in the second."""
        return profiles.probability(first, finding) / profiles.probability(second, finding)

    def askable(edges: Sequence[Edge]) -> list[Edge]:
        return [edge for edge in edges if not is_in_name(nodes[edge.tail].name, names)]

    truths = [
        edge
        for edge in askable(world.tellable(first))
        if profiles.probability(first, edge.tail) >= _OFTEN
        and not profiles.has(second, edge.tail)
        and ratio(edge.tail) >= min_odds
        and profiles.num_with[edge.tail] <= _MOST_DISEASES * len(profiles.ids)
    ]
    tails = dict.fromkeys(edge.tail for edge in askable([*world.tellable(first), *world.tellable(second)]))
    others = [finding for finding in tails if profiles.has(second, finding)]
    rng.shuffle(truths)
    rng.shuffle(others)
    # Findings of both diseases are the harder ones to leave aside.
    others.sort(key=lambda finding: not profiles.has(first, finding))
    for truth in truths:
        most = min(1.0, ratio(truth.tail) / min_odds)
        wrong: list[str] = []
        for finding in others:
            if ratio(finding) <= most and not any(
                profiles.is_related(finding, other) for other in (truth.tail, *wrong)
            ):
                wrong.append(finding)
            if len(wrong) == num_wrong:
                return Contrast(second, truth, tuple(wrong), ratio(truth.tail) / max(map(ratio, wrong)))
    return None
