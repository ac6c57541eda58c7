"""Long runs of blanks in questions: an expression that tried every way to read them would take hours."""

from __future__ import annotations

import pytest
from support.commands import run_program

from medssr.questions.lettered_text import parse_lettered_text, without_letters

PROGRAM = """
import resource
resource.setrlimit(resource.RLIMIT_CPU, (100, 100))
from medssr.questions import Question
from medssr.questions.forms import find_layout, question_from_fields
from medssr.questions.record import FieldError
blanks = {blanks!r} * 300_000
texts = [blanks + "x", "Answer" + blanks + "x", "x" + blanks + "Answer Choices:" + blanks, "(" + blanks + "x"]
texts += ["A." + blanks + "x", "a" + blanks + "\\nA. x\\nB. y" + blanks + "Answer" + blanks + ":" + blanks]
for text in texts:
    for record in (
        {{"id": "q", "question": text, "options": {{"A": text, "B": "y"}}, "answer": text}},
        {{"id": "q", "question": text + "\\nA. x\\nB. y" + blanks, "gold": "A"}},
        {{"id": "q", "question": "Which?", "options": text, "answer": "A"}},
    ):
        try:
            question_from_fields(record, find_layout(record), "toy", id_if_none="1")
        except FieldError:
            pass
print("done")
"""


@pytest.mark.slow
@pytest.mark.parametrize("blanks", [" ", "\t ", "\n", "* "])
def test_runs_of_blanks_are_read_in_one_pass(blanks):
    assert run_program(PROGRAM.format(blanks=blanks)).strip() == "done"


@pytest.mark.parametrize(
    "cue", ["Answer:", "\nAnswer:", "\nThe correct answer is: B\n", "\n**Answer:**", " Answer :", "\nA:", ""]
)
def test_a_cue_behind_the_options_is_no_part_of_the_last(cue):
    text = f"{'Which organ? ' * 100}\nA. liver\nB. heart"
    expected = {"A": "liver", "B": "heart"}
    assert parse_lettered_text(f"{text}\n{cue}" if cue == "Answer:" else f"{text}{cue}")[1] == expected


def test_letters_inside_options_are_found_behind_blanks():
    assert without_letters(["  ( A )  liver ", "\tb: heart"]) == ["liver", "heart"]
    assert without_letters(["A.  ", "B. heart"]) == ["A.  ", "B. heart"]
