"""Tests the forms of question files: which is recognised by what, and what becomes of their options and answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medssr.errors import InputError
from medssr.questions import FieldError, open_questions
from medssr.questions.forms import FORMS, find_layout, question_from_fields

TEN = {letter: f"drug {letter}" for letter in "ABCDEFGHIJ"}
MEDXPERTQA = {"id": "Text-7", "question": "Which drug?", "options": TEN, "label": "J", "body_system": "Nervous"}
VITAMINS = {"A": "Vit A", "B": "Vit B1", "C": "Vit C", "D": "Vit D"}
OPS = {"opa": "Vit A", "opb": "Vit B1", "opc": "Vit C", "opd": "Vit D"}
ASKED = {"question": "Scurvy?"}
LINES = {"question": "Scurvy?\nA. Vit A\nB. Vit B1\nC. Vit C\nD. Vit D"}


def read(record):
    layout = find_layout(record)
    assert layout is not None
    return question_from_fields(record, layout, "toy", id_if_none="1")


def write(tmp_path, *records, name="toy.jsonl"):
    path = tmp_path / name
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


# Each a record whose answer is C, "Vit C", of A to D.
RECORDS = {
    "MedQA": ASKED | {"options": VITAMINS, "answer_idx": "C", "answer": "Vit C", "meta_info": "step1"},
    "MedQA of BigBio": ASKED
    | {
        "options": [{"key": key, "value": text} for key, text in VITAMINS.items()],
        "answer_idx": "C",
        "answer": "Vit C",
    },
    "MedQA, objects of lists": ASKED
    | {"options": {"key": list(VITAMINS), "value": list(VITAMINS.values())}, "answer_idx": "C"},
    "MedMCQA": ASKED | OPS | {"cop": "c", "exp": "Ascorbic acid"},
    "MedBullets": ASKED | OPS | {"answer_idx": "C", "answer": "Vit C"},
    "HEAD-QA": {
        "qid": 7,
        "qtext": "Scurvy?",
        "ra": 3,
        "answers": [{"aid": number, "atext": text} for number, text in enumerate(VITAMINS.values(), start=1)],
    },
    "MedXpertQA": ASKED | {"options": VITAMINS, "label": ["C"]},
    "BigBio QA": ASKED | {"type": "multiple_choice", "choices": [*VITAMINS.values()], "answer": ["Vit C"]},
    "MMLU (Hugging Face)": ASKED | {"choices": [*VITAMINS.values()], "answer": 2, "subject": "anatomy"},
    "MIRAGE": ASKED | {"options": VITAMINS, "answer": "C"},
    "gold in letters and text": ASKED | {"options": VITAMINS, "answer": "C. Vit C\n"},
    "gold as text": ASKED | {"options": VITAMINS, "answer": "vit c"},
    "options beside gold": ASKED | {"options": [*VITAMINS.values()], "gold": "Vit C"},
    "another name of the gold field": ASKED | {"options": VITAMINS, "correct_option": "(C)"},
    "ARC": ASKED | {"choices": {"text": [*VITAMINS.values()], "label": ["1", "2", "3", "4"]}, "answerKey": "3"},
    "CMB": ASKED | {"option": VITAMINS, "answer": "C"},
    "SWAG form of MedQA": {"sent1": "Scurvy?", "sent2": "", "label": 2}
    | {f"ending{index}": text for index, text in enumerate(VITAMINS.values())},
    "columns": ASKED | VITAMINS | {"answer": "C"},
    "MedSSR release": LINES | {"gold": "C", "name": "toy"},
    "lettered by (A)": {"question": "Scurvy?\n(A) Vit A\n(B) Vit B1\n(C) Vit C\n(D) Vit D", "gold": "C"},
    "lettered by a)": {"question": "Scurvy?\na) Vit A\nb) Vit B1\nc) Vit C\nd) Vit D", "gold": "C"},
    "lettered by A:": {"question": "Scurvy?\nA: Vit A\nB: Vit B1\nC: Vit C\nD: Vit D", "gold": "C"},
    "options by number": ASKED | {"options": dict(zip("0123", VITAMINS.values(), strict=True)), "label": 2},
    "options that the text repeats": LINES | {"options": VITAMINS, "label": "C"},
}


@pytest.mark.parametrize("name", RECORDS)
def test_each_form_gives_stem_options_and_answer(name):
    question = read(RECORDS[name])
    assert (question.stem, question.options, question.answer) == ("Scurvy?", VITAMINS, "C")


def test_each_form_is_recognised_by_its_fields():
    for form in FORMS:
        if form.name in RECORDS:
            layout = find_layout(RECORDS[form.name])
            assert layout is not None
            assert layout.form is form


def test_the_docs_list_every_form():
    page = (Path(__file__).parents[2] / "docs" / "question_files.md").read_text(encoding="utf-8")
    assert [form.name for form in FORMS if f"| {form.name} |" not in page] == []


@pytest.mark.parametrize(
    "prefix", ["{capital}. ", "({capital}) ", "{capital}) ", "{small}: ", "[{capital}] ", "{small}.  "]
)
@pytest.mark.parametrize("is_own", [False, True])
def test_options_lose_their_letters_where_all_have_them(tmp_path, prefix, is_own):
    texts = {letter: prefix.format(capital=letter, small=letter.lower()) + text for letter, text in VITAMINS.items()}
    record = {"id": "q", "options": texts, **({"stem": "Scurvy?"} if is_own else ASKED | {"label": "C"})}
    (question,) = open_questions(write(tmp_path, record)).questions()
    assert question.options == VITAMINS


@pytest.mark.parametrize("texts", [["A. baumannii", "E. coli"], ["A. x", "y"], ["B. x", "A. y"], ["A.", "B."]])
def test_options_keep_letters_that_are_not_theirs(texts):
    assert list(read(ASKED | {"options": texts, "label": "A"}).options.values()) == texts


CUES = [
    "Answer:",
    "answer :",
    "The correct answer is:",
    "Answer",
    "A:",
    "Answer: B",
    "**Answer:**",
    "### Answer",
    "Antwort:",
    "\u7b54\u6848\uff1a",
]


@pytest.mark.parametrize("cue", CUES)
@pytest.mark.parametrize("between", ["\n", "\n\n"])
def test_a_cue_behind_the_options_is_no_part_of_the_last(cue, between):
    question = read({"question": f"Scurvy?\nA. Vitamin A\nB. Vitamin C{between}{cue} ", "gold": "B"})
    assert question.options == {"A": "Vitamin A", "B": "Vitamin C"}


def test_a_cue_on_the_line_of_the_last_option_is_no_part_of_it_and_other_texts_are():
    assert read({"question": "S?\nA. x\nB. y Answer:", "gold": "B"}).options["B"] == "y"
    for text in ("No answer", "Answering machine", "y\nAnswer the call"):
        assert read({"question": f"S?\nA. x\nB. {text}", "gold": "B"}).options["B"] == text


@pytest.mark.parametrize(
    "options",
    [
        [{"letter": letter, "content": text} for letter, text in TEN.items()],
        list(TEN.values()),
        [*TEN.values(), None],
        dict(reversed(TEN.items())),
        TEN | {"K": None},
        json.dumps(TEN),
    ],
    ids=["letter and content", "texts", "padded", "unordered", "empty place of a table", "JSON in a cell"],
)
def test_options_are_written_in_several_ways(options):
    question = read(MEDXPERTQA | {"options": options})
    assert question.options == TEN
    assert list(question.options) == list(TEN)
    assert (question.id, question.answer, question.source) == ("Text-7", "J", "toy")
    assert question.provenance == {"body_system": "Nervous"}


def test_options_that_the_text_repeats_are_taken_off_the_stem():
    repeated = " ".join(f"({letter}) {text}" for letter, text in TEN.items())
    assert read(MEDXPERTQA | {"question": f"Which drug?\nAnswer Choices: {repeated}"}).stem == "Which drug?"
    other = "Which drug?\nAnswer Choices: (A) something else"
    assert read(MEDXPERTQA | {"question": other}).stem == other


@pytest.mark.parametrize(
    "contexts", ["An abstract.", ["An abstract."], ["An abstract.", " "], {"contexts": ["An abstract."]}]
)
def test_contexts_stand_in_front_of_the_question(contexts):
    question = read({"id": "p", "question": "Does it help?\nA. yes\nB. no", "gold": "A", "contexts": contexts})
    assert question.stem == "An abstract.\n\nDoes it help?"
    assert question.provenance == {"has_context": True}


def test_a_field_of_another_meaning_is_no_hidden_truth():
    question = read(MEDXPERTQA | {"truth": "drug J", "has_context": False})
    assert question.provenance == {
        "body_system": "Nervous",
        "MedXpertQA: truth": "drug J",
        "MedXpertQA: has_context": False,
    }


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"label": "K"}, "label"),
        ({"label": ["B", "C"]}, "label"),
        ({"label": True}, "label"),
        ({"label": {"A": 1}}, "label"),
        ({"options": None}, "options"),
        ({"options": {}}, "options"),
        ({"options": "A. yes"}, "options"),
        ({"options": {"A": "one", "C": "two"}}, "options"),
        ({"options": {"A": "one", "B": 2}}, "options"),
        ({"options": {"A": "one", "B": " "}}, "options"),
        ({"options": ["one", None, "two"]}, "options"),
        ({"options": [f"option {number}" for number in range(27)]}, "options"),
        ({"options": dict(enumerate("abcdefghijklmnopqrstuvwxyzab"))}, "options"),
        ({"options": {"key": ["A"], "value": ["x", "y"]}}, "options"),
        ({"question": 3}, "question"),
        ({"question": "  "}, "question"),
        ({"question": "Which \ud83d?"}, "question"),
        ({"question": "Which \0?"}, "question"),
        ({"contexts": [1]}, "contexts"),
        ({"id": 7.5}, "id"),
    ],
)
def test_a_fault_names_the_field_of_the_record(change, field):
    with pytest.raises(FieldError) as caught:
        read(MEDXPERTQA | change)
    assert caught.value.field == field


def test_a_gold_letter_and_a_gold_text_have_to_agree():
    with pytest.raises(FieldError, match="field \"answer\": is the text of option B, but answer_idx is 'C'"):
        read(RECORDS["MedQA"] | {"answer": "Vit B1"})


# --- Answers as numbers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cops", "letters"),
    [
        ([1, 4], "AD"),
        ([0, 3], "AD"),
        ([4, 2], "DB"),
        (["3", "4"], "CD"),
        ([0.0, 1.0], "AB"),
        ([-1, 1, 4], [None, "A", "D"]),
    ],
)
def test_the_values_of_the_file_say_what_cop_counts_from(tmp_path, cops, letters):
    path = write(tmp_path, *({"question": "Q?", "cop": cop} | OPS for cop in cops))
    assert [question.answer for question in open_questions(path).questions()] == list(letters)


@pytest.mark.parametrize(
    ("cops", "found"),
    [([1, 2], "only 1, 2, which may count.*write letters"), ([0, 4], "0, the first.*and also the last")],
)
def test_numbers_that_do_not_say_what_they_count_from_are_refused(tmp_path, cops, found):
    path = write(tmp_path, *({"question": "Q?", "cop": cop} | OPS for cop in cops))
    with pytest.raises(InputError, match=rf'toy\.jsonl, line 1, field "cop": holds {found}'):
        open_questions(path)


def test_a_number_outside_the_options_is_refused(tmp_path):
    path = write(tmp_path, RECORDS["MMLU (Hugging Face)"], RECORDS["MMLU (Hugging Face)"] | {"answer": 4})
    with pytest.raises(InputError, match=r'line 2, field "answer": 4 is no option; the options are A, B, C, D'):
        list(open_questions(path).questions())


@pytest.mark.parametrize("name", ["question", "stem"])
def test_more_options_than_letters_are_refused_in_every_form(tmp_path, name):
    letters = [*"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "AA", "AB"]
    if name == "stem":
        record = {"id": "1", "stem": "Q?", "options": {letter: f"text {letter}" for letter in letters}}
    else:
        record = {"id": "1", "question": "Q?\n" + "\n".join(f"{letter}. text" for letter in letters), "gold": "A"}
    field = "options" if name == "stem" else "question"
    with pytest.raises(InputError, match=rf'line 1, field "{field}": .*26'):
        list(open_questions(write(tmp_path, record)).questions())


@pytest.mark.parametrize("header", ["options", "Options", "choices"])
@pytest.mark.parametrize("cell", ['["liver", "heart"]', "['liver', 'heart']", "{'A': 'liver', 'B': 'heart'}"])
def test_a_column_of_lists_is_no_option_of_the_letter_s(tmp_path, header, cell):
    path = tmp_path / "toy.csv"
    quoted = cell.replace('"', '""')
    path.write_text(f'question,{header},answer\nBile?,"{quoted}",A\n', encoding="utf-8")
    (question,) = open_questions(path).questions()
    assert (question.options, question.answer) == ({"A": "liver", "B": "heart"}, "A")


def test_a_list_without_commas_is_refused(tmp_path):
    path = tmp_path / "toy.csv"
    path.write_text("question,choices,answer\nBile?,\"['liver' 'heart']\",0\n", encoding="utf-8")
    with pytest.raises(InputError, match=r'line 2, field "choices".*a list with commas'):
        list(open_questions(path).questions())


@pytest.mark.parametrize(("golds", "letters"), [(("1.0", "4.0"), "AD"), (("0.0", "1.0"), "AB")])
def test_whole_numbers_with_a_point_are_indices(tmp_path, golds, letters):
    path = tmp_path / "toy.csv"
    rows = "".join(f"Which {gold}?,a,b,c,d,{gold}\n" for gold in golds)
    path.write_text(f"question,A,B,C,D,answer\n{rows}", encoding="utf-8")
    assert "".join(str(question.answer) for question in open_questions(path).questions()) == letters


@pytest.mark.parametrize("options", [VITAMINS | {"E": ""}, VITAMINS | {"E": None}, [*VITAMINS.values(), ""]])
def test_an_empty_option_behind_the_last_is_none(options):
    question = read(ASKED | {"options": options, "answer": "C"})
    assert (question.options, question.answer) == (VITAMINS, "C")


@pytest.mark.parametrize(("index", "letters"), [((2, 1), "CB"), ((2, 3), "BC")])
def test_the_text_of_the_gold_answer_says_what_its_index_counts_from(tmp_path, index, letters):
    records = [
        ASKED | {"options": [*VITAMINS.values()], "answer_idx": number, "answer": VITAMINS[letter]}
        for number, letter in zip(index, letters, strict=True)
    ]
    questions = open_questions(write(tmp_path, *records)).questions()
    assert "".join(str(question.answer) for question in questions) == letters


def test_pubmedqa_of_the_hub_without_decisions(tmp_path):
    record = {"pubid": 7, "question": "Does it?", "context": {"contexts": ["It was seen."]}, "long_answer": "It does."}
    file = open_questions(write(tmp_path, record))
    (question,) = file.questions()
    assert file.description == "PubMedQA (Hugging Face), JSONL"
    assert (question.id, question.stem, question.answer) == ("7", "It was seen.\n\nDoes it?", None)
    assert list(question.options.values()) == ["yes", "no", "maybe"]


def test_ids_of_head_qa_are_unique_within_an_exam_only(tmp_path):
    exams = [RECORDS["HEAD-QA"] | {"name": name} for name in ("Cuaderno_2013_1_B", "Cuaderno_2014_1_M")]
    questions = open_questions(write(tmp_path, *exams)).questions()
    assert [question.id for question in questions] == ["Cuaderno_2013_1_B-7", "Cuaderno_2014_1_M-7"]


def test_options_in_unknown_fields_are_refused_with_the_fields(tmp_path):
    record = {"question": "Scurvy?", "option1": "Vit A", "option2": "Vit C", "answer": 2}
    with pytest.raises(InputError, match="found the fields question, option1, option2, answer"):
        list(open_questions(write(tmp_path, record)).questions())
