"""Draws a stratified sample of a question file; each question has the size of its stratum as its weight."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from medssr.questions import Question, read_questions
from medssr.questions.specialty import specialty
from medssr.utils.seeding import derive_seed

# From fine to coarse. The finest is taken whose strata have two questions each on average.
STRATIFICATIONS = (("rarity", "subject", "length"), ("rarity", "length"), ("rarity",), ())
_QUESTIONS_PER_STRATUM = 2
_RARITY = {True: "rare", False: "general", None: "rarity unknown"}


@dataclass(frozen=True, slots=True)
class SampledQuestion:
    """A question of the sample.

    Attributes:
        question: The question.
        stratum: Its stratum, e.g. "rare, short".
        stratum_size: Questions of that stratum in the whole file.
    """

    question: Question
    stratum: str
    stratum_size: int


@dataclass(frozen=True, slots=True)
class Traits:
    """The traits of a question by which strata are formed.

    Attributes:
        id: Of the question.
        rarity: "rare", "general" or "rarity unknown".
        subject: The specialty that its words point to, or "unknown".
        num_words: Words of the stem.
    """

    id: str
    rarity: str
    subject: str
    num_words: int


def draw_sample(
    questions: Callable[[], Iterable[Question]], num_questions: int, seed: int
) -> tuple[tuple[str, ...], list[SampledQuestion]]:
    """Returns the traits that form the strata, and the sample in an order that does not depend on them.

    Each stratum has its proportional part of the sample, and at least one question. The choice depends on seed and ids
    alone, not on the order of the file. All questions are taken where there are no more than asked for.

    Args:
        questions: Yields all questions; called twice, so that they need not fit into memory.
        num_questions: Size of the sample.
        seed: The run's seed.
    """
    traits = [_traits(question) for question in questions()]
    names, strata = stratify(traits, num_questions)
    sizes = Counter(strata)
    counts = allocate(sizes, min(num_questions, len(traits)))
    members: dict[str, list[str]] = {stratum: [] for stratum in sizes}
    for item, stratum in zip(traits, strata, strict=True):
        members[stratum].append(item.id)
    stratum_of = {
        chosen: stratum
        for stratum, ids in members.items()
        for chosen in heapq.nsmallest(counts[stratum], ids, key=lambda id: derive_seed(seed, "audit", id))
    }
    sample = [
        SampledQuestion(question, stratum_of[question.id], sizes[stratum_of[question.id]])
        for question in questions()
        if question.id in stratum_of
    ]
    return names, sorted(sample, key=lambda item: derive_seed(seed, "audit order", item.question.id))


def stratify(traits: Sequence[Traits], num_questions: int) -> tuple[tuple[str, ...], list[str]]:
    """Returns the finest stratification that a sample of this size can fill, and the stratum of each question.

    Traits that are the same for all questions are left out.
    """
    columns = {
        "rarity": [item.rarity for item in traits],
        "subject": [item.subject for item in traits],
        "length": length_classes([item.num_words for item in traits]),
    }
    for candidates in STRATIFICATIONS:
        names = tuple(name for name in candidates if len(set(columns[name])) > 1)
        strata = [", ".join(values) for values in zip(*(columns[name] for name in names), strict=True)]
        strata = strata or ["all"] * len(traits)
        if len(set(strata)) * _QUESTIONS_PER_STRATUM <= num_questions:
            break
    return names, strata


def length_classes(lengths: Sequence[int]) -> list[str]:
    """Returns "short", "medium" or "long" for each length, by the terciles of them all.

    Example:
        >>> length_classes([3, 9, 5])
        ['short', 'long', 'medium']
    """
    low, high = np.quantile(lengths, [1 / 3, 2 / 3])
    return ["short" if length <= low else "medium" if length <= high else "long" for length in lengths]


def allocate(sizes: Mapping[str, int], num_questions: int) -> dict[str, int]:
    """Returns how many questions each stratum gives: its proportional part in whole numbers, and at least one.

    After the first of each stratum, each question goes to the stratum that lacks most of its part.

    Args:
        sizes: Questions of each stratum, at least one.
        num_questions: Size of the sample: at least the number of strata, at most all questions.

    Example:
        Shares of 5.4, 3.6 and 1 in 10, where the second lacks more after five and three.

        >>> allocate({"a": 54, "b": 36, "c": 10}, 10)
        {'a': 5, 'b': 4, 'c': 1}
    """
    total = sum(sizes.values())
    assert len(sizes) <= num_questions <= total
    counts = dict.fromkeys(sizes, 1)
    surplus = [(1 - num_questions * size / total, stratum) for stratum, size in sizes.items()]
    heapq.heapify(surplus)
    for _ in range(num_questions - len(sizes)):
        most_lacking, stratum = surplus[0]
        counts[stratum] += 1
        heapq.heapreplace(surplus, (most_lacking + 1, stratum))
    return counts


def mark_stratum(item: SampledQuestion) -> Question:
    """Returns the question with its stratum in the provenance, as `read_sample` reads it."""
    mark = {"stratum": item.stratum, "stratum_size": item.stratum_size}
    return replace(item.question, provenance=item.question.provenance | {"audit": mark})


def read_sample(path: Path) -> Iterator[SampledQuestion]:
    """Yields the sample that a run has written."""
    for question in read_questions(path):
        mark: dict[str, Any] = question.provenance["audit"]
        yield SampledQuestion(question, **mark)


def _traits(question: Question) -> Traits:
    return Traits(question.id, _RARITY[question.is_rare], specialty(question), len(question.stem.split()))
