from __future__ import annotations

import json
import string
from types import SimpleNamespace

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from support.helpers import toy_question

from medssr.errors import InputError
from medssr.questions import (
    FieldError,
    Question,
    mix_questions,
    parse_lettered_text,
    question_to_json,
    read_questions,
    render_question,
    write_questions,
)
from medssr.questions.record import _is_plain, _problems

RECORD = {"id": "q1", "stem": "Which organ?", "options": {"A": "liver", "B": "heart"}, "answer": "A", "source": "toy"}
# Half a surrogate pair and NUL are refused.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
# One visible line, which no reader could take for an option line.
LINE = st.text(string.ascii_lowercase + " ?,0123456789", min_size=1, max_size=30).filter(str.strip)


@st.composite
def questions(draw):
    texts = draw(st.lists(TEXT.filter(str.strip), min_size=2, max_size=6))
    options = dict(zip(string.ascii_uppercase, texts, strict=False))
    return Question(
        id=draw(TEXT.filter(str.strip)),
        stem=draw(TEXT.filter(str.strip)),
        options=options,
        answer=draw(st.sampled_from([None, *options])),
        source=draw(TEXT.filter(str.strip)),
        entity=draw(st.none() | TEXT),
        is_rare=draw(st.sampled_from([None, True, False])),
        provenance=draw(st.dictionaries(TEXT, st.integers() | TEXT | st.none(), max_size=3)),
    )


def read_lines(tmp_path, *lines: str) -> list[Question]:
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return list(read_questions(path))


def read_records(tmp_path, *records: object) -> list[Question]:
    return read_lines(tmp_path, *(json.dumps(record) for record in records))


def changed(**fields: object) -> dict[str, object]:
    return RECORD | fields


# --- Files -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@settings(max_examples=25)
@given(st.lists(questions(), min_size=1, max_size=3, unique_by=lambda question: question.id))
def test_what_was_written_is_read_again(tmp_path_factory, written):
    path = tmp_path_factory.mktemp("questions") / "questions.jsonl"
    assert write_questions(path, written) == len(written)
    assert list(read_questions(path)) == written


def test_a_short_record_has_defaults(tmp_path):
    (question,) = read_records(tmp_path, {"id": "q", "stem": "Which?", "options": {"A": "x", "B": "y"}})
    assert question == Question("q", "Which?", {"A": "x", "B": "y"}, None, "questions")
    assert (question.entity, question.is_rare, question.provenance) == (None, None, {})


def test_empty_lines_are_skipped_and_line_numbers_stay_right(tmp_path):
    assert len(read_lines(tmp_path, "", json.dumps(RECORD), "  ")) == 1
    with pytest.raises(InputError, match="line 3"):
        read_lines(tmp_path, "", json.dumps(RECORD), "{")


@pytest.mark.parametrize(
    ("fields", "field", "found"),
    [
        ({"id": ""}, "id", "''"),
        ({"id": 7}, "id", "7"),
        ({"stem": "  "}, "stem", "'  '"),
        ({"stem": None}, "stem", "None"),
        ({"source": 3}, "source", "3"),
        ({"options": ["liver", "heart"]}, "options", "liver"),
        ({"options": {"A": "liver"}}, "options", "A"),
        ({"options": {}}, "options", "[]"),
        ({"options": {"A": "liver", "C": "heart"}}, "options", "'C'"),
        ({"options": {"B": "liver", "A": "heart"}}, "options", "'B', 'A'"),
        ({"options": {"a": "liver", "b": "heart"}}, "options", "'a'"),
        ({"options": {"A": "liver", "B": 3}}, "options", "3"),
        ({"options": {"A": "liver", "B": " "}}, "options", "B"),
        ({"answer": "C"}, "answer", "'C'"),
        ({"answer": "liver"}, "answer", "'liver'"),
        ({"answer": ""}, "answer", "''"),
        ({"answer": 1}, "answer", "1"),
        ({"entity": 5}, "entity", "5"),
        ({"is_rare": "yes"}, "is_rare", "'yes'"),
        ({"is_rare": 1}, "is_rare", "1"),
        ({"provenance": []}, "provenance", "[]"),
        ({"provenance": None}, "provenance", "None"),
        ({"gold": "A"}, "gold", "unknown"),
    ],
)
def test_a_wrong_field_is_named_with_file_and_line(tmp_path, fields, field, found):
    with pytest.raises(InputError) as caught:
        read_records(tmp_path, RECORD, changed(id="q2") | fields)
    message = str(caught.value)
    for part in ("questions.jsonl", "line 2", f'field "{field}"', found):
        assert part in message


