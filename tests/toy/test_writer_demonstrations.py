"""Lessons in writing: what they ask, and what their replies take from passages and from memory."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from medssr.errors import InputError
from medssr.knowledge.facts import RESOURCES, Fact, builtin_common_diseases, builtin_rare_diseases, relations
from medssr.synthesis.replies import parse_reply
from medssr.toy.builtin_questions import evaluation_questions
from medssr.toy.demonstrations import belief
from medssr.toy.writer_demonstrations import WriterDemonstrations
from medssr.training.demonstrations import Demonstration

TEMPLATE = RESOURCES / "prompts" / "synthesis_tiny.txt"
BELIEF = (0.35, 0.75)
RARE = {entity.name: entity for entity in builtin_rare_diseases()}
COMMON = {entity.name: entity for entity in builtin_common_diseases()}
ENTITIES = RARE | COMMON
SUBJECTS = {
    stem.format(entity=name): (name, relation)
    for name in ENTITIES
    for relation, wording in relations().items()
    for stem in wording.stems
}


@dataclass
class Read:
    """What a lesson says: its prompt's sentences and disease, the reply's disease, relation, statement and options."""

    sentences: list[str]
    named: str | None
    name: str
    relation: str
    statement: str
    options: list[str]

    @property
    def fact(self) -> Fact:
        (found,) = [fact for fact in ENTITIES[self.name].facts if fact.relation == self.relation]
        return found

    def states(self, value: str) -> str:
        return relations()[self.relation].statement.format(entity=self.name, value=value)


def lessons(kind, num_rows=300, seed=1, **fields) -> list[Demonstration]:
    weights = {"passages": 0, "name": 0, "nothing": 0} | {kind: 1}
    values = {"num_rows": num_rows, "prompt_path": TEMPLATE, "weights": weights, "max_passages": 2}
    return WriterDemonstrations(**(values | {"rare_belief": BELIEF} | fields)).draw(seed)


def read(lesson) -> Read:
    *sentences, letters = lesson.asked.split("\n")
    assert letters == "A B C D"
    named = sentences.pop() if sentences else None
    statement, _ = lesson.completion.split("\n")
    stem, options = parse_reply(lesson.completion)
    name, relation = SUBJECTS[stem]
    assert list(options) == list("ABCD")
    assert len(set(options.values())) == 4
    return Read(sentences, named, name, relation, statement, list(options.values()))


def test_with_passages_the_first_option_alone_is_what_they_state_of_the_disease():
    for one in map(read, lessons("passages")):
        assert one.named == one.name
        assert one.statement in one.sentences
        assert [one.states(option) in one.sentences for option in one.options] == [True, False, False, False]
        assert one.statement == one.states(one.options[0])


def test_what_passages_state_is_drawn_and_what_is_true_is_no_wrong_option():
    found = [read(lesson) for lesson in lessons("passages")]
    # one of 125 findings is true by chance, but of 4 patterns of inheritance
    assert sum(one.options[0] == one.fact.value for one in found) / len(found) < 0.15
    assert not any({one.fact.value, *one.fact.also_true} & set(one.options[1:]) for one in found)


def test_a_passage_has_the_sentences_of_the_corpus():
    for one in map(read, lessons("passages", max_passages=1)):
        facts = ENTITIES[one.name].facts
        assert len(one.sentences) == len(facts)
        for sentence, fact in zip(one.sentences, facts, strict=True):
            before, after = relations()[fact.relation].statement.format(entity=one.name, value="|").split("|")
            assert sentence.startswith(before)
            assert sentence.endswith(after)


def test_the_passage_of_another_disease_stands_on_either_side():
    found = [read(lesson) for lesson in lessons("passages")]
    is_with_other = [len(one.sentences) > len(ENTITIES[one.name].facts) for one in found]
    is_last = [one.name in one.sentences[-1] for one, other in zip(found, is_with_other, strict=True) if other]
    for places in (is_with_other, is_last):
        assert 0.35 < sum(places) / len(places) < 0.65


@pytest.mark.slow
def test_from_memory_common_facts_are_right_and_rare_ones_in_their_share():
    found = [read(lesson) for lesson in lessons("name", num_rows=2000)]
    assert all((one.sentences, one.named) == ([], one.name) for one in found)
    assert all(one.options[0] == one.fact.value for one in found if one.name in COMMON)
    rare = [one for one in found if one.name in RARE]
    expected = [belief(RARE[one.name], one.fact, BELIEF) for one in rare]
    # about 1,000 draws: four deviations are 0.063
    share = sum(one.options[0] == one.fact.value for one in rare) / len(rare)
    assert share == pytest.approx(sum(expected) / len(expected), abs=0.063)
    # Where the reply is wrong, the right value is not among the options at all.
    assert not any(one.fact.value in one.options[1:] for one in rare)


def test_without_a_disease_the_reply_asks_about_a_common_one_rightly():
    found = [read(lesson) for lesson in lessons("nothing")]
    assert all((one.sentences, one.named) == ([], None) for one in found)
    assert all(one.name in COMMON and one.options[0] == one.fact.value for one in found)
    assert len({one.name for one in found}) > 50


@pytest.mark.slow
def test_kinds_are_drawn_by_their_weights():
    drawn = lessons("name", num_rows=1500, weights={"passages": 4, "name": 1, "nothing": 0})
    num_with_passages = sum(len(read(lesson).sentences) > 0 for lesson in drawn)
    assert num_with_passages / 1500 == pytest.approx(0.8, abs=0.042)  # four deviations


def test_as_many_as_asked_for_and_the_same_for_the_same_seed():
    assert len(lessons("passages", num_rows=37)) == 37
    assert lessons("passages", num_rows=20) == lessons("passages", num_rows=20)
    assert lessons("passages", num_rows=20) != lessons("passages", num_rows=20, seed=2)


@pytest.mark.slow
def test_the_evaluation_is_never_shown():
    stems = {question.stem for question in evaluation_questions()}
    for kind in ("passages", "name", "nothing"):
        assert not stems & {parse_reply(lesson.completion)[0] for lesson in lessons(kind)}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_rows": 0}, "num_rows 0"),
        ({"max_passages": 0}, "max_passages 0"),
        ({"weights": {"passages": 1, "name": 1}}, "nothing"),
        ({"weights": {"passages": 0, "name": 0, "nothing": 0}}, "not all of them 0"),
        ({"weights": {"passages": -1, "name": 1, "nothing": 1}}, "demonstrations.weights"),
        ({"prompt_path": "nowhere.txt"}, "no such prompt template"),
    ],
)
def test_settings_out_of_range_are_an_error(fields, message):
    with pytest.raises(InputError, match=re.escape(message)):
        lessons("name", **fields)
