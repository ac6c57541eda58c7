"""The question record: what synthesis writes, votes label, training reads and benchmarks hold."""

from medssr.questions.record import (
    LETTERS,
    FieldError,
    Question,
    mix_questions,
    parse_lettered_text,
    question_from_record,
    question_to_json,
    read_labelled_questions,
    read_questions,
    render_question,
    write_questions,
)

__all__ = [
    "LETTERS",
    "FieldError",
    "Question",
    "mix_questions",
    "parse_lettered_text",
    "question_from_record",
    "question_to_json",
    "read_labelled_questions",
    "read_questions",
    "render_question",
    "write_questions",
]