@pytest.mark.parametrize("answer", [["A"], {"A": "liver"}])
def test_an_answer_of_another_type_is_named_too(tmp_path, answer):
    with pytest.raises(InputError, match='line 1, field "answer"'):
        read_records(tmp_path, changed(answer=answer))


@pytest.mark.parametrize("field", ["id", "stem", "options"])
def test_a_missing_field_is_named_with_file_and_line(tmp_path, field):
    record = {name: value for name, value in RECORD.items() if name != field}
    with pytest.raises(InputError, match=rf'questions\.jsonl, line 1, field "{field}": is missing'):
        read_records(tmp_path, record)


def test_an_id_that_occurs_twice_names_both_lines(tmp_path):
    with pytest.raises(InputError, match=r'line 3, field "id": "q1" was used on line 1'):
        read_records(tmp_path, RECORD, changed(id="q2"), RECORD)


@pytest.mark.parametrize("line", ['{"id": "q1", "stem": ', "not json", '{"id": "q1"} {"id": "q2"}'])
def test_a_broken_line_is_named(tmp_path, line):
    with pytest.raises(InputError, match=r"questions\.jsonl, line 2: is not valid JSON"):
        read_lines(tmp_path, json.dumps(RECORD), line)


def test_a_byte_order_mark_is_no_fault(tmp_path):
    assert read_lines(tmp_path, "\ufeff" + json.dumps(RECORD)) == [Question(**RECORD)]


def test_another_encoding_is_named(tmp_path):
    path = tmp_path / "questions.jsonl"
    line = json.dumps(changed(stem="Sjögren?"), ensure_ascii=False)
    path.write_bytes((json.dumps(RECORD) + "\n" + line).encode("latin-1"))
    with pytest.raises(InputError, match=r"questions\.jsonl, line 2: is not UTF-8"):
        list(read_questions(path))


@pytest.mark.parametrize(("line", "kind"), [('"text"', "str"), ("3", "int"), ("null", "NoneType")])
def test_a_line_that_is_no_object_is_named(tmp_path, line, kind):
    with pytest.raises(InputError, match=rf"line 1: is a JSON {kind}, expected an object"):
        read_lines(tmp_path, line)


def test_a_list_of_numbers_is_no_question_file(tmp_path):
    with pytest.raises(InputError, match=r"line 1: found int 1, expected an object"):
        read_lines(tmp_path, "[1]")


@pytest.mark.parametrize("lines", [[], ["", " "]])
def test_an_empty_file_is_an_error(tmp_path, lines):
    with pytest.raises(InputError, match=r"questions\.jsonl: holds no question"):
        read_lines(tmp_path, *lines)


def test_an_absent_file_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"absent\.jsonl: there is no such file"):
        list(read_questions(tmp_path / "absent.jsonl"))


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "questions.jsonl"
    write_questions(path, [Question(**RECORD)])
    before = path.read_text()

    def broken():
        yield Question(**changed(id="q2"))
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_questions(path, broken())
    assert path.read_text() == before
    assert [file.name for file in tmp_path.iterdir()] == ["questions.jsonl"]


def test_text_beyond_ascii_stays_readable(tmp_path):
    assert "Sjögren" in question_to_json(Question(**changed(stem="Sjögren?")))


def test_a_record_in_code_is_checked_too():
    with pytest.raises(FieldError, match='field "answer"'):
        Question("q", "Which?", {"A": "x", "B": "y"}, "C", "toy")


