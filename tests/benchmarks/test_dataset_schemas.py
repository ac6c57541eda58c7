import json

import pytest
from medssr.benchmarks.dataset_schemas import MEDXPERTQA, RELEASED, ItemForm, question_from_item

from medssr.benchmarks.reader import load_benchmark
from medssr.errors import InputError
from medssr.questions import FieldError

TEN = {letter: f"drug {letter}" for letter in "ABCDEFGHIJ"}
ITEM = {"id": "Text-7", "question": "Which drug?", "options": TEN, "label": "J", "body_system": "Nervous"}


def test_medxpertqa_has_ten_options_and_keeps_its_fields():
    question = question_from_item(ITEM, MEDXPERTQA, "medxpertqa", 1)
    assert (question.id, question.stem, question.answer, question.source) == (
        "Text-7",
        "Which drug?",
        "J",
        "medxpertqa",
    )
    assert question.options == TEN
    assert question.provenance == {"body_system": "Nervous"}


@pytest.mark.parametrize(
    "options",
    [
        [{"letter": letter, "content": text} for letter, text in TEN.items()],
        list(TEN.values()),
        dict(reversed(TEN.items())),
        TEN | {"K": None},
    ],
    ids=["letter and content", "texts", "unordered", "empty place of a table"],
)
def test_options_are_written_in_several_ways(options):
    assert question_from_item(ITEM | {"options": options}, MEDXPERTQA, "m", 1).options == TEN
    assert list(question_from_item(ITEM | {"options": options}, MEDXPERTQA, "m", 1).options) == list(TEN)


def test_a_label_in_a_list_is_a_letter():
    assert question_from_item(ITEM | {"label": ["B"]}, MEDXPERTQA, "m", 1).answer == "B"
    with pytest.raises(FieldError, match="one letter"):
        question_from_item(ITEM | {"label": ["B", "C"]}, MEDXPERTQA, "m", 1)


def test_options_that_the_text_repeats_are_taken_off_the_stem():
    repeated = " ".join(f"({letter}) {text}" for letter, text in TEN.items())
    text = f"Which drug?\nAnswer Choices: {repeated}"
    assert question_from_item(ITEM | {"question": text}, MEDXPERTQA, "m", 1).stem == "Which drug?"
    other = "Which drug?\nAnswer Choices: (A) something else"
    assert question_from_item(ITEM | {"question": other}, MEDXPERTQA, "m", 1).stem == other


@pytest.mark.parametrize("contexts", ["An abstract.", ["An abstract."], ["An abstract.", " "]])
def test_contexts_stand_in_front_of_the_question(contexts):
    item = {"id": "p", "question": "Does it help?\nA. yes\nB. no", "gold": "A", "contexts": contexts}
    question = question_from_item(item, RELEASED, "pubmedqa", 1)
    assert question.stem == "An abstract.\n\nDoes it help?"
    assert question.provenance == {"has_context": True}


def test_items_without_ids_are_numbered():
    form = ItemForm(None, "question", "options", "answer")
    assert question_from_item({"question": "Which?", "options": TEN, "answer": "A"}, form, "m", 12).id == "12"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"label": "K"}, "label"),
        ({"label": None}, "label"),
        ({"options": None}, "options"),
        ({"options": {}}, "options"),
        ({"options": "A. yes"}, "options"),
        ({"options": {"A": "one", "C": "two"}}, "options"),
        ({"options": {"A": "one", "B": 2}}, "options"),
        ({"question": 3}, "question"),
        ({"question": "  "}, "question"),
        ({"contexts": [1]}, "contexts"),
        ({"id": 7}, "id"),
    ],
)
def test_a_fault_names_the_field_of_the_item(change, field):
    with pytest.raises(FieldError) as caught:
        question_from_item(ITEM | change, MEDXPERTQA, "m", 1)
    assert caught.value.field == field


@pytest.mark.parametrize("as_list", [False, True])
def test_a_file_is_known_by_the_fields_of_its_first_item(tmp_path, as_list):
    items = [ITEM, ITEM | {"id": "Text-8"}]
    path = tmp_path / "medxpertqa.jsonl"
    path.write_text(json.dumps(items) if as_list else "\n".join(map(json.dumps, items)), encoding="utf-8")
    assert [question.answer for question in load_benchmark(path)] == ["J", "J"]


def test_released_items_may_stand_one_a_line(tmp_path):
    path = tmp_path / "toy.jsonl"
    item = {"id": "1", "question": "Which?\nA. one\nB. two", "gold": "B", "name": "toy"}
    path.write_text(json.dumps(item) + "\n" + json.dumps(item | {"id": "2", "gold": "C"}) + "\n", encoding="utf-8")
    with pytest.raises(InputError, match=r'toy\.jsonl, line 2, field "gold": \'C\' is no option'):
        load_benchmark(path)


def test_the_line_of_an_item_of_a_list_is_named(tmp_path):
    path = tmp_path / "toy.json"
    item = {"id": "1", "question": "Which, [one]?\nA. {one\nB. two", "gold": "B"}
    path.write_text(json.dumps([item, item | {"id": "2", "gold": "C"}], indent=1), encoding="utf-8")
    line = path.read_text().splitlines().index(" {", 2) + 1
    with pytest.raises(InputError, match=f"The item starts on line {line}"):
        load_benchmark(path)
