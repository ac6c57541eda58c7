"""Evaluations on disk as medssr-evaluate writes them, made without a model."""

from __future__ import annotations

import json
from pathlib import Path

from support.helpers import toy_question

from medssr.evaluation.results_io import (
    EvaluatedModel,
    EvaluationResults,
    predictions_file,
    questions_file,
    write_evaluation,
)
from medssr.evaluation.scoring import Prediction, score
from medssr.questions import write_questions
from medssr.reports.runs import read_run

QUESTIONS = [toy_question(number, "AB"[number % 2]) for number in range(12)]
PROTOCOL = {"num_samples": 2, "temperature": 0.6}


def letters(num_right):
    """Two samples a question: the first `num_right` questions are right, the others wrong and without a letter."""
    other = {"A": "B", "B": "A"}
    return {
        question.id: [question.answer] * 2 if number < num_right else [other[question.answer], None]
        for number, question in enumerate(QUESTIONS)
    }


def write_run(folder: Path, model, answers, benchmarks=("toy",), questions=QUESTIONS, protocol=PROTOCOL, text="{}!"):
    """Writes an evaluation as medssr-evaluate does."""
    folder.mkdir(parents=True)
    predictions = [Prediction(question.id, answers[question.id], ["x", "x"]) for question in questions]
    for benchmark in benchmarks:
        write_questions(questions_file(folder, benchmark), questions)
        lines = [
            json.dumps(
                {
                    "question_id": prediction.question_id,
                    "answers": [
                        {"text": text.format(letter), "letter": letter, "reason": "x"} for letter in prediction.letters
                    ],
                }
            )
            for prediction in predictions
        ]
        predictions_file(folder, benchmark).write_text("\n".join(lines), encoding="utf-8")
    scores = dict.fromkeys(benchmarks, score(questions, predictions))
    write_evaluation(folder, EvaluationResults(EvaluatedModel(model), dict(protocol), scores))
    return read_run(folder)
