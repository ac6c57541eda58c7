from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.helpers import toy_question

from medssr.auditing.rubric import Verdict
from medssr.auditing.sheet import (
    KEY_COLUMNS,
    VERDICT_COLUMNS,
    escape_cell,
    read_sheet,
    text_key,
    unescape_cell,
    write_sheet,
)
from medssr.errors import InputError
from medssr.knowledge.corpora import Passage
from medssr.knowledge.source_passages import look_up_passages
from medssr.questions import Question

QUESTIONS = {
    f"q{n}": Question(
        f"q{n}", f"Ménière's, number {n}?", {"A": "=1+1", "B": "heart"}, "A", "toy", provenance={"truth": "B"}
    )
    for n in range(3)
}
GOOD = {
    "is_answerable": "yes",
    "has_one_best_answer": "yes",
    "best_answer": "B",
    "is_factual": "no",
    "plausibility": "4",
    "difficulty": "2",
    "comment": "",
}
EMPTY = dict.fromkeys(VERDICT_COLUMNS, "")


def row(number: int = 0, **changes: str) -> dict[str, str]:
    question = QUESTIONS[f"q{number}"]
    return {"id": question.id, "text_key": text_key(question)} | GOOD | changes


@pytest.fixture
def save(tmp_path):
    def write(*rows, delimiter=",", encoding="utf-8", columns=(*KEY_COLUMNS, *VERDICT_COLUMNS)):
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, delimiter=delimiter, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
        path = tmp_path / "ada.csv"
        path.write_bytes(text.getvalue().encode(encoding))
        return path

    return write


def test_a_written_sheet_shows_question_and_passages_and_neither_answer_nor_truth(tmp_path):
    path = tmp_path / "sheet.csv"
    write_sheet(path, [(QUESTIONS["q0"], [Passage("p", "=Title", "Text.")]), (QUESTIONS["q1"], [])])
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(path.read_text("utf-8-sig"))))
    assert rows[0]["question"] == "Ménière's, number 0?\nA. =1+1\nB. heart"
    assert rows[0]["passages"] == "'=Title: Text."
    assert set(rows[0]) == {"id", "text_key", "question", "passages", *VERDICT_COLUMNS}
    assert [rows[1][name] for name in VERDICT_COLUMNS] == [""] * len(VERDICT_COLUMNS)
    assert read_sheet(path, QUESTIONS) == {}


def test_a_filled_sheet_is_read(save):
    path = save(row(0, comment="outdated; see 2019, »new«"), row(1, **EMPTY), row(2, has_one_best_answer="No"))
    assert read_sheet(path, QUESTIONS) == {
        "q0": Verdict(True, True, "B", False, 4, 2, "outdated; see 2019, »new«"),
        "q2": Verdict(True, False, None, False, 4, 2, ""),
    }


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_spreadsheets_save_it_in_their_ways(save, delimiter, encoding):
    rows = [row(0, is_answerable=" YES ", plausibility="4.0", difficulty="2,0", best_answer="b", comment="a;b,c\nd\te")]
    path = save(*rows, delimiter=delimiter, encoding=encoding)
    path.write_bytes(path.read_bytes() + delimiter.encode() * 8 + b"\r\n\r\n")
    assert read_sheet(path, QUESTIONS) == {"q0": Verdict(True, True, "B", False, 4, 2, "a;b,c\nd\te")}


def test_a_comment_alone_is_no_verdict(save):
    assert read_sheet(save(row(0, **(EMPTY | {"comment": "not my field"}))), QUESTIONS) == {}


@pytest.mark.parametrize(
    ("rows", "line", "field", "found"),
    [
        ([row(0, id="q7")], 2, "id", "q7"),
        ([row(0, comment="two\nlines"), row(0)], 4, "id", "line 2"),
        ([row(0, text_key="t123")], 2, "text_key", "t123"),
        ([row(0), row(1, plausibility="6")], 3, "plausibility", "6"),
        ([row(0, plausibility="0")], 2, "plausibility", "0"),
        ([row(0, plausibility="4.5")], 2, "plausibility", "4.5"),
        ([row(0, plausibility="")], 2, "plausibility", "empty"),
        ([row(0, difficulty="hard")], 2, "difficulty", "hard"),
        ([row(0, is_factual="perhaps")], 2, "is_factual", "perhaps"),
        ([row(0, best_answer="C")], 2, "best_answer", "C"),
        ([row(0, best_answer="")], 2, "best_answer", "A, B"),
    ],
)
def test_a_wrong_row_names_file_line_and_field(save, rows, line, field, found):
    path = save(*rows)
    with pytest.raises(InputError) as caught:
        read_sheet(path, QUESTIONS)
    message = str(caught.value)
    assert message.startswith(f'{path}, line {line}, field "{field}"')
    assert found in message.split(":", 1)[1]


