"""How common findings are among diseases, how alike two diseases are, and how well a disease fits a patient."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from medssr.knowledge.graph.structure import DEATH, FINDING, GENE, INHERITANCE, ONSET, Edge, KnowledgeGraph

# Stands above every finding: each disease has some finding.
_ANY = "any finding"
# The probability of a finding in a disease whose frequency nobody has stated.
UNKNOWN_FREQUENCY = 0.5
# Annotations are incomplete and diagnoses uncertain, so that nothing is impossible and nothing is sure.
LEAST_PROBABILITY = 0.001
# The probability that a patient's inheritance, or age of onset, is none of those that are stated for the disease.
MISMATCH = 0.01


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known about a patient.

    Attributes:
        present: Ids of the findings that the patient has.
        absent: Ids of the findings that were looked for and not found.
        inheritance: Id of the pattern of inheritance; None where it is not told.
        onset: Id of the age at which the disease began; None where it is not told.
    """

    present: tuple[str, ...]
    absent: tuple[str, ...] = ()
    inheritance: str | None = None
    onset: str | None = None


def information_content(num_with: int, num_diseases: int) -> float:
    """Returns -ln(num_with / num_diseases): how much a finding says that so many diseases have (Resnik 1995).

    Example:
        >>> information_content(4, 4), round(information_content(1, 4), 4)
        (0.0, 1.3863)
    """
    return math.log(num_diseases / num_with)


