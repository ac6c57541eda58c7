"""The result of a check of the machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """Whether something is as it should be, could be better, or is needed and not there."""

    fine = "fine"
    advice = "advice"
    lacking = "lacking"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Attributes:
        subject: What was checked.
        state: Whether it is as it should be.
        found: What the check found, in words.
        remedy: What to change; empty where nothing has to be.
    """

    subject: str
    state: State
    found: str
    remedy: str = ""


def fine(subject: str, found: str) -> Finding:
    """Builds an OK result."""
    return Finding(subject, State.fine, found)


def lacking(subject: str, found: str, remedy: str) -> Finding:
    """Builds a result for something that is needed and missing."""
    return Finding(subject, State.lacking, found, remedy)


def advice(subject: str, found: str, remedy: str) -> Finding:
    """Builds a result for something that works and could be better."""
    return Finding(subject, State.advice, found, remedy)


def looked_at(subject: str, check: Callable[[], Finding]) -> Finding:
    """Returns what a check finds; one that fails itself is a finding too, since the others are still of use."""
    try:
        return check()
    except (OSError, ImportError, RuntimeError, ValueError) as error:
        return advice(subject, f"could not be checked ({type(error).__name__}: {error})", "look at it by hand.")
