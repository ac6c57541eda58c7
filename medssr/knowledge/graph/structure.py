"""The records of a knowledge graph: typed nodes, and edges with relation, source and, where it is known, frequency."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from medssr.knowledge.facts import Entity
from medssr.knowledge.names import normalize_name

# Relations that have a meaning of their own in this package; a fact of any other relation is an edge of its name.
FINDING = "finding"
GENE = "gene"
INHERITANCE = "inheritance"
ONSET = "onset"
DEATH = "death"
IS_A = "is_a"


@dataclass(frozen=True, slots=True)
class Node:
    """One thing that edges are about.

    Attributes:
        id: Unique in its graph: "ORPHA:324", "HP:0001250", "gene:GLA".
        kind: "disease", "finding", "gene", "inheritance", "onset" ...
        name: Its name as a sentence has it.
        synonyms: Its other names.
    """

    id: str
    kind: str
    name: str
    synonyms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Edge:
    """One statement: the head stands in the relation to the tail.

    Attributes:
        head: Id of a node.
        relation: "finding", "gene", "inheritance", "onset", "death", "is_a" (from a finding to a more general one) ...
        tail: Id of a node.
        source: Where the statement is from.
        frequency: The share of patients of whom it is true, above 0 and at most 1; None where it is unknown.
        is_excluded: Whether the source says that patients with the disease do not have the finding.
        sex: "female" or "male" where only these patients can have the finding.
    """

    head: str
    relation: str
    tail: str
    source: str
    frequency: float | None = None
    is_excluded: bool = False
    sex: str | None = None


@dataclass(frozen=True, slots=True)
class Age:
    """An age at which diseases begin.

    Attributes:
        key: Orphanet's word for it.
        when: The same as the end of a sentence: "in childhood".
        first: Years at which it starts.
        last: Years at which it ends.
    """

    key: str
    when: str
    first: float
    last: float


# Orphanet's ages of onset, in its order and with its bounds; the last bound is this project's.
AGES = {
    age.key: age
    for age in (
        Age("Antenatal", "before birth", 0.0, 0.0),
        Age("Neonatal", "in the first weeks of life", 0.0, 28 / 365),
        Age("Infancy", "in infancy", 28 / 365, 2.0),
        Age("Childhood", "in childhood", 2.0, 11.0),
        Age("Adolescent", "in adolescence", 12.0, 18.0),
        Age("Adult", "in adulthood", 19.0, 65.0),
        Age("Elderly", "in old age", 66.0, 85.0),
    )
}


class KnowledgeGraph:
    """Nodes by their ids, and edges that can be asked for by head and relation.

    Args:
        nodes: All nodes.
        edges: All edges; both ends of each are nodes.
        version: What the graph was made from, for reports.
    """

    def __init__(self, nodes: Iterable[Node], edges: Iterable[Edge], version: str) -> None:
        self.nodes: Mapping[str, Node] = {node.id: node for node in nodes}
        self.edges = tuple(edges)
        self.version = version
        self._from: defaultdict[tuple[str, str], list[Edge]] = defaultdict(list)
        for edge in self.edges:
            assert edge.head in self.nodes, edge
            assert edge.tail in self.nodes, edge
            self._from[edge.head, edge.relation].append(edge)

    def edges_from(self, head: str, relation: str) -> list[Edge]:
        """Returns the edges of a relation that start at a node, in the order in which they were given."""
        return self._from.get((head, relation), [])

    def of_kind(self, kind: str) -> list[Node]:
        """Returns the nodes of a kind."""
        return [node for node in self.nodes.values() if node.kind == kind]

    def general(self, finding: str) -> frozenset[str]:
        """Returns the ids of all findings that are more general than one, by any number of `is_a` edges."""
        more_general: set[str] = set()
        waiting = [finding]
        while waiting:
            for edge in self.edges_from(waiting.pop(), IS_A):
                if edge.tail not in more_general:
                    more_general.add(edge.tail)
                    waiting.append(edge.tail)
        return frozenset(more_general)


def disease_id(entity: Entity) -> str:
    """Returns the id of the node of a disease: its number in Orphanet, else its normalised name.

    Example:
        >>> disease_id(Entity("Fabry disease", True, orphacode="324")), disease_id(Entity("Gout", False))
        ('ORPHA:324', 'disease:gout')
    """
    return f"disease:{normalize_name(entity.name)}" if entity.orphacode is None else f"ORPHA:{entity.orphacode}"
