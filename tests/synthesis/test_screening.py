from __future__ import annotations

from dataclasses import replace

import pytest

from medssr.errors import InputError
from medssr.questions import Question
from medssr.synthesis.filters import FilterLimits
from medssr.synthesis.generators import Draft
from medssr.synthesis.plan import Draw, SynthesisRequest
from medssr.synthesis.screening import DraftScreen, RepeatScreen


def question(name, stem, **options):
    return Question(name, stem, options or {"A": "liver", "B": "heart"}, None, "synthetic")


BENCHMARK = question("eval-1", "Is amiodarone a class III antiarrhythmic drug?", A="yes", B="no")
SEED = question("seed-1", "Which organ is mainly affected by Wilson disease?")


def screen():
    return RepeatScreen([BENCHMARK], [SEED])


def test_a_question_of_a_benchmark_is_rejected_whatever_its_options():
    rejection = screen().check(question("new", "is amiodarone a class II antiarrhythmic drug"))
    assert rejection is not None
    assert rejection.reason == "in_benchmark"
    assert rejection.detail.startswith("eval-1 (score 0.")
    rejection = screen().check(question("new", BENCHMARK.stem.upper(), A="maybe", B="never"))
    assert rejection is not None
    assert rejection.detail == "eval-1 (score 1.00)"


def test_a_stem_without_content_is_rejected_for_its_options():
    generic = "Which of the following is true?"
    options = {"A": "Rickets is due to lack of vitamin D", "B": "Scurvy is infectious", "C": "Pellagra is inherited"}
    other = {"A": "The liver makes bile", "B": "The spleen makes bile", "C": "The heart makes bile"}
    screened = RepeatScreen([question("eval-1", generic, **other), question("eval-2", generic, **options)], [])
    assert screened.benchmark_counts() == {"num_questions": 2, "num_stems_without_content": 2}
    shuffled = dict(zip("ABC", (options["C"], options["A"], options["B"]), strict=True))
    rejection = screened.check(question("new", "Which statement is correct?", **shuffled))
    assert rejection.detail == "eval-2 (score 1.00)"
    unlike = {"A": "Gout is a tumor", "B": "Measles is fatal", "C": "Lupus is viral"}
    assert screened.check(question("new", generic, **unlike)) is None
    assert screened.check(question("new", "Which of the following is true of rickets?", **options)) is None


def test_a_copy_of_a_seed_is_rejected():
    rejection = screen().check(
        question("new", "which organ is mainly affected by Wilson's disease?", A="heart", B="liver")
    )
    assert rejection is not None
    assert (rejection.reason, rejection.detail) == ("copies_seed", "seed-1 (similarity 1.00)")


def test_of_two_near_duplicates_the_first_stays():
    seen = screen()
    first = question("first", "Which gene is mutated in Fabry disease?", A="GLA", B="ATM")
    assert seen.check(first) is None
    seen.add(first)
    rejection = seen.check(question("second", "In Fabry disease, which gene is mutated?", A="ATM", B="GLA"))
    assert rejection is not None
    assert (rejection.reason, rejection.detail) == ("near_duplicate", "first (similarity 1.00)")
    assert seen.check(question("third", "Which gene is mutated in Pompe disease?", A="ATM", B="GLA")) is None


def test_a_question_that_was_not_added_does_not_count():
    seen = screen()
    item = question("first", "Which gene is mutated in Fabry disease?", A="GLA", B="ATM")
    assert seen.check(item) is None
    assert seen.check(item) is None


def test_a_benchmark_has_the_truth_as_its_answer_and_nothing_without_a_truth():
    draw = Draw(0, 0, 0.5, False, None, 0, (BENCHMARK, SEED), 1)
    request = SynthesisRequest(draw, (), "prompt")
    draft = Draft("Which organ makes insulin?", {"A": "liver", "B": "pancreas"}, None, False, "B")
    limits = FilterLimits(2, 3, 300, 60, 12)

    def screened(written, is_for_benchmark):
        return DraftScreen(limits, screen(), {"generator": "toy"}, is_for_benchmark)(request, written)

    for_training, for_benchmark = (screened(draft, is_for_benchmark) for is_for_benchmark in (False, True))
    assert (for_training.answer, for_training.provenance["truth"]) == (None, "B")
    assert (for_benchmark.answer, "truth" in for_benchmark.provenance) == ("B", False)
    with pytest.raises(InputError, match=r"synthesis\.split=held_out: .* take generator=graph"):
        screened(replace(draft, truth=None), True)
