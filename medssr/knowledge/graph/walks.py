"""Walks in a small graph of named things, as text: reading one, following it, and the steps that lead to its end.

A walk is written one step a line, "RELATION: NAME", and "RELATION of: NAME" against the direction of an edge. Its
graph is given by names, as a prompt shows it::

    organ: kidney
    organ of: Alport syndrome
    gene: COL4A5
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

_AGAINST = " of"


class NamedEdge(NamedTuple):
    """An edge between names: the head stands in the relation to the tail."""

    head: str
    relation: str
    tail: str


class WalkStep(NamedTuple):
    """A step to a neighbour. `relation` ends in " of" against the direction of the edge."""

    relation: str
    name: str

    @property
    def line(self) -> str:
        """The step as text."""
        return f"{self.relation}: {self.name}"


def reverse_relation(relation: str) -> str:
    """Returns the relation of the same edge in the other direction.

    Example:
        >>> reverse_relation("gene"), reverse_relation("gene of")
        ('gene of', 'gene')
    """
    return relation.removesuffix(_AGAINST) if relation.endswith(_AGAINST) else relation + _AGAINST


class NamedGraph:
    """Edges between names, which can be walked in both directions.

    Args:
        edges: The edges; each counts once.
    """

    def __init__(self, edges: Iterable[NamedEdge]) -> None:
        self.edges = tuple(dict.fromkeys(edges))
        self._steps: defaultdict[str, list[WalkStep]] = defaultdict(list)
        for head, relation, tail in self.edges:
            self._steps[head].append(WalkStep(relation, tail))
            self._steps[tail].append(WalkStep(reverse_relation(relation), head))

    def steps(self, name: str) -> list[WalkStep]:
        """Returns the steps that lead from a name to its neighbours, in the order of the edges."""
        return self._steps.get(name, [])

    def paths(self, start: str, end: str, num_steps: int, avoided: Iterable[str] = ()) -> list[tuple[WalkStep, ...]]:
        """Returns all paths of at most `num_steps` steps that visit no name twice, the shortest first.

        They are enumerated breadth first, as in arXiv 2405.13640. The path from a name to itself has no step.

        Args:
            start: Where they begin.
            end: Where they end.
            num_steps: The most steps.
            avoided: Names that they do not visit.

        Example:
            >>> graph = NamedGraph([NamedEdge("a", "r", "b"), NamedEdge("c", "r", "b"), NamedEdge("c", "s", "d")])
            >>> [" ".join(step.name for step in path) for path in graph.paths("a", "d", 3)]
            ['b c d']
        """
        paths = []
        waiting: list[tuple[tuple[WalkStep, ...], frozenset[str]]] = [((), frozenset([start, *avoided]))]
        for path, visited in waiting:
            here = path[-1].name if path else start
            if here == end:
                paths.append(path)
            elif len(path) < num_steps:
                steps = (step for step in self.steps(here) if step.name not in visited)
                waiting += [((*path, step), visited | {step.name}) for step in steps]
        return paths


@dataclass(frozen=True, slots=True)
class WalkTask:
    """A query (head, relation, ?) with the graph that it is answered in, without the edge that is asked for.

    Attributes:
        head: Where a walk begins.
        relation: What is asked of the head.
        tail: The answer: where a walk should end.
        graph: The edges that may be walked.
        max_steps: The most steps of a walk.
    """

    head: str
    relation: str
    tail: str
    graph: NamedGraph
    max_steps: int

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> WalkTask:
        """Returns the task of a record that `record` made; the provenance of a question has it as "walk".

        Raises:
            ValueError: When a field is missing, or is not what it should be.
        """
        try:
            graph = NamedGraph(NamedEdge(*edge) for edge in record["edges"])
            return cls(record["head"], record["relation"], record["tail"], graph, int(record["max_steps"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f'the field "walk" of its provenance is no walk ({error!r}).') from error

    def record(self) -> dict[str, Any]:
        """Returns the task as JSON."""
        edges = [list(edge) for edge in self.graph.edges]
        return {
            "head": self.head,
            "relation": self.relation,
            "tail": self.tail,
            "max_steps": self.max_steps,
            "edges": edges,
        }


@dataclass(frozen=True, slots=True)
class Walk:
    """What was read of a completion.

    Attributes:
        steps: Its steps until the first that its graph does not have, or one too many.
        is_whole: Whether there is no such step, and at least one step.
        end: Where its steps lead.
    """

    steps: tuple[WalkStep, ...]
    is_whole: bool
    end: str


def read_walk(text: str, task: WalkTask) -> Walk:
    r"""Returns the walk in a completion: its lines of the form "RELATION: NAME", up to the first line without a colon.

    Example:
        >>> graph = NamedGraph([NamedEdge("a", "r", "b"), NamedEdge("c", "r", "b")])
        >>> task = WalkTask("a", "s", "c", graph, 3)
        >>> walk = read_walk("r: b\nr of: c\nThe answer is A.", task)
        >>> walk.end, walk.is_whole
        ('c', True)
        >>> read_walk("r: b\nr: c\nThe answer is A.", task)
        Walk(steps=(WalkStep(relation='r', name='b'),), is_whole=False, end='b')
    """
    here = task.head
    steps: list[WalkStep] = []
    for line in text.strip().splitlines():
        relation, colon, name = line.strip().partition(": ")
        if not colon:
            break
        step = WalkStep(relation, name.strip())
        if len(steps) == task.max_steps or step not in task.graph.steps(here):
            return Walk(tuple(steps), is_whole=False, end=here)
        steps.append(step)
        here = step.name
    return Walk(tuple(steps), is_whole=bool(steps), end=here)


def correct_rests(task: WalkTask, steps: Sequence[WalkStep]) -> list[tuple[WalkStep, ...]]:
    """Returns all ways to go on correctly from a state of a walk, the shortest first; none if there is no correct way.

    A state is the steps so far. Where no path leads to the answer any more, the correct step is the one back, as in
    arXiv 2405.13640; at the start, and where no step is left, there is none.

    Example:
        >>> edges = [NamedEdge("a", "r", "b"), NamedEdge("c", "r", "b"), NamedEdge("c", "s", "d")]
        >>> task = WalkTask("a", "s", "d", NamedGraph([*edges, NamedEdge("a", "q", "e")]), 3)
        >>> correct_rests(task, [WalkStep("q", "e")])
        [(WalkStep(relation='q of', name='a'),)]
    """
    names = [task.head, *(step.name for step in steps)]
    num_left = task.max_steps - len(steps)
    rests = task.graph.paths(names[-1], task.tail, num_left, avoided=names[:-1])
    if rests or not steps or num_left < 1:
        return rests
    return [(WalkStep(reverse_relation(steps[-1].relation), names[-2]),)]
