import json

import pytest

from medssr.benchmarks.reader import load_benchmark
from medssr.errors import InputError
from medssr.questions import Question, write_questions

ITEM = {"id": "toy-1", "question": "Which organ makes bile?\nA. liver\nB. heart", "gold": "A", "name": "toy"}


def write_items(tmp_path, *items):
    path = tmp_path / "toy.json"
    path.write_text("[\n" + ",\n".join(map(json.dumps, items)) + "\n]", encoding="utf-8")
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "count", "num_options"), [("bioasq", 782, 2), ("lancet", 412, 4), ("medqa", 1273, 4), ("pubmedqa", 500, 3)]
)
def test_the_released_files_load_whole(shared_data, name, count, num_options):
    questions = load_benchmark(shared_data / "benchmarks" / f"{name}.json")
    assert len(questions) == count
    assert {len(question.options) for question in questions} == {num_options}
    assert all(question.answer in question.options for question in questions)
    assert {question.source.lower() for question in questions} == {name}


def test_fields_of_the_lancet_release_are_kept_as_provenance(shared_data):
    question = load_benchmark(shared_data / "benchmarks" / "lancet.json")[0]
    assert question.provenance["is_reasoning"] is True
    assert question.provenance["reasoning_prob"] == pytest.approx(0.8103852272)
    assert question.provenance["adversarial_trace_0"].startswith("I think the answer is B.")
    assert question.provenance["long"] is False
    assert not {"id", "question", "gold", "name"} & set(question.provenance)


def test_a_released_item_becomes_a_question(tmp_path):
    assert load_benchmark(write_items(tmp_path, ITEM)) == [
        Question("toy-1", "Which organ makes bile?", {"A": "liver", "B": "heart"}, "A", "toy")
    ]


def test_an_item_without_a_name_has_the_name_of_its_file(tmp_path):
    item = {name: value for name, value in ITEM.items() if name != "name"}
    assert load_benchmark(str(write_items(tmp_path, item)))[0].source == "toy"


def test_lettered_lines_in_the_stem_stay_in_the_stem(tmp_path):
    text = "Two claims:\nA. The liver makes bile.\nB. The heart does.\nWhich are true?\nA. one\nB. both\nC. none"
    question = load_benchmark(write_items(tmp_path, ITEM | {"question": text}))[0]
    assert question.stem.endswith("Which are true?")
    assert question.options == {"A": "one", "B": "both", "C": "none"}


@pytest.mark.parametrize("name", ["questions.jsonl", "questions.json"])
def test_question_jsonl_is_known_by_its_content(tmp_path, name):
    questions = [
        Question("q1", "Which organ?", {"A": "liver", "B": "heart"}, "A", "toy", entity="Wilson disease", is_rare=True),
        Question("q2", "Which other organ?", {"A": "liver", "B": "heart"}, "B", "toy", is_rare=False),
    ]
    write_questions(tmp_path / name, questions)
    assert load_benchmark(tmp_path / name) == questions


def test_a_byte_order_mark_is_no_content(tmp_path):
    path = tmp_path / "toy.json"
    path.write_text(json.dumps([ITEM]), encoding="utf-8-sig")
    assert len(load_benchmark(path)) == 1


@pytest.mark.parametrize(
    ("change", "field", "found"),
    [
        ({"gold": "C"}, "gold", "'C' is no option; the options are A, B"),
        ({"gold": ""}, "gold", "is missing or null"),
        ({"gold": None}, "gold", "is missing or null"),
        ({"gold": 1}, "gold", "1 is no option"),
        ({"question": "Which organ makes bile?"}, "question", "no lettered options"),
        ({"question": "Which organ?\nA. liver\nC. heart"}, "question", "lettered A, C"),
        ({"question": "Which organ?\nA. liver\nB. "}, "question", "option B is empty"),
        ({"question": "A. liver\nB. heart"}, "question", "expected a text that is not empty"),
        ({"question": ["Which organ?"]}, "question", "expected a text"),
        ({"id": 7.5}, "id", "found 7.5"),
        ({"id": " "}, "id", "found ' '"),
        ({"name": ""}, "name", "found ''"),
    ],
)
def test_a_bad_field_is_named_with_its_file_and_item(tmp_path, change, field, found):
    path = write_items(tmp_path, ITEM | {"id": "toy-0"}, ITEM | change)
    with pytest.raises(InputError) as caught:
        load_benchmark(path)
    assert str(caught.value).startswith(f'{path}, line 3, field "{field}": ')
    assert found in str(caught.value)


@pytest.mark.parametrize("name", ["question", "gold"])
def test_a_missing_field_is_named(tmp_path, name):
    path = write_items(tmp_path, {key: value for key, value in ITEM.items() if key != name})
    with pytest.raises(InputError, match=f'line 2, field "{name}": is missing'):
        load_benchmark(path)


def test_questions_without_ids_are_numbered_but_ids_are_given_to_all_or_none(tmp_path):
    item = {name: value for name, value in ITEM.items() if name != "id"}
    assert [question.id for question in load_benchmark(write_items(tmp_path, item, item))] == ["1", "2"]
    with pytest.raises(InputError, match=r'line 3, field "id": found None.*or none of them'):
        load_benchmark(write_items(tmp_path, ITEM, item))


def test_an_id_that_occurs_twice_names_both_items(tmp_path):
    path = write_items(tmp_path, ITEM, ITEM | {"id": "toy-2"}, ITEM)
    with pytest.raises(InputError, match='line 4, field "id": "toy-1" was used on line 2 already'):
        load_benchmark(path)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("", "holds no question"),
        (" \n\n", "holds no question"),
        ("[]", "holds no question"),
        ("{}", "found no field"),
        ('[{"id": "toy-1",\n "question": ', "line 2: is not valid JSON"),
        ("[1]", "line 1: found int 1"),
        ("version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        ('{"id": "q", \n', "line 2: is not valid JSON"),
        ('{"id": "q", "stem": "S?"}\n', 'line 1, field "options": is missing'),
    ],
)
def test_a_file_that_is_no_benchmark_says_why(tmp_path, content, found):
    path = tmp_path / "toy.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_benchmark(path)
    assert str(path) in str(caught.value)
    assert found in str(caught.value)


def test_a_question_without_gold_answer_is_named_by_its_line(tmp_path):
    path = tmp_path / "toy.jsonl"
    record = {"id": "q1", "stem": "Which organ?", "options": {"A": "liver", "B": "heart"}, "answer": "A"}
    lines = [json.dumps(record), "", json.dumps(record | {"id": "q2", "answer": None})]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(InputError, match='line 3, field "answer": is missing or null'):
        load_benchmark(path)


def test_an_absent_file_and_a_binary_file_are_input_errors(tmp_path):
    with pytest.raises(InputError, match="there is no such file"):
        load_benchmark(tmp_path / "absent.json")
    (tmp_path / "binary.json").write_bytes(b"[\xff\xfe")
    with pytest.raises(InputError, match="is not UTF-8 text"):
        load_benchmark(tmp_path / "binary.json")
