"""Questions that are answered by a walk in a knowledge graph: (disease, relation, ?), whose own edge is masked."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from medssr.errors import InputError
from medssr.knowledge.facts import Entity
from medssr.knowledge.graph import KnowledgeGraph, disease_id
from medssr.knowledge.graph.walks import NamedEdge, NamedGraph, WalkStep, WalkTask
from medssr.questions import LETTERS, Question
from medssr.utils.seeding import derive_seed

_TRIES_PER_WALK = 20


@dataclass(frozen=True, slots=True)
class Exploration:
    """How the graph around a query is shown, which does not depend on its answer.

    Attributes:
        num_walks: The number of random walks whose edges are shown, 2 to 26.
        max_steps: The most steps of a walk.

    Raises:
        InputError: When a number is out of range.
    """

    num_walks: int
    max_steps: int

    def __post_init__(self) -> None:
        """Checks the ranges."""
        if not 2 <= self.num_walks <= len(LETTERS):
            raise InputError(f"num_walks: {self.num_walks}; 2 to {len(LETTERS)}, since each end is an option.")
        if self.max_steps < 1:
            raise InputError(f"max_steps: {self.max_steps}; at least 1.")


@dataclass(frozen=True, slots=True)
class WalkQueries:
    """The queries of one split.

    Attributes:
        questions: Those whose answer the explored edges reach, as questions with their answers.
        num_unreached: Queries whose answer they do not reach, or that have fewer than two ends.
    """

    questions: list[Question]
    num_unreached: int


def split_edges(
    graph: KnowledgeGraph, held_out_share: float
) -> tuple[list[NamedEdge], list[NamedEdge], list[NamedEdge]]:
    """Returns the edges that can be walked, and those that training and evaluation ask for.

    The edges of diseases are asked for, of which a hash holds out a share: evaluation asks for these, and no walk of
    either split may use them.

    Args:
        graph: The graph; what a source excludes is no edge.
        held_out_share: The share of the edges that are held out, 0 to 1.
    """
    walked, trained, held_out = [], [], []
    nodes = graph.nodes
    for edge in graph.edges:
        if edge.is_excluded:
            continue
        named = NamedEdge(nodes[edge.head].name, edge.relation.replace("_", " "), nodes[edge.tail].name)
        is_asked = nodes[edge.head].kind == "disease"
        if is_asked and derive_seed("held-out edge", *named) < held_out_share * 2**63:
            held_out.append(named)
            continue
        walked.append(named)
        if is_asked:
            trained.append(named)
    return walked, trained, held_out


def write_queries(
    queries: Iterable[NamedEdge],
    walked: Sequence[NamedEdge],
    true_edges: Iterable[NamedEdge],
    rare: Mapping[str, bool],
    exploration: Exploration,
    num_questions: int,
    seed: int,
) -> WalkQueries:
    """Returns questions for queries, in the order of the queries.

    Args:
        queries: The edges that are asked for.
        walked: The edges that can be walked; the one that is asked for is masked, in both directions.
        true_edges: All true edges: another true tail of a query is no end.
        rare: Whether a disease is rare, by its name.
        exploration: What is shown.
        num_questions: The most questions.
        seed: Of the walks and the order of edges and options.
    """
    explorer = _Explorer(NamedGraph(walked), exploration)
    tails: dict[tuple[str, str], set[str]] = {}
    for edge in true_edges:
        tails.setdefault((edge.head, edge.relation), set()).add(edge.tail)
    questions: list[Question] = []
    num_unreached = 0
    for query in queries:
        if len(questions) == num_questions:
            break
        rng = random.Random(derive_seed(seed, "walk query", *query))
        paths = explorer.walks(query, tails[query.head, query.relation] - {query.tail}, rng)
        ends = sorted({path[-1].name for path in paths})
        if len(ends) < 2 or query.tail not in ends:
            num_unreached += 1
            continue
        rng.shuffle(ends)
        task = WalkTask(query.head, query.relation, query.tail, _shown(query.head, paths, rng), exploration.max_steps)
        questions.append(_question(f"walk-{len(questions):06d}", task, ends, rare.get(query.head)))
    return WalkQueries(questions, num_unreached)


def rarity_of(graph: KnowledgeGraph, entities: Iterable[Entity]) -> dict[str, bool]:
    """Returns whether the diseases of a graph are rare, by their names in it, as far as the entities say so."""
    ids = ((disease_id(entity), entity.is_rare) for entity in entities)
    return {graph.nodes[name].name: is_rare for name, is_rare in ids if name in graph.nodes}


class _Explorer:
    """Draws random walks whose last step is over the relation that is asked for."""

    def __init__(self, graph: NamedGraph, exploration: Exploration) -> None:
        self._graph = graph
        self._exploration = exploration

    def walks(self, query: NamedEdge, not_ends: set[str], rng: random.Random) -> list[tuple[WalkStep, ...]]:
        """Returns different walks from the query's head, without its edge, that end at none of some names."""
        walks: dict[tuple[WalkStep, ...], None] = {}
        for _ in range(_TRIES_PER_WALK * self._exploration.num_walks):
            if len(walks) == self._exploration.num_walks:
                break
            walk = self._walk(query, rng)
            if walk is not None and walk[-1].name not in not_ends:
                walks[walk] = None
        return list(walks)

    def _walk(self, query: NamedEdge, rng: random.Random) -> tuple[WalkStep, ...] | None:
        steps: list[WalkStep] = []
        here, visited = query.head, {query.head}
        num_steps = rng.randint(1, self._exploration.max_steps)
        for number in range(num_steps):
            choices = [step for step in self._graph.steps(here) if step.name not in visited]
            if here == query.head:
                choices = [step for step in choices if (here, *step) != query]
            elif here == query.tail:
                choices = [step for step in choices if step.name != query.head]
            if number + 1 == num_steps:
                choices = [step for step in choices if step.relation == query.relation]
            if not choices:
                return None
            # A relation first, so that one with many edges does not hide the others.
            relation = rng.choice(list(dict.fromkeys(step.relation for step in choices)))
            step = rng.choice([step for step in choices if step.relation == relation])
            steps.append(step)
            here = step.name
            visited.add(here)
        return tuple(steps)


def _shown(head: str, paths: Iterable[Sequence[WalkStep]], rng: random.Random) -> NamedGraph:
    """Returns the graph of the edges of some walks, in a drawn order."""
    edges = list(dict.fromkeys(edge for path in paths for edge in _edges(head, path)))
    rng.shuffle(edges)
    return NamedGraph(edges)


def _edges(head: str, path: Iterable[WalkStep]) -> Iterator[NamedEdge]:
    here = head
    for step in path:
        relation = step.relation.removesuffix(" of")
        is_forward = relation == step.relation
        yield NamedEdge(here, relation, step.name) if is_forward else NamedEdge(step.name, relation, here)
        here = step.name


def _question(name: str, task: WalkTask, ends: Sequence[str], is_rare: bool | None) -> Question:
    edges = "\n".join(f"{edge.head}; {edge.relation}: {edge.tail}" for edge in task.graph.edges)
    return Question(
        id=name,
        stem=f"Walk from {task.head} to its {task.relation}.\nEdges:\n{edges}\nWhere does the walk end?",
        options=dict(zip(LETTERS, ends, strict=False)),
        answer=LETTERS[ends.index(task.tail)],
        source="graph_walk",
        entity=task.head,
        is_rare=is_rare,
        provenance={"walk": task.record()},
    )
