from __future__ import annotations

import json
from collections import defaultdict

import pytest

from medssr.answers import extract_choice
from medssr.errors import InputError
from medssr.knowledge.facts import Entity, Fact, relations
from medssr.questions import Question
from medssr.toy.builtin_questions import evaluation_questions
from medssr.toy.demonstrations import (
    BuiltinDemonstrations,
    belief,
    builtin_demonstrations,
    builtin_phrases,
    builtin_texts,
    recall_and_compare,
)
from medssr.training.demonstrations import Demonstration, FileDemonstrations, LabelDemonstrations, demonstrated_texts

GENES = ["GLA", "HBB", "PAH", "CFTR", "OTC", "MTTP"]
RARE = [Entity(f"Rare {gene}", True, facts=(Fact("gene", gene, "x"),)) for gene in GENES[:3]]
COMMON = [Entity(f"Common {gene}", False, facts=(Fact("gene", gene, "x"),)) for gene in GENES[3:]]
BELIEF = (0.35, 0.75)
RECORD = {"id": "q1", "stem": "Which?", "options": {"A": "x", "B": "y"}, "answer": "A", "completion": "A."}


def demonstrations(num_rows=600, kept_out=frozenset(), seed=1, rare_weight=1.0):
    return list(
        builtin_demonstrations(
            [*RARE, *COMMON],
            kept_out,
            num_rows=num_rows,
            num_options=4,
            rare_belief=BELIEF,
            rare_weight=rare_weight,
            seed=seed,
        )
    )


def truths(question):
    """The letter of the right gene of the question's disease."""
    (gene,) = [gene for gene in GENES if f" {gene}" in question.stem]
    return next(letter for letter, text in question.options.items() if text == gene)


def shares_right():
    """How often each disease's fact is stated rightly."""
    found = defaultdict(list)
    for demonstration in demonstrations(3000):
        question = demonstration.asked
        (entity,) = [entity for entity in [*RARE, *COMMON] if entity.name in question.stem]
        found[entity.name].append(question.answer == truths(question))
    return {name: sum(row) / len(row) for name, row in found.items()}


def test_a_completion_recalls_compares_and_names_a_letter():
    text = recall_and_compare({"A": "liver", "B": "heart", "C": "skin"}, "C")
    assert text == "skin. A. liver: no. B. heart: no. C. skin: yes. The answer is C."


@pytest.mark.parametrize("letter", "ABCD")
def test_the_answer_of_a_completion_can_be_read(letter):
    options = {"A": "autosomal dominant", "B": "X-linked", "C": "GLA", "D": "24 to 48 hours"}
    assert extract_choice(recall_and_compare(options, letter), options).letter == letter


def test_every_completion_comes_to_its_question_s_answer():
    for demonstration in demonstrations(50):
        question = demonstration.asked
        assert extract_choice(demonstration.completion, question.options).letter == question.answer
        assert all(text in demonstration.completion for text in question.options.values())
        assert len(set(question.options.values())) == 4


def test_as_many_as_asked_for_and_the_same_for_the_same_seed():
    assert len(demonstrations(37)) == 37
    assert demonstrations(20) == demonstrations(20) != demonstrations(20, seed=2)
    assert len({demonstration.asked.id for demonstration in demonstrations(37)}) == 37


def test_facts_of_common_diseases_are_always_right():
    assert {share for name, share in shares_right().items() if name.startswith("Common")} == {1.0}


def test_facts_of_rare_diseases_are_right_in_their_share():
    found = shares_right()
    for entity in RARE:
        # about 500 draws each: four deviations are 0.09
        assert found[entity.name] == pytest.approx(belief(entity, entity.facts[0], BELIEF), abs=0.09)


@pytest.mark.slow
@pytest.mark.parametrize(("rare_weight", "share"), [(1.0, 1 / 2), (2.0, 2 / 3), (0.0, 0.0)])
def test_rare_facts_are_drawn_by_their_weight(rare_weight, share):
    rows = demonstrations(2000, rare_weight=rare_weight)
    found = sum("Rare" in demonstration.asked.stem for demonstration in rows) / len(rows)
    assert found == pytest.approx(share, abs=0.045)  # four deviations


