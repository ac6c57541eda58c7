import pytest
from support.helpers import toy_question

from medssr.benchmarks.reader import load_benchmark
from medssr.engines.sampled_answers import SampledAnswer
from medssr.evaluation.prefills import has_prefill, prefill_score, trace_letter
from medssr.evaluation.scoring import Rate


def question(number, trace, answer="A"):
    return toy_question(number, answer=answer, provenance={} if trace is None else {"trace": trace})


def answers(*letters):
    return [SampledAnswer("", 1, False, letter, "") for letter in letters]


@pytest.mark.parametrize(("trace", "found"), [("B. heart it is", True), (" ", False), (None, False), (3, False)])
def test_what_can_start_an_answer(trace, found):
    assert has_prefill(toy_question(provenance={"trace": trace}), "trace") is found


@pytest.mark.parametrize(
    ("trace", "letter"),
    [
        ("I think the answer is B. heart, but I am not sure. Let me think again.", "B"),
        ("The answer is A.", "A"),
        ("A. liver or B. heart? Let me see.", None),
        ("Let me think.", None),
    ],
)
def test_the_option_of_a_trace(trace, letter):
    assert trace_letter(question(1, trace), "trace") == letter


def test_sticking_by_hand():
    questions = [question(1, "Perhaps B. heart"), question(2, "Perhaps B. heart", "B"), question(3, "Let me think.")]
    found = prefill_score(questions, [answers("B", "A"), answers(None, "B"), answers("A", "A")], "trace", 4)
    assert (found.field, found.num_left_out, found.num_wrong) == ("trace", 4, 1)
    assert found.follow_rate == Rate(0.5, 2, 4)
    assert prefill_score(questions[2:], [answers("A")], "trace", 0).follow_rate == Rate(0.0, 0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1, 2])
def test_every_trace_of_the_released_file_names_a_wrong_option(shared_data, number):
    field = f"adversarial_trace_{number}"
    questions = load_benchmark(shared_data / "benchmarks" / "lancet.json")
    assert all(has_prefill(item, field) for item in questions)
    letters = [trace_letter(item, field) for item in questions]
    assert sum(letter is None for letter in letters) <= 2
    assert not any(letter == item.answer for letter, item in zip(letters, questions, strict=True))
