from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medssr.knowledge.entities import EntitySampler
from medssr.knowledge.facts import Entity
from medssr.questions import Question
from medssr.synthesis.generators import Draft, Outcome, Rejection
from medssr.synthesis.plan import QuestionPlan, SynthesisRequest
from medssr.synthesis.slots import SynthesisTally, fill_slots

pytestmark = pytest.mark.slow

SEEDS = [Question(f"q{number}", "Which organ?", {"A": "liver", "B": "heart"}, "A", "seeds") for number in range(5)]
SAMPLER = EntitySampler([Entity(f"disease {number}", True) for number in range(700)])
NO = Rejection("unparsable", "no JSON")
OUT_OF_ORDER = Rejection("api_error", "HTTP 500", is_transient=True)


class Scripted:
    """A generator whose outcome depends on the slot, the attempt and the number of earlier requests for it."""

    name = "scripted"

    def __init__(self, outcome: Callable[[int, int, int], Rejection | None]) -> None:
        self.asked: list[tuple[int, int]] = []
        self._outcome = outcome

    def generate(self, requests: Iterable[SynthesisRequest]) -> Iterator[tuple[SynthesisRequest, Outcome]]:
        batch = []
        for request in [*requests]:  # Takes all ahead, as concurrent generators take some.
            place = (request.draw.slot, request.draw.attempt)
            batch.append((request, self._outcome(*place, self.asked.count(place)) or draft(request)))
            self.asked.append(place)
        yield from batch

    def usage(self) -> dict[str, float]:
        return {}

    def close(self) -> None:
        pass


def draft(request: SynthesisRequest) -> Draft:
    entity = request.draw.entity
    return Draft(f"Which organ is number {request.draw.slot}?", {"A": "liver"}, entity and entity.name, None, None)


def accept(request: SynthesisRequest, outcome: Outcome) -> Question | Rejection:
    if isinstance(outcome, Rejection):
        return outcome
    is_rare = request.draw.is_injected or None
    return Question(f"s{request.draw.slot}", outcome.stem, {"A": "a", "B": "b"}, None, "test", is_rare=is_rare)


def fill(generator: Scripted, num_slots: int, num_rounds: int, rare_share: float = 0.5, screen=accept, seed: int = 7):
    plan = QuestionPlan(seed, num_slots, rare_share, SAMPLER, SEEDS)
    request = lambda slot, attempt: SynthesisRequest(plan.draw(slot, attempt), (), "prompt")  # noqa: E731
    return list(fill_slots(num_slots, num_rounds, generator, request, screen))


def tally_of(attempts) -> SynthesisTally:
    tally = SynthesisTally()
    for attempt in attempts:
        tally.count(attempt)
    return tally


def test_each_slot_is_asked_for_once_when_nothing_is_rejected():
    generator = Scripted(lambda *_: None)
    attempts = fill(generator, 4, 3)
    assert generator.asked == [(0, 0), (1, 0), (2, 0), (3, 0)]
    assert [attempt.verdict.id for attempt in attempts] == ["s0", "s1", "s2", "s3"]


def test_a_rejected_slot_is_tried_again_with_the_next_attempt_after_all_others():
    generator = Scripted(lambda slot, attempt, _: NO if slot == 1 and attempt < 2 else None)
    attempts = fill(generator, 3, 3)
    assert generator.asked == [(0, 0), (1, 0), (2, 0), (1, 1), (1, 2)]
    assert [attempt.is_last for attempt in attempts] == [False, False, False, False, True]
    assert tally_of(attempts).counts(0.5)["num_unfilled"] == 0


def test_what_the_screen_rejects_is_tried_again_too():
    def screen(request, outcome):
        return Rejection("duplicate", "s0") if request.draw.attempt == 0 else accept(request, outcome)

    generator = Scripted(lambda *_: None)
    fill(generator, 2, 3, screen=screen)
    assert generator.asked == [(0, 0), (1, 0), (0, 1), (1, 1)]


def test_a_slot_without_success_stays_empty_and_is_counted_with_its_reason():
    generator = Scripted(lambda slot, attempt, _: (OUT_OF_ORDER if attempt else NO) if slot == 1 else None)
    attempts = fill(generator, 3, 2)
    assert tally_of(attempts).counts(0.5) == {
        "num_questions": 2,
        "num_rare": 1,
        "num_injected": 1,
        "asked_num_injected": 1,
        "asked_rare_share": 0.5,
        "achieved_rare_share": 0.5,
        "num_rejected": 2,
        "rejected": {"unparsable": 1, "api_error": 1},
        "num_unfilled": 1,
        "num_unfilled_injected": 0,
        "unfilled": {"api_error": 1},
    }


