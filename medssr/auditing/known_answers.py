"""Which options of a question are right by facts and graph, read from its text alone: neither truth nor provenance."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from medssr.knowledge.entities import EntityList
from medssr.knowledge.facts import Entity, builtin_common_diseases, relations
from medssr.knowledge.graph import AGES, Evidence, KnowledgeGraph, Profiles, graph_from_facts
from medssr.knowledge.graph.structure import FINDING
from medssr.knowledge.names import normalize_name
from medssr.questions import Question
from medssr.synthesis.graph_questions.generator import HasGraph
from medssr.synthesis.graph_questions.wording import told, wordings

# Another option that fits a patient nearly as well, in likelihood, is right as well.
_LEAST_ODDS = 3.0
_ABSENT = re.compile(r"no evidence of|finds? no\b|\bha(?:s|ve) no\b", re.IGNORECASE)
_INHERITANCE = re.compile(r"([\w-]+(?: \w+)?) inheritance|inheritance in the family appears to be ([\w -]+)\.")


@dataclass(frozen=True, slots=True)
class KnownAnswers:
    """What is known about a question.

    Attributes:
        how: What it was read as: "fact", "contrast", "diagnosis" or "gene".
        right: The letters of the options that are right.
        problem: Why the text cannot be what it was written for; empty if it can.
    """

    how: str
    right: tuple[str, ...]
    problem: str = ""


class AnswerKey:
    """Answers questions from the facts of diseases and their graph, where it knows what their text asks for.

    Questions for a fact are known by the wordings of `relations.yaml`; other ones for a fact by the disease that they
    name and by the relation whose values their options are; questions over several edges by the sentences of
    `graph_wordings.yaml`.

    Args:
        entities: The diseases with their facts.
        graph: The graph of the same diseases.
    """

    def __init__(self, entities: Iterable[Entity], graph: KnowledgeGraph) -> None:
        self._graph = graph
        self._profiles = Profiles(graph)
        # By relation and name, the true values.
        self._values: dict[tuple[str, str], set[str]] = {}
        for entity in entities:
            for fact in entity.facts:
                names = [fact.subject] if fact.subject else [entity.name, *entity.synonyms]
                for name in names:
                    values = self._values.setdefault((fact.relation, _key(name)), set())
                    values |= {_key(value) for value in (fact.value, *fact.also_true)}
        self._known_names = {name for _, name in self._values}
        self._all_values: dict[str, set[str]] = {}
        for (relation, _), values in self._values.items():
            self._all_values.setdefault(relation, set()).update(values)
        self._nodes = {(node.kind, _key(node.name)): node.id for node in graph.nodes.values()}
        findings = ((told(node.name) or node.name, node.id) for node in graph.of_kind(FINDING))
        self._findings = {_key(text): node for text, node in findings}
        # The longest first, so that a name within another one is not found in it.
        self._phrases = sorted({text for text in self._findings if text}, key=len, reverse=True)

    def read(self, question: Question) -> KnownAnswers | None:
        """Returns what is known about a question; None where its text is not understood."""
        for how, pattern in _patterns():
            match = pattern.fullmatch(question.stem.strip()) if how == "contrast" else pattern.search(question.stem)
            if match is None:
                continue
            if how == "contrast":
                return self._contrast(question, match["first"], match["second"])
            return self._vignette(question, how, question.stem[: match.start()])
        return self._fact(question)

    def _fact(self, question: Question) -> KnownAnswers | None:
        options = {letter: _key(text) for letter, text in question.options.items()}
        for relation, pattern in _fact_patterns():
            match = pattern.fullmatch(question.stem.strip())
            if match is None:
                continue
            values = self._values.get((relation, _key(match["entity"])))
            if values is not None:
                return KnownAnswers("fact", _among(options, values))
        return self._inferred_fact(question, options)

    def _inferred_fact(self, question: Question, options: Mapping[str, str]) -> KnownAnswers | None:
        """Returns the answers by the one disease that a stem names, and the one relation that most options are of."""
        stem = f" {_key(question.stem)} "
        named = [name for name in self._known_names if f" {name} " in stem]
        named = [name for name in named if not any(name != other and name in other for other in named)]
        if len(named) != 1:
            return None
        counts = {name: sum(text in values for text in options.values()) for name, values in self._all_values.items()}
        relation = max(counts, key=counts.__getitem__)
        is_clear = counts[relation] >= 3 and sum(count == counts[relation] for count in counts.values()) == 1
        values = self._values.get((relation, named[0]))
        return KnownAnswers("fact", _among(options, values)) if is_clear and values is not None else None

    def _contrast(self, question: Question, first: str, second: str) -> KnownAnswers | None:
        diseases = [self._disease(name) for name in (first, second)]
        ids = {letter: self._findings.get(_key(text)) for letter, text in question.options.items()}
        if None in diseases:
            return None
        has = [self._having(disease or "") for disease in diseases]
        right = [letter for letter, finding in ids.items() if finding in has[0] and finding not in has[1]]
        return KnownAnswers("contrast", tuple(right))

    def _vignette(self, question: Question, how: str, text: str) -> KnownAnswers | None:
        evidence = self._evidence(text)
        if not evidence.present:
            return KnownAnswers(how, (), "tells no finding")
        fits = {letter: self._fit(how, name, evidence) for letter, name in question.options.items()}
        if all(fit is None for fit in fits.values()):
            return None
        likely = {letter: fit for letter, fit in fits.items() if fit is not None and fit > -math.inf}
        best = max(likely.values(), default=-math.inf)
        return KnownAnswers(how, tuple(letter for letter, fit in likely.items() if fit >= best - math.log(_LEAST_ODDS)))

    def _fit(self, how: str, name: str, evidence: Evidence) -> float | None:
        """Returns the log-likelihood of a patient under an option, -inf where it lacks a finding; None if unknown."""
        if how == "gene":
            gene = self._nodes.get(("gene", _key(name)))
            diseases = [disease for disease in self._profiles.ids if gene in self._profiles.genes[disease]]
        else:
            disease = self._disease(name)
            diseases = [] if disease is None else [disease]
        if not diseases:
            return None
        fitting = [
            self._profiles.fit(disease, evidence)
            for disease in diseases
            if all(self._profiles.has(disease, finding) for finding in evidence.present)
        ]
        return max(fitting, default=-math.inf)

    def _evidence(self, text: str) -> Evidence:
        """Returns the findings of a vignette, present and absent, with inheritance and onset where they are told."""
        present: list[str] = []
        absent: list[str] = []
        for sentence in re.split(r"(?<=[.!?])\s+", text):
            (absent if _ABSENT.search(sentence) else present).extend(self._told_findings(sentence))
        pattern = _INHERITANCE.search(text)
        named = None if pattern is None else next(filter(None, pattern.groups()))
        names = [] if named is None else [named, named.split(" ", 1)[-1]]
        inheritance = next((node for name in names if (node := self._nodes.get(("inheritance", _key(name))))), None)
        age = next((age.key for age in AGES.values() if f" {age.when}." in text), None)
        onset = None if age is None else self._nodes.get(("onset", _key(age)))
        return Evidence(tuple(present), tuple(absent), inheritance, onset)

    def _told_findings(self, sentence: str) -> list[str]:
        rest, findings = f" {_key(sentence)} ", []
        for phrase in self._phrases:
            if f" {phrase} " in rest:
                rest = rest.replace(f" {phrase} ", " | ")
                findings.append(self._findings[phrase])
        return findings

    def _disease(self, name: str) -> str | None:
        node = self._nodes.get(("disease", _key(name)))
        return node if node in self._profiles.ids else None

    def _having(self, disease: str) -> Collection[str]:
        return {edge.tail for edge in self._graph.edges_from(disease, FINDING) if not edge.is_excluded}


def answer_key(entities: EntityList) -> AnswerKey:
    """Returns the key of an entity list and the built-in common diseases: its graph, or that of their facts."""
    diseases = [*entities.entities(), *builtin_common_diseases()]
    return AnswerKey(diseases, entities.graph() if isinstance(entities, HasGraph) else graph_from_facts(diseases))


def _key(text: str) -> str:
    return normalize_name(text)


def _among(options: Mapping[str, str], values: Collection[str]) -> tuple[str, ...]:
    return tuple(letter for letter, text in options.items() if text in values)


def _fact_patterns() -> list[tuple[str, re.Pattern[str]]]:
    return [
        (name, re.compile(re.escape(stem).replace(r"\{entity\}", "(?P<entity>.+)"), re.IGNORECASE))
        for name, relation in relations().items()
        for stem in (*relation.stems, relation.evaluation_stem)
    ]


def _patterns() -> Sequence[tuple[str, re.Pattern[str]]]:
    """Returns the patterns of the sentences that ask questions over several edges."""
    sentences = wordings().sentences
    contrasts = [re.escape(text) for text in sentences["ask_finding"]]
    for number, text in enumerate(contrasts):
        for name in ("first", "second"):
            text = text.replace(rf"\{{{name}\}}", f"(?P<{name}>.+?)", 1).replace(rf"\{{{name}\}}", f"(?P={name})")
        contrasts[number] = text
    return [
        *(("contrast", re.compile(text, re.IGNORECASE)) for text in contrasts),
        *(("diagnosis", re.compile(re.escape(text) + r"\s*$")) for text in sentences["ask_diagnosis"]),
        *(("gene", re.compile(re.escape(text) + r"\s*$")) for text in sentences["ask_gene"]),
    ]
