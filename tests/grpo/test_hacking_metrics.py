import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.helpers import completion

from medssr.answers import extract_choice
from medssr.grpo.metrics import MIN_REASONING_CHARACTERS, hacking_metrics, letter_fractions, opening, total_variation
from medssr.grpo.rollouts import Rollout, RolloutGroup
from medssr.questions import Question

OPTIONS = {"A": "warfarin", "B": "heparin", "C": "aspirin"}
REASONING = "The patient has a valve of metal and is not pregnant, so that only one drug has been shown to help her. "
LETTERS = st.sampled_from("ABC")


def group(*texts: str, answer: str = "A", options: dict[str, str] = OPTIONS) -> RolloutGroup:
    question = Question("q", "Which drug?", options, answer, "toy")
    rollouts = [Rollout(completion(text=text), extract_choice(text, options), 0.0, 0.0) for text in texts]
    return RolloutGroup(question, [1], rollouts, answer)


def test_all_by_hand():
    metrics = hacking_metrics(
        [
            group("The answer is A.", "The answer is B.", REASONING + "The answer is A.", "Hm.", answer="A"),
            group("The answer is C.", "The answer is C.", "The answer is A or B.", "", answer="B"),
        ]
    )
    assert metrics == {
        "train/answer_share/A": pytest.approx(2 / 5),
        "train/answer_share/B": pytest.approx(1 / 5),
        "train/answer_share/C": pytest.approx(2 / 5),
        "train/label_share/A": pytest.approx(1 / 2),
        "train/label_share/B": pytest.approx(1 / 2),
        "train/label_share/C": 0,
        "train/letter_distance": pytest.approx((1 / 10 + 3 / 10 + 4 / 10) / 2),
        "train/invalid/empty": pytest.approx(1 / 8),
        "train/invalid/no_answer": pytest.approx(1 / 8),
        "train/invalid/several_letters": pytest.approx(1 / 8),
        "train/no_reasoning_share": pytest.approx(4 / 5),
    }


def test_a_step_without_any_answer_has_no_shares():
    metrics = hacking_metrics([group("Hm.", "Hm.")])
    assert metrics.keys() == {
        "train/label_share/A",
        "train/label_share/B",
        "train/label_share/C",
        "train/invalid/no_answer",
    }


def test_questions_with_more_options_add_their_letters():
    four = {letter: f"drug {letter.lower()}{letter.lower()}" for letter in "ABCD"}
    metrics = hacking_metrics([group("The answer is A."), group("The answer is D.", answer="D", options=four)])
    assert metrics["train/answer_share/D"] == metrics["train/label_share/D"] == 0.5
    assert metrics["train/letter_distance"] == 0


@pytest.mark.parametrize(
    ("text", "has_none"),
    [
        ("B", True),
        ("The answer is B.", True),
        ("<think>\n\n</think>\n\nThe final answer is B.", True),
        # Whatever follows the answer came too late to lead to it.
        ("The answer is B. " + REASONING, True),
        (REASONING + "The answer is B.", False),
        (f"<think>{REASONING}</think>The answer is B.", False),
        # What it says at first is not what it says in the end.
        ("The answer is A. No, wait: " + REASONING + "The answer is B.", False),
        (
            "患者装有金属瓣膜并且没有怀孕因此只有一种药物被证明对她有帮助而其他药物都已经被排除在外了因为出血的风险太高了我们选择肝素。答案是B",
            False,
        ),
    ],
)
def test_an_answer_without_reasoning(text, has_none):
    rollouts = group(text)
    assert rollouts.rollouts[0].choice.letter == "B"
    assert hacking_metrics([rollouts])["train/no_reasoning_share"] == has_none


@given(st.text())
def test_an_opening_is_short_and_a_beginning(text):
    beginning = opening(text)
    assert len(beginning) <= MIN_REASONING_CHARACTERS
    if "<think>" not in text:
        assert text.startswith(beginning)


@pytest.mark.slow
@given(st.lists(LETTERS, min_size=1), st.lists(LETTERS, min_size=1))
def test_the_distance_of_letters_is_a_distance(first, second):
    one, other = letter_fractions(first, string.ascii_uppercase), letter_fractions(second, string.ascii_uppercase)
    assert total_variation(one, other) == pytest.approx(total_variation(other, one))
    assert 0 <= total_variation(one, other) <= 1 + 1e-12
    assert total_variation(one, one) == 0