# --- Lettered text -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "stem", "options"),
    [
        ("Which?\nA. x\nB. y", "Which?", {"A": "x", "B": "y"}),
        ("Which?\nA) x\nB) y\n\n", "Which?", {"A": "x", "B": "y"}),
        ("Which?\n  A. x\n  B. y", "Which?", {"A": "x", "B": "y"}),
        ("Two lines.\nWhich?\n\nA. x\nB. y", "Two lines.\nWhich?", {"A": "x", "B": "y"}),
        # A stem with lettered lines of its own: the options are the last run.
        (
            "Given\nA. one\nB. two\nWhich?\nA. x\nB. y\nC. z",
            "Given\nA. one\nB. two\nWhich?",
            {"A": "x", "B": "y", "C": "z"},
        ),
        ("Patient A. was seen.\nWhich?\nA. x\nB. y", "Patient A. was seen.\nWhich?", {"A": "x", "B": "y"}),
        # A line without a letter continues the option above it.
        ("Which?\nA. x\nmore of x\nB. y\nmore\nof y", "Which?", {"A": "x\nmore of x", "B": "y\nmore\nof y"}),
        ("Which?\nA. \nB. y", "Which?", {"A": "", "B": "y"}),
    ],
)
def test_lettered_text_by_hand(text, stem, options):
    assert parse_lettered_text(text) == (stem, options)


@pytest.mark.parametrize(
    "cue",
    ["The correct option is:", "### Response:", "Let's think step by step.", "Answer with the letter.", "Answer is"],
)
def test_an_instruction_behind_the_options_is_no_part_of_the_last_one(cue):
    assert parse_lettered_text(f"Which vitamin?\nA. Vitamin A\nB. Vitamin C\n{cue}")[1]["B"] == "Vitamin C"


@pytest.mark.parametrize("text", ["Which organ?", "", "Which?\nA. only one", "Which?\nB. x\nC. y", "Which? A. x B. y"])
def test_text_without_options_is_refused(text):
    with pytest.raises(ValueError, match="no lettered options"):
        parse_lettered_text(text)


@pytest.mark.parametrize(
    ("text", "letters"),
    [("Which?\nA. x\nC. y", "A, C"), ("Which?\nA. x\nB. y\nB. z", "A, B, B"), ("Which?\nA. x\nC. y\nB. z", "A, C, B")],
)
def test_options_out_of_order_are_refused_with_their_letters(text, letters):
    with pytest.raises(ValueError, match=letters):
        parse_lettered_text(text)


@pytest.mark.slow
@given(LINE, st.lists(LINE, min_size=2, max_size=8))
def test_what_was_rendered_is_parsed_again(stem, texts):
    options = {letter: text.strip() for letter, text in zip(string.ascii_uppercase, texts, strict=False)}
    question = Question("q", stem.strip(), options, None, "toy")
    assert parse_lettered_text(render_question(question)) == (question.stem, options)


# --- The key of the content --------------------------------------------------------------------------------------


@pytest.mark.slow
@settings(max_examples=50)
@given(questions(), st.data())
def test_the_key_ignores_the_order_of_the_options(question, data):
    texts = data.draw(st.permutations(list(question.options.values())))
    shuffled = dict(zip(question.options, texts, strict=True))
    assert with_content(question, question.stem, shuffled).content_key == question.content_key


@pytest.mark.slow
@given(LINE, st.lists(LINE, min_size=2, max_size=4))
def test_the_key_ignores_case_punctuation_and_spaces(stem, texts):
    options = dict(zip(string.ascii_uppercase, texts, strict=False))
    plain = Question("q", stem, options, None, "toy")
    loud = {letter: f" {text.upper().replace(' ', '  ')}!" for letter, text in options.items()}
    assert with_content(plain, f"({stem.upper()}) ...", loud).content_key == plain.content_key


@pytest.mark.slow
@given(questions())
def test_the_key_is_of_the_content_alone(question):
    other = Question("other id", question.stem, question.options, None, "other", None, None, {"made": "elsewhere"})
    assert other.content_key == question.content_key


def test_the_key_stays_the_same_in_every_release():
    question = Question(
        "q", "Is this patient\u2019s Beh\u00e7et disease?", {"A": "Yes!", "B": "not-yet_known"}, None, "toy"
    )
    assert question.content_key == "4c9a3905fdb860630d94c273ed26bb8844035b298c9e7fffc8329f8d71b0b7f1"


