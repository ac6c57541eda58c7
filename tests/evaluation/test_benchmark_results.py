from dataclasses import replace

from support.helpers import toy_question

from medssr.evaluation.benchmark_results import axes_of, length_bounds


def question(number, num_words=3, **provenance):
    return replace(toy_question(number, provenance=provenance), stem=" ".join(["word"] * num_words))


def test_reasoning_and_knowledge_by_the_released_field():
    questions = [
        question(1, is_reasoning=True),
        question(2, is_reasoning=False),
        question(3),
        question(4, is_reasoning=1),
    ]
    assert axes_of(questions)["is_reasoning"] == {"reasoning": {"q1"}, "knowledge": {"q2"}}
    assert "is_reasoning" not in axes_of(questions[2:])


def test_thirds_by_length():
    questions = [question(number, number) for number in range(1, 10)]
    assert length_bounds(questions) == (3, 6)
    assert axes_of(questions)["length"] == {
        "short": {"q1", "q2", "q3"},
        "medium": {"q4", "q5", "q6"},
        "long": {"q7", "q8", "q9"},
    }


def test_questions_of_one_length_are_in_one_third():
    assert axes_of([question(number, 5) for number in range(4)])["length"] == {"short": {"q0", "q1", "q2", "q3"}}
    assert axes_of([question(0)])["length"] == {"short": {"q0"}}


def test_every_question_has_a_specialty_and_a_length():
    questions = [
        replace(toy_question(1), stem="Which murmur of the heart has mitral stenosis?"),
        replace(toy_question(2), stem="Who?"),
    ]
    axes = axes_of(questions)
    assert axes["specialty"] == {"cardiology": {"q1"}, "unknown": {"q2"}}
    assert set().union(*axes["length"].values()) == {"q1", "q2"}