def weighted_jaccard(shared: NDArray[np.float64], first: float, second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the similarities of one set of weighted members with others, from 0 to 1.

    With information content as weight this is simGIC (Pesquita et al. 2007).

    Args:
        shared: [n], weight of the members that the set shares with each other one.
        first: Weight of its members.
        second: [n], weight of the members of each other one.

    Example:
        >>> weighted_jaccard(np.array([2.0, 0.0]), 3.0, np.array([5.0, 0.0])).round(4).tolist()
        [0.3333, 0.0]
    """
    union = first + second - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def finding_probability(
    finding: str,
    general: Collection[str],
    frequencies: Mapping[str, float],
    excluded: Collection[str],
    num_with: Mapping[str, int],
) -> float:
    """Returns the probability that a patient with a disease has a finding.

    Where the disease is annotated with the finding, or one that implies it, that is the frequency. Where it has a more
    general one g, it is the frequency of g times the share of the diseases with g that have the finding, n(finding) /
    n(g): the greatest over all g. As each disease has "any finding", no probability is below the share of diseases with
    the finding, except where the disease is said not to have it.

    Args:
        finding: Its id.
        general: Ids of all more general findings, the most general one of all included.
        frequencies: Frequency by id of the findings that the disease has, more general ones included.
        excluded: Ids of the findings that the disease does not have.
        num_with: Number of diseases by id of a finding, counted with more special findings.

    Returns:
        A probability from `LEAST_PROBABILITY` to 1 - `LEAST_PROBABILITY`.

    Example:
        Of 8 diseases 4 have an eye disease and 1 has a cataract. A disease with an eye disease in 80% of patients:

        >>> num_with = {"any": 8, "eye": 4, "cataract": 1}
        >>> finding_probability("cataract", ["eye", "any"], {"any": 1.0, "eye": 0.8}, [], num_with)
        0.2
        >>> finding_probability("cataract", ["eye", "any"], {"any": 1.0}, [], num_with)
        0.125
        >>> finding_probability("cataract", ["eye", "any"], {"any": 1.0}, ["eye"], num_with)
        0.001
    """
    if finding in excluded or any(term in excluded for term in general):
        return LEAST_PROBABILITY
    if finding in frequencies:
        probability = frequencies[finding]
    else:
        probability = max(frequencies.get(term, 0.0) / num_with[term] for term in general) * num_with[finding]
    return min(max(probability, LEAST_PROBABILITY), 1 - LEAST_PROBABILITY)


def log_likelihood(present: Sequence[float], absent: Sequence[float], matches: Sequence[float] = ()) -> float:
    """Returns the log of the probability that a patient with a disease is like this one, findings being independent.

    Args:
        present: Probabilities in the disease of the findings that the patient has.
        absent: Probabilities in the disease of the findings that the patient does not have.
        matches: Probabilities in the disease of what else is known: inheritance, age of onset.

    Example:
        >>> round(math.exp(log_likelihood([0.8, 0.5], [0.25], [0.9])), 6)
        0.27
    """
    return sum(map(math.log, [*present, *(1 - probability for probability in absent), *matches]))


def match_probability(value: str, stated: Collection[str], share: float) -> float:
    """Returns the probability that a patient with a disease has this inheritance, or this age of onset.

    Args:
        value: Id of the patient's.
        stated: Ids of those that the disease has, each equally likely; none where they are unknown.
        share: The share with the value of the diseases for which something is stated; it holds where the disease's are
            unknown.

    Example:
        >>> stated = ["recessive", "dominant"]
        >>> [match_probability("dominant", stated, 0.3), match_probability("X-linked", stated, 0.1)]
        [0.495, 0.01]
        >>> match_probability("dominant", [], 0.3)
        0.3
    """
    if not stated:
        return max(share, MISMATCH)
    return (1 - MISMATCH) / len(stated) if value in stated else MISMATCH


class Profiles:
    """What a graph says about each of its diseases, in a form that is quick to compare.

    Attributes:
        graph: The graph.
        ids: Ids of the diseases that have a finding, in the graph's order.
        genes: Ids of the genes by id of a disease.
        inheritance: Ids of the patterns of inheritance by id of a disease.
        onset: Ids of the ages of onset by id of a disease.
        death: Ids of the ages at which patients die, by id of a disease.
        findings: The edges to findings that are not excluded, by id of a disease.
        num_with: Number of diseases by id of a finding, counted with more special findings.
    """

    def __init__(self, graph: KnowledgeGraph) -> None:
        self.graph = graph
        diseases = [node.id for node in graph.of_kind("disease")]
        self.genes = {disease: _tails(graph, disease, GENE) for disease in diseases}
        self.inheritance = {disease: _tails(graph, disease, INHERITANCE) for disease in diseases}
        self.onset = {disease: _tails(graph, disease, ONSET) for disease in diseases}
        self.death = {disease: _tails(graph, disease, DEATH) for disease in diseases}
        edges = {disease: graph.edges_from(disease, FINDING) for disease in diseases}
        self.findings = {disease: [edge for edge in edges[disease] if not edge.is_excluded] for disease in diseases}
        self._excluded = {
            disease: frozenset(edge.tail for edge in edges[disease] if edge.is_excluded) for disease in diseases
        }
        self.ids = [disease for disease in diseases if self.findings[disease]]
        self._general = {node.id: (*graph.general(node.id), _ANY) for node in graph.of_kind(FINDING)}
        self._frequencies = {disease: self._with_general(self.findings[disease]) for disease in self.ids}
        self.num_with: dict[str, int] = {}
        for frequencies in self._frequencies.values():
            for finding in frequencies:
                self.num_with[finding] = self.num_with.get(finding, 0) + 1
        self._shares = {
            value: sum(value in values for values in table.values()) / sum(map(bool, table.values()))
            for table in (self.inheritance, self.onset)  # diseases whose own are unknown do not count
            for value in {value for values in table.values() for value in values}
        }
        self._index()

    def information(self, finding: str) -> float:
        """Returns the information content of a finding that some disease has."""
        return information_content(self.num_with[finding], len(self.ids))

    def is_related(self, first: str, second: str) -> bool:
        """Returns whether two findings are the same, or one is more general than the other."""
        return first == second or first in self._general[second] or second in self._general[first]

    def has(self, disease: str, finding: str) -> bool:
        """Returns whether a disease is annotated with a finding or one that implies it."""
        return finding in self._frequencies[disease]

    def general(self, finding: str) -> tuple[str, ...]:
        """Returns the ids of all findings that are more general than one."""
        return self._general[finding][:-1]

    def probability(self, disease: str, finding: str) -> float:
        """Returns the probability that a patient with the disease has the finding."""
        return finding_probability(
            finding, self._general[finding], self._frequencies[disease], self._excluded[disease], self.num_with
        )

    def fit(self, disease: str, evidence: Evidence) -> float:
        """Returns the log-likelihood of a patient under a disease."""
        matches = [
            match_probability(value, stated[disease], self._shares[value])
            for value, stated in ((evidence.inheritance, self.inheritance), (evidence.onset, self.onset))
            if value is not None
        ]
        return log_likelihood(
            [self.probability(disease, finding) for finding in evidence.present],
            [self.probability(disease, finding) for finding in evidence.absent],
            matches,
        )

    def ranked(self, disease: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Returns the indices in `ids` of all other diseases, the most similar one first, and their similarities.

        Similarity is the `weighted_jaccard` of the findings of both, general ones included, weighted by information
        content. Ties are in the order of `ids`.
        """
        return self._ranked(disease)

    def _index(self) -> None:
        """Computes what `ranked` reads: which diseases have a finding, and the information content of a disease."""
        having: dict[str, list[int]] = {}
        for number, disease in enumerate(self.ids):
            for finding in self._frequencies[disease]:
                having.setdefault(finding, []).append(number)
        self._number = {disease: number for number, disease in enumerate(self.ids)}
        self._having = {finding: np.array(numbers) for finding, numbers in having.items()}
        # [number of diseases], in nats.
        self._information = np.array([sum(map(self.information, self._frequencies[disease])) for disease in self.ids])
        self._ranked = lru_cache(maxsize=1024)(self._compute_ranked)

    def _compute_ranked(self, disease: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        number = self._number[disease]
        shared = np.zeros(len(self.ids))
        for finding in self._frequencies[disease]:
            shared[self._having[finding]] += self.information(finding)
        values = weighted_jaccard(shared, self._information[number], self._information)
        values[number] = -1.0
        order = np.argsort(-values, kind="stable")[:-1]
        return order, values[order]

    def _with_general(self, edges: Sequence[Edge]) -> dict[str, float]:
        """Returns the frequency of each finding of a disease, and of more general ones: the greatest below it."""
        frequencies = {_ANY: 1.0}
        for edge in edges:
            frequency = UNKNOWN_FREQUENCY if edge.frequency is None else edge.frequency
            for finding in (edge.tail, *self._general[edge.tail]):
                frequencies[finding] = max(frequency, frequencies.get(finding, 0.0))
        return frequencies


def _tails(graph: KnowledgeGraph, disease: str, relation: str) -> tuple[str, ...]:
    return tuple(edge.tail for edge in graph.edges_from(disease, relation))