@pytest.mark.parametrize(
    ("stem", "options"),
    [
        ("Which gene?", {"A": "liver", "B": "heart"}),
        ("Which organ?", {"A": "liver", "B": "kidney"}),
        ("Which organ?", {"A": "liver", "B": "heart", "C": "kidney"}),
        ("Which organ?", {"A": "liver heart", "B": "x"}),
    ],
)
def test_other_content_has_another_key(stem, options):
    assert with_content(Question(**RECORD), stem, options).content_key != Question(**RECORD).content_key


def with_content(question: Question, stem: str, options: dict[str, str]) -> Question:
    return Question(question.id, stem, options, None, question.source)


@pytest.fixture
def files(tmp_path):
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    write_questions(first, [toy_question(0), toy_question(1)])
    write_questions(second, [toy_question(0, answer="B")])
    return [first, second]


def test_the_questions_of_all_files_have_ids_of_their_own(files, tmp_path):
    mixed = list(read_questions(mix_questions(files, tmp_path / "mixed")))
    assert [question.id for question in mixed] == ["0-q0", "0-q1", "1-q0"]
    assert [question.answer for question in mixed] == ["A", "A", "B"]
    assert [question.stem for question in mixed][::2] == [toy_question(0).stem] * 2


def test_the_same_content_is_the_same_file(files, tmp_path):
    first = mix_questions(files, tmp_path / "mixed")
    content = first.read_bytes()
    assert mix_questions(files, tmp_path / "mixed") == first
    moved = files[0].rename(tmp_path / "moved.jsonl")
    assert mix_questions([moved, files[1]], tmp_path / "mixed") == first
    assert first.read_bytes() == content


@pytest.mark.parametrize("damage", ["questions", "record"])
def test_a_damaged_mixture_is_written_again(files, tmp_path, damage):
    mixed = mix_questions(files, tmp_path / "mixed")
    content = mixed.read_bytes()
    if damage == "questions":
        mixed.write_bytes(content[: content.index(b"\n") + 1])
    else:
        mixed.with_suffix(".json").write_text('{"sha')
    assert mix_questions(files, tmp_path / "mixed") == mixed
    assert mixed.read_bytes() == content


def test_other_content_or_another_order_is_another_file(files, tmp_path):
    first = mix_questions(files, tmp_path / "mixed")
    assert mix_questions(files[::-1], tmp_path / "mixed") != first
    write_questions(files[0], [toy_question(7)])
    assert mix_questions(files, tmp_path / "mixed") != first


def test_a_broken_file_leaves_nothing_behind(files, tmp_path):
    files[1].write_text("{")
    with pytest.raises(InputError, match=r"second\.jsonl, line 1"):
        mix_questions(files, tmp_path / "mixed")
    assert list((tmp_path / "mixed").iterdir()) == []


ODD = st.sampled_from(["", " ", "x", "\0", "é", "\ud800", "A", 1, None, True, [], {}])
OPTIONS = st.one_of(ODD, st.dictionaries(st.sampled_from(["A", "B", "C", "AB", "", "b", 1]), ODD, max_size=4))
SOUND = st.just({"A": "one", "B": "two"})


@pytest.mark.slow
@given(
    st.fixed_dictionaries(
        {name: st.one_of(st.just("x"), ODD) for name in ("id", "stem", "source")}
        | {name: st.one_of(st.none(), st.just("A"), ODD) for name in ("answer", "entity", "is_rare")}
        | {"options": st.one_of(SOUND, OPTIONS), "provenance": st.one_of(st.just({}), ODD)}
    )
)
def test_what_is_taken_for_plain_breaks_no_rule(fields):
    record = SimpleNamespace(**fields)
    event(f"plain: {_is_plain(record)}")
    assert not (_is_plain(record) and list(_problems(record)))


def test_ordinary_questions_are_plain():
    fields = {"id": "q", "stem": "Which?", "options": {"A": "one", "B": "two"}, "answer": "B", "source": "made"}
    assert _is_plain(Question(**fields, entity="Fabry disease", is_rare=True))
