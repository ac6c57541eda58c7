from __future__ import annotations

import string
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.option_grid import option_grid

from medssr.answers.options_about_options import option_about_options
from medssr.benchmarks.reader import load_benchmark
from medssr.engines.sampled_answers import SampledAnswer
from medssr.evaluation.option_permutations import option_orders, order_score, permuted_questions
from medssr.knowledge.entities import BuiltinEntities
from medssr.knowledge.facts import builtin_common_diseases, relations
from medssr.questions import Question, read_questions
from medssr.questions.option_order import refers_to_order, shuffle_options
from medssr.resources import RESOURCES
from medssr.synthesis.filters import all_or_none_of_the_above
from medssr.synthesis.generators import Draft
from medssr.training.step_loader import PromptDataModule


def question(*texts, stem="Which organ?", answer="A", **fields):
    options = dict(zip(string.ascii_uppercase, texts, strict=False))
    return Question("q", stem, options, answer, "toy", **fields)


@pytest.mark.slow
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


def draft_of(item):
    return Draft(item.stem, item.options, None, None, None)


@pytest.mark.parametrize("is_fixed", [True, False])
def test_evaluation_training_and_synthesis_agree_on_every_option(is_fixed):
    for text in option_grid(is_about_options=is_fixed):
        before = question("liver", "heart", "lung", text)
        assert refers_to_order(before) == is_fixed, text
        assert (len(set(option_orders(before, 4, seed=0))) == 1) == is_fixed, text
        assert all(shuffle_options(before, seed) == before for seed in range(5)) == is_fixed, text
        rejected = all_or_none_of_the_above(draft_of(before), None, None)
        assert rejected == (text if is_fixed else None), text


def test_either_of_the_above_stays_where_it_is(shared_data):
    released = list(load_benchmark(shared_data / "inputs" / "options_about_options.jsonl"))
    assert [item.options["C"] for item in released] == ["Either of the above"]
    orders = option_orders(released[0], 4, seed=0)
    assert all(item.options == released[0].options for item in permuted_questions(released[0], orders))
    right = SampledAnswer("The answer is C.", 5, False, "C", "answer_phrase")
    assert order_score(released, [[right] * 4], 4).num_fixed == 1


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
