"""The generator of questions over several edges of a knowledge graph."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

from medssr.config import Split
from medssr.errors import InputError
from medssr.knowledge.entities import EntityList
from medssr.knowledge.entities.held_out import in_split
from medssr.knowledge.facts import Entity, builtin_common_diseases
from medssr.knowledge.graph import AGES, Edge, KnowledgeGraph, Profiles, graph_from_facts
from medssr.knowledge.graph.structure import GENE, INHERITANCE, ONSET
from medssr.questions import LETTERS
from medssr.synthesis.generators import Draft, Outcome, Rejection
from medssr.synthesis.graph_questions.distractors import (
    Difficulty,
    World,
    choose_contrast,
    choose_diseases,
    choose_genes,
)
from medssr.synthesis.graph_questions.patients import Patient, draw_patient
from medssr.synthesis.graph_questions.wording import Told, can_be_of_one_gene, told, vignette, wordings
from medssr.synthesis.plan import Draw, SynthesisRequest

DIAGNOSIS, GENE_OF_DISEASE, CONTRAST = "diagnosis", "gene", "contrast"
KINDS = (DIAGNOSIS, GENE_OF_DISEASE, CONTRAST)


@runtime_checkable
class HasGraph(Protocol):
    """An entity list that brings a knowledge graph of its diseases."""

    def graph(self) -> KnowledgeGraph:
        """Returns the graph."""
        ...


class GraphGenerator:
    """Asks for the diagnosis of a vignette, for the gene behind it, or for the finding that tells two diseases apart.

    The graph is that of the entity list, where it has one, and else the graph of its diseases' facts. Questions without
    injected knowledge are about the built-in common diseases. The truth and the edges that a question uses stand in its
    provenance.

    Args:
        entities: The rare diseases that requests may name.
        num_options: Options of a question, the right one included.
        kinds: What is asked, in turn: some of "diagnosis", "gene", "contrast".
        min_findings: See `Difficulty`.
        max_findings: See `Difficulty`.
        max_absent: See `Difficulty`.
        distractor_similarity: See `Difficulty`.
        min_odds: See `Difficulty`.
        held_out_share: Share of the rare diseases that are kept for a benchmark.
        split: "train" or "held_out": which diseases are asked about; wrong options are of the same ones.

    Raises:
        InputError: When a setting is out of bounds, or too few diseases have findings.
    """

    name: ClassVar[str] = "graph"

    def __init__(
        self,
        entities: EntityList,
        num_options: int,
        kinds: Sequence[str],
        min_findings: int,
        max_findings: int,
        max_absent: int,
        distractor_similarity: float,
        min_odds: float,
        held_out_share: float,
        split: str,
    ) -> None:
        _check(kinds, min_findings, max_findings, max_absent, distractor_similarity, min_odds)
        self._num_wrong = num_options - 1
        self._kinds = tuple(kinds)
        self._difficulty = Difficulty(min_findings, max_findings, max_absent, distractor_similarity, min_odds)
        rare = entities.entities()
        graph = entities.graph() if isinstance(entities, HasGraph) else graph_from_facts(rare)
        self._rare = _world(graph, in_split(rare, held_out_share, Split(split)), num_options)
        common = builtin_common_diseases()
        self._common = _world(graph_from_facts(common), common, num_options)

    def generate(self, requests: Iterable[SynthesisRequest]) -> Iterator[tuple[SynthesisRequest, Outcome]]:
        """Yields each request with a question, or a rejection that says what the disease has too little of."""
        for request in requests:
            yield request, self._write(request.draw)

    def usage(self) -> dict[str, Any]:
        """Returns nothing: templates cost nothing."""
        return {}

    def close(self) -> None:
        """Frees nothing."""

    def _write(self, draw: Draw) -> Outcome:
        rng = random.Random(draw.rng_seed)
        if draw.entity is None:
            world = self._common
            disease: str | None = rng.choice(sorted(world.members))
            turn, is_rare = rng.randrange(len(self._kinds)), False
        else:
            world, turn, is_rare = self._rare, draw.entity_turn, draw.entity.is_rare
            disease = world.id_of.get(draw.entity.name)
        if disease is None or disease not in world.members:
            assert draw.entity is not None
            return Rejection("no_finding", f"{draw.entity.name} has no finding in the graph.")
        reasons = []
        first = self._kinds[turn % len(self._kinds)]
        for kind in (first, *(kind for kind in self._kinds if kind != first)):
            outcome = self._ask(kind, world, disease, is_rare, rng)
            if isinstance(outcome, Draft):
                return outcome
            reasons.append(outcome)
        return reasons[0]

    def _ask(self, kind: str, world: World, disease: str, is_rare: bool, rng: random.Random) -> Outcome:
        if kind == CONTRAST:
            return self._ask_contrast(world, disease, is_rare, rng)
        nodes = world.profiles.graph.nodes
        name = nodes[disease].name
        gene = world.profiles.genes[disease]
        if kind == GENE_OF_DISEASE and (len(gene) != 1 or not can_be_of_one_gene(name)):
            return Rejection("no_single_gene", f"{name} is not due to one gene in the graph.")
        count = rng.randint(self._difficulty.min_findings, self._difficulty.max_findings)
        edges = world.tellable(disease)
        patient = draw_patient(world.profiles, disease, edges, min(count, max(len(edges), 1)), rng)
        if patient is None or len(patient.edges) < self._difficulty.min_findings:
            patient = draw_patient(world.profiles, disease, edges, self._difficulty.min_findings, rng)
        if patient is None:
            least = self._difficulty.min_findings
            return Rejection("too_few_findings", f"{name} has no {least} findings that can be told together.")
        choose = choose_diseases if kind == DIAGNOSIS else choose_genes
        choice = choose(world, patient, self._num_wrong, self._difficulty, rng)
        if choice is None:
            return Rejection("no_distractors", f"{name}: too few others fit its findings clearly worse.")
        truth = disease if kind == DIAGNOSIS else gene[0]
        purpose = "ask_diagnosis" if kind == DIAGNOSIS else "ask_gene"
        stem = vignette(_told(world, patient, choice.absent), purpose, rng)
        used = [*patient.edges, *_edges_to(world, patient, kind)]
        details = {"absent": list(choice.absent), "odds": float(f"{choice.odds:.3g}")}
        return self._draft(
            world, kind, disease, is_rare, stem, [truth, *choice.values], used, rng, details, patient.edges
        )

    def _ask_contrast(self, world: World, disease: str, is_rare: bool, rng: random.Random) -> Outcome:
        nodes = world.profiles.graph.nodes
        contrast = choose_contrast(world, disease, self._num_wrong, self._difficulty, rng)
        if contrast is None:
            return Rejection("no_contrast", f"no finding tells {nodes[disease].name} from a similar disease.")
        stem = rng.choice(wordings().sentences["ask_finding"])
        stem = stem.format(first=nodes[disease].name, second=nodes[contrast.second].name)
        details = {"second": contrast.second, "odds": float(f"{contrast.odds:.3g}")}
        return self._draft(
            world,
            CONTRAST,
            disease,
            is_rare,
            stem[0].upper() + stem[1:],
            [contrast.truth.tail, *contrast.wrong],
            [contrast.truth],
            rng,
            details,
            [contrast.truth],
        )

    def _draft(
        self,
        world: World,
        kind: str,
        disease: str,
        is_rare: bool,
        stem: str,
        values: list[str],
        used: Sequence[Edge],
        rng: random.Random,
        details: Mapping[str, Any],
        findings: Sequence[Edge],
    ) -> Draft:
        """Returns the draft with its options, of which the first value is right, in a drawn order."""
        nodes = world.profiles.graph.nodes
        order = list(values)
        rng.shuffle(order)
        texts = [
            (told(nodes[value].name) or nodes[value].name) if kind == CONTRAST else nodes[value].name for value in order
        ]
        specialty = _specialty(world.profiles, [edge.tail for edge in findings])
        return Draft(
            stem=stem,
            options=dict(zip(LETTERS, texts, strict=False)),
            entity=nodes[disease].name,
            is_rare=is_rare,
            truth=LETTERS[order.index(values[0])],
            details={
                "question_kind": kind,
                "graph": world.profiles.graph.version,
                "disease": disease,
                "edges": [[edge.head, edge.relation, edge.tail, edge.frequency] for edge in used],
                "wrong": values[1:],
                **details,
                **({} if specialty is None else {"specialty": specialty}),
            },
        )


def _check(
    kinds: Sequence[str], min_findings: int, max_findings: int, max_absent: int, similarity: float, min_odds: float
) -> None:
    """Raises InputError for the first setting that is out of bounds."""
    if not kinds or not set(kinds) <= set(KINDS) or len(set(kinds)) < len(kinds):
        raise InputError(f"generator.kinds: found {list(kinds)}; expected some of {', '.join(KINDS)}, each once.")
    if not 1 <= min_findings <= max_findings:
        bounds = f"min_findings={min_findings} and max_findings={max_findings}"
        raise InputError(f"generator.min_findings: found {bounds}; expected 1 <= min_findings <= max_findings.")
    if max_absent < 0:
        raise InputError(f"generator.max_absent is {max_absent}; expected 0 or more.")
    if not 0 <= similarity <= 1:
        raise InputError(f"generator.distractor_similarity is {similarity}; expected a number from 0 to 1.")
    if not min_odds >= 1:
        raise InputError(f"generator.min_odds is {min_odds}; expected 1 or more.")


def _world(graph: KnowledgeGraph, entities: Sequence[Entity], num_options: int) -> World:
    world = World(Profiles(graph), {entity.name for entity in entities})
    if len(world.members) < num_options:
        problem = (
            f"{len(world.members)} of {len(entities)} diseases have a finding in the graph, fewer than {num_options}"
        )
        raise InputError(
            f"generator=graph: {problem}. Take entities=builtin or entities=hpo, or another held_out_share."
        )
    return world


def _told(world: World, patient: Patient, absent: Sequence[str]) -> Told:
    nodes = world.profiles.graph.nodes

    def words(finding: str) -> str:
        text = told(nodes[finding].name)
        assert text is not None, finding
        return text

    return Told(
        years=patient.years,
        sex=patient.sex,
        present=tuple(words(edge.tail) for edge in patient.edges),
        absent=tuple(words(finding) for finding in absent),
        when=None if patient.onset is None else AGES[nodes[patient.onset].name].when,
        pattern=None if patient.inheritance is None else nodes[patient.inheritance].name,
    )


def _edges_to(world: World, patient: Patient, kind: str) -> list[Edge]:
    """Returns the edges of a vignette beside its findings: to inheritance, onset, and the gene that is asked for."""
    wanted = {INHERITANCE: patient.inheritance, ONSET: patient.onset}
    if kind == GENE_OF_DISEASE:
        wanted[GENE] = world.profiles.genes[patient.disease][0]
    graph = world.profiles.graph
    return [
        edge
        for relation, tail in wanted.items()
        for edge in graph.edges_from(patient.disease, relation)
        if edge.tail == tail
    ]


def _specialty(profiles: Profiles, findings: Sequence[str]) -> str | None:
    """Returns the specialty of most of the findings, by their branches of the ontology; None without branches."""
    table = wordings().specialties
    counts = Counter(
        specialty
        for finding in findings
        for specialty in dict.fromkeys(table[term] for term in profiles.general(finding) if term in table)
    )
    return counts.most_common(1)[0][0] if counts else None
