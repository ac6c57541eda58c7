"""Draws a patient with a disease: findings by their frequency, age, sex, inheritance."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from medssr.knowledge.entities.orphanet_facts import tells
from medssr.knowledge.graph import AGES, Edge, Evidence, Node, Profiles
from medssr.knowledge.graph.profiles import UNKNOWN_FREQUENCY
from medssr.knowledge.names import normalize_name
from medssr.synthesis.graph_questions.wording import first_years, sex_of, told

# Letters by which a finding and the name of a disease are alike: "ataxia" and "ataxic", "retinitis" and "retinal".
_LENGTH_OF_STEM = 5
# Words of a finding that tell nothing of the disease where its name has them too.
_GENERIC = frozenset(
    {"abnormal", "acquired", "congenital", "disease", "disorder", "early", "late", "severe", "syndrome", "type"}
)
# Years from the first signs until the patient is seen, the longest.
_LONGEST_COURSE = 8.0


@dataclass(frozen=True, slots=True)
class Patient:
    """A patient with a disease.

    Attributes:
        disease: Id of the disease.
        edges: The edges to the findings, in the order in which they are told.
        sex: "female", "male" or None.
        years: Age at which the patient is seen; None where nothing is known of the disease's age of onset.
        onset: Id of the age of onset; None where it is unknown.
        inheritance: Id of the pattern of inheritance; None where it is unknown, there are several, or the name tells
            it.
    """

    disease: str
    edges: tuple[Edge, ...]
    sex: str | None
    years: float | None
    onset: str | None
    inheritance: str | None

    def evidence(self, absent: Sequence[str] = ()) -> Evidence:
        """Returns what is known of the patient, with findings that were looked for and not found."""
        return Evidence(tuple(edge.tail for edge in self.edges), tuple(absent), self.inheritance, self.onset)


def is_in_name(finding: str, names: Sequence[str]) -> bool:
    """Returns whether a telling word of a finding is in a name of the disease too.

    Example:
        >>> is_in_name("Gait ataxia", ["Ataxia-telangiectasia"]), is_in_name("Congenital rash", ["Congenital myopathy"])
        (True, False)
        >>> is_in_name("Hyperhomocystinemia", ["Classic homocystinuria"])
        True
    """
    words = _telling(finding)
    return any(_are_alike(word, other) for name in names for other in _telling(name) for word in words)


@lru_cache(maxsize=2**15)
def _telling(name: str) -> tuple[str, ...]:
    return tuple(word for word in normalize_name(name).split() if len(word) >= _LENGTH_OF_STEM and word not in _GENERIC)


def _are_alike(first: str, second: str) -> bool:
    """Returns whether two words begin alike, or the beginning of one is within the other: "homocystinuria"."""
    if first[:_LENGTH_OF_STEM] == second[:_LENGTH_OF_STEM]:
        return True
    return any(
        len(inner) > _LENGTH_OF_STEM and inner[: _LENGTH_OF_STEM + 1] in outer
        for inner, outer in ((first, second), (second, first))
    )


def tellable(profiles: Profiles, disease: str) -> list[Edge]:
    """Returns the edges to the findings of a disease that can be told without its name being given away."""
    node = profiles.graph.nodes[disease]
    names = (node.name, *node.synonyms)
    kept = []
    for edge in profiles.findings[disease]:
        name = profiles.graph.nodes[edge.tail].name
        if told(name) is not None and not is_in_name(name, names):
            kept.append(edge)
    return kept


def draw_patient(
    profiles: Profiles, disease: str, edges: Sequence[Edge], num_findings: int, rng: random.Random
) -> Patient | None:
    """Returns a patient with so many of the findings; None where too few go together.

    Findings are drawn without replacement, each with a chance in proportion to its frequency among those that are left.
    None is more general than another; none needs another sex, or an age that patients with the disease do not reach.
    The sex is told where it is known or plays no part in the inheritance.

    Args:
        profiles: Of the graph.
        disease: Id of the disease.
        edges: The edges to the findings that may be told.
        num_findings: How many are told.
        rng: Draws.
    """
    graph = profiles.graph
    inheritance = _only(profiles.inheritance[disease])
    # Few girls have a recessive disease of the X chromosome, and few boys some of the dominant ones; sources that name
    # the chromosome alone do not say which it is.
    may_tell_sex = all(graph.nodes[pattern].name != "X-linked" for pattern in profiles.inheritance[disease])
    sex: str | None = None
    last_years = _last_years(profiles, disease)
    drawn: list[Edge] = []
    for edge in _by_frequency(edges, rng):
        name = graph.nodes[edge.tail].name
        needed = edge.sex or sex_of(name)
        if (
            (needed is not None and sex not in (None, needed))
            or first_years(name) > last_years
            or any(profiles.is_related(edge.tail, other.tail) for other in drawn)
        ):
            continue
        sex = needed or sex
        drawn.append(edge)
        if len(drawn) == num_findings:
            break
    if len(drawn) < num_findings:
        return None
    onsets = [age for age in profiles.onset[disease] if AGES[graph.nodes[age].name].first <= last_years]
    onset = rng.choice(onsets) if onsets else None
    least = max(first_years(graph.nodes[edge.tail].name) for edge in drawn)
    years = None if onset is None else _years(graph.nodes[onset], least, last_years, rng)
    if years is not None and sex is None and may_tell_sex:
        sex = rng.choice(("female", "male"))
    if inheritance is not None and tells(graph.nodes[disease].name, graph.nodes[inheritance].name):
        inheritance = None
    return Patient(disease, tuple(drawn), sex, years, onset, inheritance)


def _by_frequency(edges: Sequence[Edge], rng: random.Random) -> list[Edge]:
    """Returns the edges in the order of a weighted draw without replacement (Efraimidis and Spirakis 2006)."""
    keys = [-math.log(1 - rng.random()) / (edge.frequency or UNKNOWN_FREQUENCY) for edge in edges]
    return [edges[number] for number in sorted(range(len(edges)), key=keys.__getitem__)]


def _last_years(profiles: Profiles, disease: str) -> float:
    """Returns the years of age that patients with the disease reach."""
    ages = [AGES[profiles.graph.nodes[age].name].last for age in profiles.death[disease]]
    return max(min(ages), 1 / 12) if ages else math.inf


def _years(onset: Node, least: float, most: float, rng: random.Random) -> float:
    """Returns the age of a patient: not before the onset, nor before the findings can be told."""
    age = AGES[onset.name]
    begun = rng.uniform(age.first, age.last)
    seen = begun + rng.uniform(0.0, _LONGEST_COURSE if age.last > 1 else 2.0)
    return min(max(seen, least + rng.uniform(0.0, 3.0) if least > seen else seen, 1 / 52), most, 90.0)


def _only(values: Sequence[str]) -> str | None:
    return values[0] if len(values) == 1 else None