def test_an_attempt_that_the_server_failed_is_repeated_once_as_it_is():
    generator = Scripted(lambda slot, attempt, before: OUT_OF_ORDER if before == 0 else None)
    fill(generator, 1, 5)
    assert generator.asked == [(0, 0), (0, 0)]
    generator = Scripted(lambda slot, attempt, before: OUT_OF_ORDER if attempt == 0 else None)
    fill(generator, 1, 5)
    assert generator.asked == [(0, 0), (0, 0), (0, 1)]


class RejectsSomeRare(Scripted):
    """A generator that rejects 30% of the drafts about rare diseases."""

    def __init__(self) -> None:
        self._rng = random.Random(0)

    def generate(self, requests: Iterable[SynthesisRequest]) -> Iterator[tuple[SynthesisRequest, Outcome]]:
        for request in requests:
            is_rejected = request.draw.is_injected and self._rng.random() < 0.3
            yield request, NO if is_rejected else draft(request)


@pytest.mark.parametrize(("rare_share", "num_rounds"), [(0, 3), (0.05, 3), (0.5, 3), (0.95, 3), (1, 3), (0.5, 8)])
def test_alpha_is_reached_though_a_third_of_the_rare_drafts_is_rejected(rare_share, num_rounds):
    counts = tally_of(fill(RejectsSomeRare(), 10_000, num_rounds, rare_share)).counts(rare_share)
    assert counts["num_rejected"] == pytest.approx(10_000 * rare_share * 0.3 * 1.4, rel=0.1)
    assert counts["num_questions"] + counts["num_unfilled"] == 10_000
    asked = counts["num_injected"] + counts["num_unfilled_injected"]
    assert asked == counts["asked_num_injected"] == 10_000 * rare_share
    assert abs(counts["achieved_rare_share"] - rare_share) <= (0.01 if num_rounds == 3 else 0.0002)


@given(
    seed=st.integers(0, 2**32),
    num_slots=st.integers(1, 60),
    rare_share=st.floats(0, 1),
    rejected=st.frozensets(st.tuples(st.integers(0, 59), st.integers(0, 2))),
)
def test_however_many_drafts_are_rejected_the_share_is_exact_once_all_slots_are_filled(
    seed, num_slots, rare_share, rejected
):
    generator = Scripted(lambda slot, attempt, _: NO if (slot, attempt) in rejected else None)
    counts = tally_of(fill(generator, num_slots, 4, rare_share, seed=seed)).counts(rare_share)
    assert (counts["num_questions"], counts["num_unfilled"]) == (num_slots, 0)
    assert counts["num_injected"] == counts["asked_num_injected"]
    assert abs(counts["num_injected"] - num_slots * rare_share) <= 0.5


def test_counts_add_up_whatever_is_rejected():
    rng = random.Random(1)
    outcomes = [None, None, NO, OUT_OF_ORDER]
    attempts = fill(Scripted(lambda *_: rng.choice(outcomes)), 200, 3)
    counts = tally_of(attempts).counts(0.5)
    assert counts["num_questions"] + counts["num_rejected"] == len(attempts)
    assert counts["num_questions"] + counts["num_unfilled"] == 200
    assert sum(counts["rejected"].values()) == counts["num_rejected"]
    assert sum(counts["unfilled"].values()) == counts["num_unfilled"] > 0
    filled = Counter(item.verdict.id for item in attempts if isinstance(item.verdict, Question))
    assert set(filled.values()) == {1}


def test_the_line_of_a_rejection_has_what_is_known_of_it():
    bad_end = Rejection("stem_not_a_question", "ends in 'heart.'")
    (attempt,) = fill(Scripted(lambda *_: None), 1, 1, 1.0, screen=lambda *_: bad_end)
    assert json.loads(attempt.rejection_line()) == {
        "slot": 0,
        "attempt": 0,
        "reason": "stem_not_a_question",
        "detail": "ends in 'heart.'",
        "is_injected": True,
        "entity": attempt.request.draw.entity.name,
        "stem": "Which organ is number 0?",
        "options": {"A": "liver"},
    }
    (failed,) = fill(Scripted(lambda *_: OUT_OF_ORDER), 1, 1, 0.0)
    assert "stem" not in json.loads(failed.rejection_line())