@pytest.mark.parametrize(
    ("columns", "field"),
    [
        ([*KEY_COLUMNS, *VERDICT_COLUMNS[:-1]], "comment"),
        (["text_key", *VERDICT_COLUMNS], "id"),
        ([*KEY_COLUMNS, *VERDICT_COLUMNS, "notes"], "notes"),
        ([*KEY_COLUMNS, *VERDICT_COLUMNS, "plausibility"], "plausibility"),
    ],
)
def test_changed_columns_are_named(save, columns, field):
    path = save(row(0), columns=columns)
    with pytest.raises(InputError, match=f'line 1, field "{field}"'):
        read_sheet(path, QUESTIONS)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "empty"),
        ("id,text_key,comment\nq0,t,Ménière".encode("latin-1"), "UTF-8"),
        (",".join((*KEY_COLUMNS, *VERDICT_COLUMNS)).encode() + b"\nq0,t1\n", "line 2: has 2 cells, the header has 9"),
        (",".join((*KEY_COLUMNS, *VERDICT_COLUMNS)).encode() + b'\nq0,"t1\n', "line 2: is not valid CSV"),
        (b"id;Frage\nq0;x\n", 'line 1, field "text_key"'),
    ],
)
def test_what_is_no_sheet_is_an_input_error(tmp_path, content, problem):
    path = tmp_path / "ada.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=problem):
        read_sheet(path, QUESTIONS)


def test_a_sheet_that_is_not_there_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_sheet(tmp_path / "ada.csv", QUESTIONS)


def test_another_text_has_another_key():
    question = QUESTIONS["q0"]
    swapped = Question("q0", question.stem, {"A": "heart", "B": "=1+1"}, None, "toy")
    assert text_key(question) != text_key(swapped)
    assert text_key(question) == text_key(Question("other", question.stem, question.options, None, "other"))


@given(st.text(alphabet="'=+-@\t\r\n＝a ", max_size=6))  # noqa: RUF001
def test_no_cell_is_a_formula_and_every_text_comes_back(text):
    cell = escape_cell(text)
    assert not cell.startswith(tuple("=+-@\t\r\n＝"))  # noqa: RUF001
    assert unescape_cell(cell) == text


def test_a_formula_in_a_comment_is_read_back_unharmed(save):
    path = save(row(0, comment=escape_cell('=HYPERLINK("http://x")')))
    assert read_sheet(path, QUESTIONS)["q0"].comment == '=HYPERLINK("http://x")'


def test_a_text_too_long_for_a_cell_is_cut():
    assert len(escape_cell("x" * 200_000)) < 32_767


PASSAGES = [Passage(f"p{n}", "title", f"text {n}") for n in range(5)]


def test_passages_are_found_in_the_order_of_the_provenance():
    questions = [toy_question(0, provenance={"passages": ["p3", "p1"]}), toy_question(1)]
    assert look_up_passages(questions, PASSAGES, "~corpus") == {"q0": [PASSAGES[3], PASSAGES[1]], "q1": []}


def test_the_corpus_is_read_no_further_than_needed():
    corpus = iter(PASSAGES)
    look_up_passages([toy_question(0, provenance={"passages": ["p1"]})], corpus, "~corpus")
    assert next(corpus).id == "p2"
    assert look_up_passages([toy_question(0)], corpus, "~corpus") == {"q0": []}
    assert next(corpus).id == "p3"


def test_a_passage_that_is_not_there_is_an_error_that_names_it():
    with pytest.raises(InputError, match=r'passage "p9" of question "q0" .* ~corpus'):
        look_up_passages([toy_question(0, provenance={"passages": ["p1", "p9"]})], PASSAGES, "~corpus")
