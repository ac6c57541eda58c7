"""Tests the one reader of question files on whole files: the containers, the real inputs, and arbitrary ones."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medssr.errors import InputError
from medssr.questions import Question, open_questions, read_labelled_questions, read_questions

ROWS = [
    {"id": "1", "question": "Which, organ?", "options": {"A": "liver", "B": "heart"}, "label": "B"},
    {"id": "2", "question": "Welche Drüse?", "options": {"A": "Leber", "B": "Herz"}, "label": "A"},
]
EXPECTED = [
    ("1", "Which, organ?", {"A": "liver", "B": "heart"}, "B"),
    ("2", "Welche Drüse?", {"A": "Leber", "B": "Herz"}, "A"),
]
CSV = 'id,question,Option A,Option B,Answer\n1,"Which, organ?",liver,heart,B\n2,Welche Drüse?,Leber,Herz,A\n'


def facts(path):
    return [(item.id, item.stem, item.options, item.answer) for item in read_questions(path)]


# --- The inputs that went wrong ------------------------------------------------------------------------------------

RIGHT = {
    "opt_prefixed.jsonl": ("MedXpertQA, JSONL", [({"A": "x", "B": "y"}, "B")]),
    "letter_answercue.json": ("MedSSR release, JSON list", [({"A": "Vitamin A", "B": "Vitamin C"}, "B")]),
    "ori_pqal.json": (
        "PubMedQA, JSON object by id",
        [({"A": "yes", "B": "no", "C": "maybe"}, letter) for letter in "AC"],
    ),
    "medmcqa.json": (
        "MedMCQA, JSONL",
        [({"A": "Vit A", "B": "Vit B1", "C": "Vit C", "D": "Vit D"}, letter) for letter in "CD"],
    ),
    "mmlu_anatomy.csv": (
        "MMLU (columns), CSV without header",
        [({"A": "Vagus", "B": "Phrenic", "C": "Ulnar", "D": "None"}, "B")],
    ),
    "medbullets_op5.csv": (
        "MedBullets, CSV",
        [({"A": "Vit A", "B": "Vit B1", "C": "Vit C", "D": "Vit D", "E": "Vit E"}, "C")],
    ),
    "huatuo_eval.json": (
        "MedQA, JSON object of lists",
        [({"A": "Vitamin A", "B": "Vitamin B1", "C": "Vitamin C", "D": "Vitamin D"}, "C")],
    ),
    "bigbio_medqa.jsonl": ("MedQA, JSONL", [({"A": "Vit A", "B": "Vit C"}, "B")]),
    "pretty.jsonl": ("MedXpertQA, JSON, indented objects one behind another", [({"A": "x", "B": "y"}, "A")]),
}


@pytest.mark.parametrize("name", RIGHT)
def test_the_inputs_are_read_and_their_form_is_named(shared_data, name):
    file = open_questions(shared_data / "inputs" / name)
    description, expected = RIGHT[name]
    assert file.description == description
    assert [(question.options, question.answer) for question in file.questions()] == expected


def test_five_options_of_medqa_and_its_ids(shared_data):
    first, second = read_questions(shared_data / "inputs" / "medqa_us.jsonl")
    assert (first.id, first.answer, second.answer) == ("1", "B", "C")
    assert first.options["B"] == "Mesangial IgA"
    assert first.provenance["meta_info"] == "step1"


def test_the_abstract_of_pubmedqa_stands_before_the_question(shared_data):
    first = next(read_questions(shared_data / "inputs" / "ori_pqal.json"))
    assert (first.id, first.stem) == ("11111111", "Background text.\n\nResults text.\n\nDoes aspirin lower fever?")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("many_list.jsonl", r'line 1, field "options": holds 30 options; at most 26'),
        (
            "half_surrogate_questions.jsonl",
            r'line 1, field "question": holds half a surrogate pair \(\\ud83d\).*remove it',
        ),
        ("orphanet_nonrare.jsonl", r'line 1, field "question": is missing; found orphacode'),
        ("mondo.obo", "which is no JSON; expected JSON, or one of"),
    ],
)
def test_the_inputs_that_are_no_questions_are_refused(shared_data, name, message):
    with pytest.raises(InputError, match=message):
        list(read_questions(shared_data / "inputs" / name))


# --- Containers ----------------------------------------------------------------------------------------------------


def as_bytes(value):
    return json.dumps(value, ensure_ascii=False).encode()


BY_ID = {row["id"]: {name: value for name, value in row.items() if name != "id"} for row in ROWS}
CONTAINERS = {
    "JSONL": ("q.jsonl", b"\n\n".join(map(as_bytes, ROWS))),
    "a JSONL file called JSON": ("q.json", b"\n".join(map(as_bytes, ROWS))),
    "list": ("q.json", as_bytes(ROWS)),
    "list with BOM": ("q.json", b"\xef\xbb\xbf" + as_bytes(ROWS)),
    "list in UTF-16": ("q.json", json.dumps(ROWS).encode("utf-16")),
    "indented objects": ("q.jsonl", b"\n".join(json.dumps(row, indent=2).encode() for row in ROWS)),
    "indented objects with commas": ("q.jsonl", b",\n".join(json.dumps(row, indent=2).encode() for row in ROWS)),
    "object of one list": ("q.json", as_bytes({"version": "1", "data": ROWS})),
    "rows of the hub's viewer": (
        "q.json",
        as_bytes({"features": [{"name": "id"}], "rows": [{"row": row} for row in ROWS]}),
    ),
    "object by id": ("q.json", as_bytes(BY_ID)),
    "indented object by id": ("q.json", json.dumps(BY_ID, indent=1).encode()),
    "gzip": ("q.jsonl.gz", gzip.compress(b"\n".join(map(as_bytes, ROWS)))),
    "gzip of a list": ("q.json.gz", gzip.compress(as_bytes(ROWS))),
    "CSV": ("q.csv", CSV.encode()),
    "CSV of Excel": ("q.csv", CSV.replace("\n", "\r\n").encode("utf-8-sig")),
    "semicolons, cp1252": ("q.csv", CSV.replace(",", ";").replace("Which;", "Which,").encode("cp1252")),
    "tabs, UTF-16": ("q.csv", CSV.replace(",", "\t").replace("Which\t", "Which,").encode("utf-16")),
    "TSV": ("q.tsv", CSV.replace(",", "\t").replace("Which\t", "Which,").encode()),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_the_same_questions_are_read_from_every_container(tmp_path, name):
    file, content = CONTAINERS[name]
    (tmp_path / file).write_bytes(content)
    assert facts(tmp_path / file) == EXPECTED


def test_line_breaks_and_quotes_in_cells_stay(tmp_path):
    path = tmp_path / "q.csv"
    path.write_text('question,A,B,answer\n"First line.\nSaid ""x"".",a,b,A\nNext?,c,d,\n', encoding="utf-8")
    first, second = read_questions(path)
    assert (first.stem, second.stem, second.answer) == ('First line.\nSaid "x".', "Next?", None)
    with pytest.raises(InputError, match=r'q\.csv, line 4, field "answer": is missing or null'):
        read_labelled_questions(path)


def test_the_datasets_of_a_benchmark_file_stay_apart(tmp_path):
    path = tmp_path / "benchmark.json"
    item = {"question": "Which?", "options": {"A": "x", "B": "y"}, "answer": "A"}
    path.write_text(json.dumps({"medqa": {"0000": item}, "mmlu": {"0000": item | {"answer": "B"}}}), encoding="utf-8")
    questions = list(read_questions(path))
    assert [(item.id, item.source, item.answer) for item in questions] == [
        ("medqa-0000", "medqa", "A"),
        ("mmlu-0000", "mmlu", "B"),
    ]


def test_the_exams_of_head_qa(tmp_path):
    answers = [{"aid": 1, "atext": "x"}, {"aid": 2, "atext": "y"}]
    data = [{"qid": "1", "qtext": "Which?", "ra": "2", "answers": answers}]
    path = tmp_path / "test_HEAD_EN.json"
    path.write_text(json.dumps({"version": "1", "language": "en", "exams": {"exam_1": {"name": "e", "data": data}}}))
    (question,) = read_questions(path)
    assert (question.id, question.source, question.answer) == ("exam_1-1", "exam_1", "B")


@pytest.fixture
def dataset():
    import datasets

    features = datasets.Features(
        {
            "question": datasets.Value("string"),
            "choices": datasets.Sequence(datasets.Value("string")),
            "answer": datasets.ClassLabel(names=["A", "B"]),
        }
    )
    rows = {"question": ["One?", "Two?", "Three?"], "choices": [["x", "y"]] * 3, "answer": [1, 0, -1]}
    return datasets.Dataset.from_dict(rows, features)


def test_datasets_on_disk_are_read_with_the_names_of_their_classes(tmp_path, dataset):
    import datasets

    dataset.save_to_disk(tmp_path / "saved")
    (tmp_path / "parquet" / "data").mkdir(parents=True)
    dataset.to_parquet(tmp_path / "parquet" / "data" / "test-00000-of-00001.parquet")
    datasets.DatasetDict({"test": dataset}).save_to_disk(tmp_path / "splits")
    for path in ("saved", "parquet", "splits", "parquet/data/test-00000-of-00001.parquet"):
        assert [item.answer for item in read_questions(tmp_path / path)] == ["B", "A", None], path
    datasets.DatasetDict({"test": dataset, "train": dataset}).save_to_disk(tmp_path / "both")
    with pytest.raises(InputError, match=r"holds the splits test, train; name one: .*both.test"):
        open_questions(tmp_path / "both")


def test_a_folder_of_files_is_read_in_order_but_never_two_splits_as_one(tmp_path):
    for number, row in enumerate(ROWS):
        (tmp_path / f"part{number}.jsonl").write_bytes(as_bytes(row))
    assert facts(tmp_path) == EXPECTED
    (tmp_path / "test.jsonl").write_bytes(as_bytes(ROWS[0]))
    (tmp_path / "train.jsonl").write_bytes(as_bytes(ROWS[0]))
    with pytest.raises(InputError, match=r"several splits \(test, train\); name one file"):
        open_questions(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("q.jsonl", b'{"id": "1", "question": NaN}', 'line 1, field "question": NaN is no JSON value; write null'),
        ("q.jsonl", b'{"id": "1", "id": "2"}', 'line 1, field "id": occurs twice'),
        (
            "q.json",
            b'[{"id": "1",\n"options": ["x", "\\udc00"]}]',
            r'line 1, field "options\[1\]": holds half a surrogate',
        ),
        (
            "q.json",
            b'{"1": {"QUESTION": "Q?",\n"CONTEXTS": []},\n"2": {"QUESTION": "Q \\ud83d?",\n"CONTEXTS": []}}',
            'line 3, field "QUESTION": holds half a surrogate',
        ),
        (
            "q.json",
            b'{"1": {"QUESTION": "Q?", "CONTEXTS": []},\n"1": {"QUESTION": "R?", "CONTEXTS": []}}',
            'line 2.*"1" was used',
        ),
        ("q.jsonl", b'{"n": ' + b"9" * 5000 + b"}", "line 1: holds a number that cannot be read"),
        ("q.jsonl", b'{"n": 1e999}', 'field "n": 1e999 is no JSON value'),
        ("q.jsonl", b"[" * 100000, "line 1: is nested too deeply"),
        ("q.json", b'[{"question": "x"}] x', "line 1: is not valid JSON"),
        ("q.json", b'{"a": 1}\n[2]\n', "line 2: is a JSON list, expected an object"),
        ("q.csv", b"question,A,B,answer\nx,y,z,\0", "line 2: holds a NUL character"),
        ("q.csv", b'question,A,B,answer\n"x,y,z,A\n', "is no valid table"),
        ("q.csv", b"question,A,a,answer\nx,y,z,A\n", 'field "a": is the same column as "A"'),
        ("q.csv", b"PK\x03\x04", "Excel workbook; unpack it, or save the sheet as CSV"),
        ("q.parquet", b"PAR1 and no more", "is no Parquet or Arrow file"),
        ("q.json.gz", b"\x1f\x8b\x08\x00broken", "is no whole gzip file"),
        ("q.json", b"version https://git-lfs.github.com/spec/v1", "Git LFS pointer"),
        ("q.jsonl", b'{"question": "Which organ?", "answer": "liver"}', 'field "question": no lettered options'),
    ],
)
def test_faults_of_files_name_line_field_and_remedy(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        list(read_questions(tmp_path / name))
    assert str(caught.value).startswith(str(tmp_path / name))


def test_a_fault_in_a_list_names_the_line_of_its_record(tmp_path):
    path = tmp_path / "q.json"
    path.write_text(json.dumps([*ROWS, ROWS[0] | {"id": "3", "label": "C"}], indent=1), encoding="utf-8")
    line = [number for number, text in enumerate(path.read_text().splitlines(), start=1) if text == " {"][2]
    with pytest.raises(InputError, match=rf'q\.json, line {line}, field "label": \'C\' is no option'):
        list(read_questions(path))


# --- Arbitrary files -----------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["id", "question", "options", "label", "answer", "stem", "opa", "opb", "cop", "gold", "A", "B"])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from("AB")
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.text(max_size=3), inner, max_size=6)
)


def assert_questions_or_input_error(path):
    try:
        questions = list(read_questions(path))
    except InputError as error:
        assert str(error)
        return
    assert questions
    assert all(isinstance(question, Question) for question in questions)


@pytest.mark.slow
@settings(max_examples=150)
@given(st.lists(VALUES, min_size=1, max_size=3), st.sampled_from(["q.json", "q.jsonl"]), st.booleans())
def test_arbitrary_json_gives_questions_or_an_input_error(tmp_path_factory, values, name, is_list):
    path = tmp_path_factory.mktemp("fuzz") / name
    path.write_text(json.dumps(values) if is_list else "\n".join(map(json.dumps, values)), encoding="utf-8")
    assert_questions_or_input_error(path)


@pytest.mark.slow
@settings(max_examples=150)
@given(
    st.binary(max_size=60) | st.text('{}[]",:;\\u0ABq \t\n\r', max_size=60).map(str.encode),
    st.sampled_from(["q.json", "q.jsonl", "q.csv", "q.tsv", "q.parquet", "q.arrow", "q.txt", "q.json.gz"]),
)
def test_arbitrary_bytes_give_questions_or_an_input_error(tmp_path_factory, content, name):
    path = tmp_path_factory.mktemp("fuzz") / name
    path.write_bytes(content)
    assert_questions_or_input_error(path)


def test_a_table_by_columns_as_pandas_writes_it(tmp_path):
    path = tmp_path / "op4.json"
    columns = {"question": ["A?", "B?"], "opa": ["w", "s"], "opb": ["x", "t"], "answer_idx": ["B", "A"]}
    path.write_text(json.dumps({name: dict(enumerate(column)) for name, column in columns.items()}), encoding="utf-8")
    file = open_questions(path)
    assert file.description == "MedBullets, JSON object of columns"
    assert [(q.stem, q.options, q.answer) for q in file.questions()] == [
        ("A?", {"A": "w", "B": "x"}, "B"),
        ("B?", {"A": "s", "B": "t"}, "A"),
    ]


@pytest.mark.parametrize("name", ["toy.json", "toy.jsonl", "toy.csv", "toy"])
@pytest.mark.parametrize("start", ["<!DOCTYPE html>\n<html>", "\n<HTML lang='en'>", "\ufeff<!doctype html>"])
def test_a_web_page_in_place_of_the_file_is_named(tmp_path, name, start):
    path = tmp_path / name
    path.write_text(f"{start}<body>404: Not Found, sorry</body></html>", encoding="utf-8")
    with pytest.raises(InputError, match="is a web page"):
        open_questions(path)


@pytest.mark.parametrize(
    "text", ['[{"question": "q", "options": {"A": "x", "B": "y",}}]', '[{"question": "q", "options": ["x", "y", ]}]']
)
def test_a_comma_behind_the_last_member_is_named(tmp_path, text):
    path = tmp_path / "toy.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"line 1: .*comma stands behind the last member; remove it"):
        open_questions(path)


def test_a_fault_in_a_file_of_one_line_names_the_record(tmp_path):
    records = [{"question": f"q{i}", "options": ["x", "y"], "answer": "A"} for i in range(5)]
    records[3]["answer"] = "F"
    path = tmp_path / "toy.json"
    path.write_text(json.dumps(records), encoding="utf-8")
    with pytest.raises(InputError, match=r'record 4, line 1, field "answer"'):
        list(open_questions(path).questions())
