"""Defines the result of a check of the machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """State of a checked item: fine, advice (it works but could be better), or lacking (needed, but missing)."""

    fine = "fine"
    advice = "advice"
    lacking = "lacking"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Attributes:
        subject: What was checked.
        state: Whether it is fine, could be better, or is missing.
        observation: What the check observed, as text.
        remedy: What to change; empty if no change is needed.
    """

    subject: str
    state: State
    observation: str
    remedy: str = ""


def fine(subject: str, observation: str) -> Finding:
    """Builds an OK result."""
    return Finding(subject, State.fine, observation)


def lacking(subject: str, observation: str, remedy: str) -> Finding:
    """Builds a result for something that is needed and missing."""
    return Finding(subject, State.lacking, observation, remedy)


def advice(subject: str, observation: str, remedy: str) -> Finding:
    """Builds a result for something that works but could be better."""
    return Finding(subject, State.advice, observation, remedy)


def run_check(subject: str, check: Callable[[], Finding]) -> Finding:
    """Returns the result of a check; an exception in it becomes an advice, so that the other checks still run."""
    try:
        return check()
    except (OSError, ImportError, RuntimeError, ValueError) as error:
        return advice(subject, f"could not be checked ({type(error).__name__}: {error})", "check it by hand.")
