from __future__ import annotations

import pytest

from medssr.auditing.rubric import CRITERIA, verdict_from_record, verdict_schema
from medssr.questions import FieldError

RECORD = {
    "is_answerable": True,
    "has_one_best_answer": True,
    "best_answer": "B",
    "is_factual": True,
    "plausibility": 4,
    "difficulty": 2,
    "comment": "",
}


@pytest.mark.parametrize("field", [None, "is_answerable", "has_one_best_answer", "is_factual"])
def test_a_question_is_wrong_when_any_of_three_criteria_fails(field):
    changes = {} if field is None else {field: False}
    assert verdict_from_record(RECORD | changes, "ABCD").is_error == (field is not None)


def test_a_letter_without_a_single_best_answer_is_passed_over():
    assert verdict_from_record(RECORD | {"has_one_best_answer": False}, "ABCD").best_answer is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("is_answerable", "yes"),
        ("is_answerable", 1),
        ("best_answer", "E"),
        ("best_answer", None),
        ("best_answer", ["A"]),
        ("plausibility", 0),
        ("plausibility", 6),
        ("plausibility", 4.5),
        ("plausibility", True),
        ("plausibility", "4"),
        ("difficulty", [1]),
        ("comment", None),
    ],
)
def test_a_wrong_value_names_its_field(field, value):
    with pytest.raises(FieldError) as caught:
        verdict_from_record(RECORD | {field: value}, "ABCD")
    assert caught.value.field == field


@pytest.mark.parametrize("field", list(RECORD))
def test_every_field_is_needed(field):
    with pytest.raises(FieldError) as caught:
        verdict_from_record({name: value for name, value in RECORD.items() if name != field}, "ABCD")
    assert caught.value.field == field


def test_the_schema_has_every_criterion_and_the_letters_of_the_question():
    schema = verdict_schema("ABC")
    assert set(schema["properties"]) == set(schema["required"]) == {item.name for item in CRITERIA}
    assert next(iter(schema["properties"])) == "comment"
    assert schema["properties"]["best_answer"]["enum"] == ["A", "B", "C", None]
    assert schema["additionalProperties"] is False