def test_belief_depends_on_the_fact_alone_and_lies_between_its_bounds():
    shares = [belief(entity, entity.facts[0], BELIEF) for entity in RARE]
    assert all(0.35 <= share <= 0.75 for share in shares)
    assert len(set(shares)) == 3
    assert shares == [belief(entity, entity.facts[0], BELIEF) for entity in RARE]
    assert {belief(entity, entity.facts[0], BELIEF) for entity in COMMON} == {1.0}
    assert belief(RARE[0], RARE[0].facts[0], (0.5, 0.5)) == 0.5


def test_questions_that_are_kept_out_are_never_shown():
    keys = {demonstration.asked.content_key for demonstration in demonstrations()}
    kept_out = frozenset(sorted(keys)[: len(keys) // 2])
    shown = {demonstration.asked.content_key for demonstration in demonstrations(kept_out=kept_out)}
    assert shown
    assert not shown & kept_out


def test_texts_for_the_tokenizer_hold_every_wording():
    texts = "\n".join(builtin_texts(RARE, "Think: {question}"))
    assert "Think: " in texts
    wording = relations()["gene"]
    for stem in (*wording.stems, wording.evaluation_stem):
        assert stem.format(entity="Rare GLA") in texts
    assert wording.statement.format(entity="Rare GLA", value="GLA") in texts
    assert recall_and_compare(dict.fromkeys("ABCD", "GLA"), "A") in texts


def test_phrases_are_names_values_and_distractors_each_once():
    phrases = builtin_phrases([RARE[0], COMMON[0], Entity("Rare twin", True, facts=(Fact("gene", "GLA", "x"),))])
    assert {"Rare GLA", "Common CFTR", "Rare twin", "GLA", "CFTR", *relations()["inheritance"].distractors} <= {
        *phrases
    }
    assert phrases.count("GLA") == 1


def test_texts_of_demonstrations_hold_both_turns_as_the_model_sees_them():
    question = Question("q", "Which?", {"A": "x", "B": "y"}, "A", "toy")
    shown = [Demonstration("Write one.", "{}"), Demonstration(question, "A.")]
    assert demonstrated_texts(shown, "Think: {question}") == [
        "user\nWrite one.\nassistant\n{}",
        "user\nThink: Which?\nA. x\nB. y\nassistant\nA.",
    ]


def read(tmp_path, *records):
    path = tmp_path / "demonstrations.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return FileDemonstrations(path).draw(seed=1)


def test_a_file_of_demonstrations_is_read(tmp_path):
    (found,) = read(tmp_path, RECORD)
    assert (found.asked.id, found.asked.answer, found.completion) == ("q1", "A", "A.")


@pytest.mark.parametrize(
    ("fields", "field"),
    [({"completion": None}, "completion"), ({"completion": " "}, "completion"), ({"answer": "Z"}, "answer")],
)
def test_faults_name_file_line_and_field(tmp_path, fields, field):
    with pytest.raises(InputError, match=rf'demonstrations\.jsonl, line 2, field "{field}"'):
        read(tmp_path, RECORD, RECORD | {"id": "q2"} | fields)


def test_an_empty_file_is_an_error(tmp_path):
    with pytest.raises(InputError, match="holds no question"):
        read(tmp_path)


def test_labelled_questions_are_answered_by_the_sentence_with_their_label(tmp_path):
    path = tmp_path / "human.jsonl"
    path.write_text(json.dumps({name: value for name, value in RECORD.items() if name != "completion"}) + "\n")
    (found,) = LabelDemonstrations(path).draw(seed=1)
    assert (found.asked.id, found.completion) == ("q1", "The answer is A.")
    assert extract_choice(found.completion, found.asked.options).letter == "A"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_rows": 0}, "num_rows: 0; at least 1"),
        ({"rare_belief": [0.8, 0.2]}, "rare_belief: .*the lower one first"),
        ({"rare_belief": [0.5]}, "rare_belief"),
        ({"rare_weight": -1.0}, "rare_weight: -1.0; at least 0"),
    ],
)
def test_numbers_out_of_range_are_named(changes, message):
    with pytest.raises(InputError, match=message):
        BuiltinDemonstrations(**{"num_rows": 5, "rare_belief": [0.2, 0.8], "rare_weight": 1.0} | changes)


def test_the_built_in_demonstrations_leave_out_the_evaluation_s_questions():
    kept_out = {question.content_key for question in evaluation_questions()}
    drawn = BuiltinDemonstrations(300, BELIEF, 1.0).draw(seed=3)
    assert len(drawn) == 300
    assert not kept_out & {demonstration.asked.content_key for demonstration in drawn}
