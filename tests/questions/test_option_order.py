from __future__ import annotations

import string
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medssr.knowledge.entities import BuiltinEntities
from medssr.knowledge.facts import builtin_common_diseases, relations
from medssr.questions import Question, read_questions
from medssr.questions.option_order import option_about_options, refers_to_order, shuffle_options
from medssr.resources import RESOURCES
from medssr.training.step_loader import PromptDataModule


def question(*texts, stem="Which organ?", answer="A", **fields):
    options = dict(zip(string.ascii_uppercase, texts, strict=False))
    return Question("q", stem, options, answer, "toy", **fields)


@given(st.integers(2, 10), st.integers(0, 2**60), st.data())
def test_answer_and_truth_follow_their_texts(num_options, seed, data):
    letters = list(string.ascii_uppercase[:num_options])
    answer, truth = (data.draw(st.sampled_from(letters)) for _ in range(2))
    before = question(
        *(f"text {letter.lower()}" for letter in letters),
        answer=answer,
        provenance={"truth": truth, "relation": "organ"},
    )
    after = shuffle_options(before, seed)
    assert list(after.options) == letters
    assert sorted(after.options.values()) == sorted(before.options.values())
    assert after.options[after.answer] == before.options[answer]
    assert after.options[after.provenance["truth"]] == before.options[truth]
    assert (after.id, after.stem, after.source, after.content_key) == ("q", "Which organ?", "toy", before.content_key)
    assert after.provenance["relation"] == "organ"
    assert before.provenance["truth"] == truth


def test_every_order_comes_as_often():
    before = question("liver", "heart", "lung", answer="A")
    orders = Counter(tuple(shuffle_options(before, seed).options.values()) for seed in range(1200))
    assert len(orders) == 6
    assert all(150 < count < 250 for count in orders.values())


def test_a_question_without_answer_or_truth_has_none_afterwards():
    after = shuffle_options(question("liver", "heart", answer=None), 1)
    assert after.answer is None
    assert after.provenance == {}


@pytest.mark.parametrize(
    "text",
    [
        "All of the above",
        "all the above",
        "None of the above.",
        "None of these",
        "Neither of the above options",
        "Both A and C",
        "A and B",
        "A, B",
        "A & B only",
        "(a) and (b)",
        "(A) or (B)",
        "A/B",
        "only B",
        "Option B",
        "the former",
        "Two of the above are true",
        "All of the options",
        "Both A and B",
        "A, B and C",
        "A, B, and D",
        "(a) & (b)",
        "a and b",
        "Only B",
        "A only",
        "(c) only",
        "B alone",
        "A and C only",
        "All except B",
        "All of the above except C",
        "All but D",
        "Either A or C",
        "Neither A nor B",
        "None of them",
        "None of the statements above",
        "Any of above conditions",
        "A is correct",
        "Both A and B are correct",
        "Combination of A and C",
        "A or B, depending on age",
        "A followed by B and C",
    ],
)
def test_options_that_mean_others_keep_the_order(text):
    before = question("liver", "heart", "lung", text)
    assert refers_to_order(before)
    assert all(shuffle_options(before, seed) == before for seed in range(5))


@pytest.mark.parametrize(
    "text",
    [
        "Vitamin A",
        "Hepatitis B",
        "previous chickenpox",
        "Skin above the clavicle",
        "children below 18 years",
        "Decreased A-a gradient",
        "H&E staining",
        "A patient with fever and B symptoms",
        "infection following surgery",
        "yes",
        "maybe",
        "none",
        "Both kidneys",
        "Influenza A virus",
        "vitamins A and D",
        "Vitamin A and C",
        "Hepatitis A or B",
        "Both A and B blood group antigens",
        "Anti-A, B, or O antibodies in the serum",
        "Type A",
        "Type A and B",
        "Type B only",
        "Factor H and factor B",
        "HLA-A or B",
        "A",
        "AB",
        "AB, A",
        "Only B cells",
        "A/B ratio",
        "all of the small joints",
        "All those with fever",
        "One finger above the umbilicus",
        "Two cm below the costal margin",
        "in the latter half of pregnancy",
        "the following morning",
    ],
)
def test_other_texts_are_shuffled(text):
    before = question("liver", "heart", "lung", text)
    assert not refers_to_order(before)
    assert any(shuffle_options(before, seed) != before for seed in range(5))


def test_a_stem_that_names_an_option_keeps_the_order():
    assert refers_to_order(question("liver", "heart", stem="Why is option B wrong?"))
    assert not refers_to_order(question("liver", "heart", stem="What do options for group B have in common?"))


def test_nothing_of_the_built_in_world_refers_to_options():
    for file in sorted((RESOURCES / "questions").glob("*.jsonl")):
        assert not [item.id for item in read_questions(file) if refers_to_order(item)]
    facts = [fact for entity in (*BuiltinEntities().entities(), *builtin_common_diseases()) for fact in entity.facts]
    texts = {text for fact in facts for text in (fact.value, *fact.also_true, *relations()[fact.relation].distractors)}
    assert len(texts) > 100
    assert not [text for text in texts if option_about_options({"A": text}) is not None]


def epochs(has_shuffled_options, **fields):
    """The questions of three epochs, by id."""
    settings = {"seed": 1, "stage": "stage"} | fields
    questions = [
        Question(f"q{number}", "Which?", dict(zip("ABCD", ("liver", "heart", "lung", "skin"), strict=True)), "A", "toy")
        for number in range(8)
    ]
    data = PromptDataModule(
        questions,
        num_steps=6,
        num_prompts_per_step=4,
        has_shuffled_options=has_shuffled_options,
        **settings,
    )
    drawn = [item for batch in data.train_dataloader() for item in batch.items]
    return [{item.id: item for item in drawn[start : start + 8]} for start in range(0, 24, 8)]


def test_each_epoch_has_orders_of_its_own_and_the_same_on_every_run():
    first, second, third = epochs(True)
    assert first.keys() == second.keys() == third.keys()
    assert first != second != third
    assert len({tuple(item.options.values()) for item in first.values()}) > 1
    assert all(item.options[item.answer] == "liver" for epoch in (first, second, third) for item in epoch.values())
    assert epochs(True) == [first, second, third]
    assert epochs(True, seed=2) != [first, second, third] != epochs(True, stage="other")


def test_without_shuffling_the_questions_stay_as_they_are():
    for epoch in epochs(False):
        assert all(item.answer == "A" for item in epoch.values())
