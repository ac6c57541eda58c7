"""Builds a knowledge graph from the structured facts of diseases."""

from __future__ import annotations

from collections.abc import Iterable

from medssr.knowledge.facts import Entity, Fact
from medssr.knowledge.graph.structure import GENE, Edge, KnowledgeGraph, Node, disease_id
from medssr.knowledge.names import normalize_name

# Facts about names, which are synonyms of a node and no edges.
_NO_EDGES = frozenset({"disease_of_gene", "other_name"})


def graph_from_facts(entities: Iterable[Entity]) -> KnowledgeGraph:
    """Returns the graph of all facts: an edge from the disease for the value of a fact and for each further true value.

    A further gene is no edge. Values that are spelt alike are one node, so that two diseases with one finding are
    connected. Frequencies are unknown.

    Example:
        >>> graph = graph_from_facts([Entity("Fabry disease", True, facts=(Fact("gene", "GLA", "ORPHA:324"),))])
        >>> [(edge.head, edge.relation, edge.tail) for edge in graph.edges]
        [('disease:fabry disease', 'gene', 'gene:GLA')]
    """
    nodes: dict[str, Node] = {}
    edges: dict[tuple[str, str, str], Edge] = {}
    for entity in entities:
        head = disease_id(entity)
        nodes.setdefault(head, Node(head, "disease", entity.name, entity.synonyms))
        for fact in entity.facts:
            if fact.relation in _NO_EDGES:
                continue
            # A gene that is also true may be that of a related disease only.
            for value in (fact.value, *(() if fact.relation == GENE else fact.also_true)):
                tail = _value_id(fact, value)
                nodes.setdefault(tail, Node(tail, fact.relation, value))
                edges.setdefault((head, fact.relation, tail), Edge(head, fact.relation, tail, fact.source))
    return KnowledgeGraph(nodes.values(), edges.values(), "facts")


def _value_id(fact: Fact, value: str) -> str:
    # Case tells genes apart from words, and nothing else.
    return f"{fact.relation}:{value if fact.relation == GENE else normalize_name(value)}"
