import json

import pytest
from support.helpers import toy_question

from medssr.errors import InputError
from medssr.evaluation.estimates import BenchmarkMean, Estimate
from medssr.evaluation.results_io import (
    EvaluatedModel,
    EvaluationResults,
    read_asked_questions,
    read_predictions,
    read_texts,
    write_evaluation,
)
from medssr.evaluation.scoring import Prediction
from medssr.questions import write_questions
from medssr.reports.runs import read_evaluation


def answer(letter, **changes):
    return {"text": f"It is {letter}.", "letter": letter, "reason": "found"} | changes


def write_predictions(folder, *records):
    lines = [json.dumps({"question_id": name, "answers": answers}) for name, answers in records]
    (folder / "predictions-toy.jsonl").write_text("\n".join(lines), encoding="utf-8")


def test_predictions_and_texts_are_read_back(tmp_path):
    write_predictions(tmp_path, ("q1", [answer("A"), answer(None)]), ("q2", [answer("B"), answer("B")]))
    assert read_predictions(tmp_path, "toy") == [
        Prediction("q1", ["A", None], ["found"] * 2),
        Prediction("q2", ["B", "B"], ["found"] * 2),
    ]
    assert read_texts(tmp_path, "toy", {1}) == {1: ["It is B.", "It is B."]}


def test_letters_of_a_second_pass_are_read(tmp_path):
    write_predictions(tmp_path, ("q1", [answer("A", recovered=None), answer(None, recovered="B")]))
    assert read_predictions(tmp_path, "toy")[0].final_letters == ["A", "B"]


@pytest.mark.parametrize(
    ("record", "field"),
    [
        ({"question_id": "q1", "answers": []}, "answers"),
        ({"question_id": "q1", "answers": "A"}, "answers"),
        ({"answers": [{"letter": "A", "reason": ""}]}, "question_id"),
        ({"question_id": "q1", "answers": [{"letter": "A"}]}, "reason"),
    ],
)
def test_a_line_of_another_form_is_named(tmp_path, record, field):
    (tmp_path / "predictions-toy.jsonl").write_text("\n" + json.dumps(record), encoding="utf-8")
    with pytest.raises(InputError, match=f'predictions-toy.jsonl, line 2, field "{field}"'):
        read_predictions(tmp_path, "toy")


def test_a_cut_line_of_texts_is_named(tmp_path):
    (tmp_path / "predictions-toy.jsonl").write_text('{"answers": [{"te', encoding="utf-8")
    with pytest.raises(InputError, match=r"predictions-toy\.jsonl, line 1"):
        read_texts(tmp_path, "toy", {0})


def test_questions_are_read_as_they_were_asked(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_asked_questions(tmp_path, "toy")
    write_questions(tmp_path / "questions-toy.jsonl", [toy_question(1)])
    assert read_asked_questions(tmp_path, "toy") == [toy_question(1)]


def test_a_second_pass_that_had_nothing_to_do_is_known(tmp_path):
    write_predictions(tmp_path, ("q1", [answer("A", recovered=None)] * 2))
    assert read_predictions(tmp_path, "toy")[0].recovered == [None, None]


def test_results_are_read_back(tmp_path):
    means = {"general": BenchmarkMean(["a"], [], Estimate(0.5, 0.4, 0.6, 10, "bootstrap"))}
    model = EvaluatedModel("hub/m", "main", "float32")
    results = EvaluationResults(model, {"num_samples": 2}, {}, 3, {"min_chars": 6}, means, {"b": "absent"})
    write_evaluation(tmp_path, results)
    assert read_evaluation(tmp_path) == results
