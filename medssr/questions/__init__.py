"""Questions: the record that all steps share, and the one reader of question files."""

from medssr.questions.lettered_text import LETTERS, parse_lettered_text
from medssr.questions.reader import (
    QuestionFile,
    mix_questions,
    open_questions,
    read_labelled_questions,
    read_questions,
)
from medssr.questions.record import (
    FieldError,
    Question,
    question_to_json,
    render_options,
    render_question,
    write_questions,
)

__all__ = [
    "LETTERS",
    "FieldError",
    "Question",
    "QuestionFile",
    "mix_questions",
    "open_questions",
    "parse_lettered_text",
    "question_to_json",
    "read_labelled_questions",
    "read_questions",
    "render_options",
    "render_question",
    "write_questions",
]
