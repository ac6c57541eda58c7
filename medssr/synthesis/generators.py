"""The interface of generators, and what they return: drafts and rejections."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from medssr.synthesis.plan import SynthesisRequest


@dataclass(frozen=True, slots=True)
class Draft:
    """A written question before any filter.

    Attributes:
        stem: The question text without its options.
        options: Option text by letter.
        entity: The disease that it is about; None where it is unknown.
        is_rare: Whether that disease is rare; None where it is unknown.
        truth: Letter of the right option where the generator knows it. It belongs in the question's provenance and
            never in its answer: labels come from votes.
        details: What else the provenance should say; the same on every run.
    """

    stem: str
    options: dict[str, str]
    entity: str | None
    is_rare: bool | None
    truth: str | None
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why there is no question.

    Attributes:
        reason: Short and fixed, to count by.
        detail: What happened.
        is_transient: Whether the same request may succeed later, because a server failed and wrote no draft.
    """

    reason: str
    detail: str
    is_transient: bool = False


Outcome = Draft | Rejection


class Generator(Protocol):
    """Writes questions.

    One that loads a model with torch has `loads_model = True` as well: threads, seeds and the settings of torch are
    then set before it is made, and put back after the step.

    Attributes:
        name: Stands in the provenance of its questions.
    """

    name: ClassVar[str]

    def generate(self, requests: Iterable[SynthesisRequest]) -> Iterator[tuple[SynthesisRequest, Outcome]]:
        """Yields each request with its outcome, in the order of the requests.

        The requests are taken as they are needed. What a generator paid for is on disk before it is yielded, so that a
        killed run loses nothing.
        """
        ...

    def usage(self) -> dict[str, Any]:
        """Returns what the drafts have cost so far, in the generator's units; empty when they cost nothing."""
        ...

    def close(self) -> None:
        """Frees what the generator holds."""
        ...
