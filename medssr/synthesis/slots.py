"""Fills question slots: each gets attempts until a draft is accepted, so that rejections do not shift the mixture."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from medssr.questions import Question
from medssr.synthesis.generators import Draft, Generator, Outcome, Rejection
from medssr.synthesis.plan import SynthesisRequest


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at a slot.

    Attributes:
        request: What the generator was asked for.
        outcome: What it returned.
        verdict: The accepted question, or why there is none.
        is_last: Whether a slot that is empty now stays so.
    """

    request: SynthesisRequest
    outcome: Outcome
    verdict: Question | Rejection
    is_last: bool

    def rejection_line(self) -> str:
        """Returns, as a line of JSON, which attempt was rejected and why, and the draft where there is one."""
        draw, rejection = self.request.draw, self.verdict
        assert isinstance(rejection, Rejection)
        record: dict[str, Any] = {
            "slot": draw.slot,
            "attempt": draw.attempt,
            "reason": rejection.reason,
            "detail": rejection.detail,
            "is_injected": draw.is_injected,
            "entity": None if draw.entity is None else draw.entity.name,
        }
        if isinstance(self.outcome, Draft):
            record |= {"stem": self.outcome.stem, "options": self.outcome.options}
        return json.dumps(record, ensure_ascii=False)


def fill_slots(
    num_slots: int,
    num_rounds: int,
    generator: Generator,
    request: Callable[[int, int], SynthesisRequest],
    screen: Callable[[SynthesisRequest, Outcome], Question | Rejection],
) -> Iterator[Attempt]:
    """Yields every attempt: first one for each slot, then one for each slot that is empty, and so on.

    An attempt that the generator's server failed is repeated once without change, because it was never
    answered: a run that continues after an outage uses every answer that it has paid for. After any other rejection,
    and after the second failure, the slot's next attempt is made.

    Args:
        num_slots: Questions wanted.
        num_rounds: The most attempts at a slot.
        generator: Writes the drafts.
        request: Returns what to ask of the generator for a slot and an attempt, both from 0.
        screen: Accepts or rejects what the generator returns; called in the order in which attempts are yielded.
    """
    slots: Iterable[int] = range(num_slots)
    attempts = array("q", bytes(8 * num_slots))
    has_failed = bytearray(num_slots)
    for round_index in range(num_rounds):
        empty = array("q")
        for asked, outcome in generator.generate(request(slot, attempts[slot]) for slot in slots):
            verdict = screen(asked, outcome)
            yield Attempt(asked, outcome, verdict, is_last=round_index + 1 == num_rounds)
            if isinstance(verdict, Rejection):
                slot = asked.draw.slot
                empty.append(slot)
                has_failed[slot] = verdict.is_transient and not has_failed[slot]
                attempts[slot] += not has_failed[slot]
        if not empty:
            return
        slots = empty


@dataclass
class SynthesisTally:
    """Counts accepted questions, rejections by reason, and slots that stayed empty by the last reason."""

    num_questions: int = 0
    num_rare: int = 0
    num_injected: int = 0
    num_unfilled_injected: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    unfilled: Counter[str] = field(default_factory=Counter)

    def count(self, attempt: Attempt) -> None:
        """Counts an attempt."""
        verdict = attempt.verdict
        if isinstance(verdict, Question):
            self.num_questions += 1
            self.num_rare += verdict.is_rare is True
            self.num_injected += attempt.request.draw.is_injected
        else:
            self.rejected[verdict.reason] += 1
            self.unfilled[verdict.reason] += attempt.is_last
            self.num_unfilled_injected += attempt.is_last and attempt.request.draw.is_injected

    def counts(self, asked_rare_share: float) -> dict[str, Any]:
        """Returns the counts for the manifest, with the requested and the achieved fraction of injected questions.

        `asked_num_injected` is the number of injected questions if no slot stays empty.
        """
        return {
            "num_questions": self.num_questions,
            "num_rare": self.num_rare,
            "num_injected": self.num_injected,
            "asked_num_injected": self.num_injected + self.num_unfilled_injected,
            "asked_rare_share": asked_rare_share,
            "achieved_rare_share": self.num_injected / self.num_questions,
            "num_rejected": self.rejected.total(),
            "rejected": dict(self.rejected),
            "num_unfilled": self.unfilled.total(),
            "num_unfilled_injected": self.num_unfilled_injected,
            "unfilled": dict(+self.unfilled),
        }
