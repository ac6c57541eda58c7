"""Scores a retriever: rankings of documents against graded judgements of their relevance, every number with its n.

A grade goes from 1 (incorrect) to 4 (excellent); a document of grade 3 or 4 is relevant, one without a judgement counts
as grade 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medssr.errors import InputError, shown
from medssr.evaluation.estimates import Estimate, mean_estimate
from medssr.utils.records import Record, open_records

MIN_GRADE, MAX_GRADE = 1, 4
# The cells of a table that are grades; a number may have any number of digits there.
_GRADES = frozenset(map(str, range(MIN_GRADE, MAX_GRADE + 1)))
_MIN_RELEVANT_GRADE = 3

# The grade of each judged document of one question.
Grades = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class QuestionScore:
    """The metrics of one ranking; None where a question without a relevant document has no answer to find.

    Attributes:
        num_judged: Documents with a judgement.
        num_relevant: Relevant ones among them.
        metrics: "ndcg@10", "recall@32", "mrr@10" and "judged@10".
    """

    num_judged: int
    num_relevant: int
    metrics: dict[str, float | None]


def score_question(ranked: Sequence[str], grades: Grades) -> QuestionScore:
    """Returns the metrics of one ranking.

    nDCG, recall and MRR ask where the relevant documents are, so a question without any has none of them; it would be 0
    for every retriever and hide their differences.

    Args:
        ranked: Ids of documents, best first, each once.
        grades: At least one judgement.
    """
    num_relevant = sum(map(is_relevant, grades.values()))
    return QuestionScore(
        num_judged=len(grades),
        num_relevant=num_relevant,
        metrics={
            "ndcg@10": ndcg(ranked, grades, 10) if num_relevant else None,
            "recall@32": recall(ranked, grades, 32) if num_relevant else None,
            "mrr@10": reciprocal_rank(ranked, grades, 10) if num_relevant else None,
            "judged@10": judged_rate(ranked, grades, 10),
        },
    )


def mean_scores(scores: Iterable[QuestionScore], *, seed: int) -> dict[str, Estimate]:
    """Returns the mean of each metric over the questions that have it, with its interval by a bootstrap over questions.

    Raises:
        ValueError: When no question has a relevant document.
    """
    rows = [score.metrics for score in scores]
    names = list(rows[0]) if rows else []
    return {name: mean_estimate([value for row in rows if (value := row[name]) is not None], seed) for name in names}


def is_relevant(grade: int) -> bool:
    """Returns whether a document of this grade answers the question, if incompletely."""
    return grade >= _MIN_RELEVANT_GRADE


def ndcg(ranked: Sequence[str], grades: Grades, k: int) -> float:
    """Returns the discounted gain of the first k documents over that of the best order of all judged ones.

    Gain 2^(grade - 1) - 1 and discount log2(rank + 1) (Burges et al. 2005, "Learning to rank using gradient descent",
    section 6, with the grade 1 here as 0 there); 0 where no document has a gain.

    Example:
        Grades 2, 4 and 1 rank first, third and nowhere: 1 / log2(2) + 7 / log2(4) = 4.5 of the ideal
        7 / log2(2) + 1 / log2(3) = 7.6309.

        >>> round(ndcg(["a", "x", "b"], {"a": 2, "b": 4, "c": 1}, k=10), 4)
        0.5897
    """
    ideal = _discounted_gain(sorted(grades.values(), reverse=True)[:k])
    gain = _discounted_gain([grades.get(document, MIN_GRADE) for document in ranked[:k]])
    return gain / ideal if ideal else 0.0


def recall(ranked: Sequence[str], grades: Grades, k: int) -> float:
    """Returns the fraction of the relevant documents that are among the first k.

    Example:
        >>> recall(["a", "x"], {"a": 3, "b": 4}, k=2)
        0.5
    """
    relevant = {document for document, grade in grades.items() if is_relevant(grade)}
    return len(relevant & set(ranked[:k])) / len(relevant)


def reciprocal_rank(ranked: Sequence[str], grades: Grades, k: int) -> float:
    """Returns 1 over the rank of the first relevant document among the first k, 0 where there is none.

    Example:
        >>> reciprocal_rank(["x", "a"], {"a": 3, "b": 4}, k=10)
        0.5
    """
    ranks = (rank for rank, document in enumerate(ranked[:k], start=1) if is_relevant(grades.get(document, MIN_GRADE)))
    return next((1 / rank for rank in ranks), 0.0)


def judged_rate(ranked: Sequence[str], grades: Grades, k: int) -> float:
    """Returns the fraction of the first k documents that have a judgement, on which the other metrics depend.

    With fewer than k documents it is the fraction of these; 0 without any.

    Example:
        >>> judged_rate(["a", "x", "b", "y"], {"a": 1, "b": 4}, k=4)
        0.5
    """
    first = ranked[:k]
    return sum(document in grades for document in first) / len(first) if first else 0.0


def _discounted_gain(grades: Sequence[int]) -> float:
    return sum((2.0 ** (grade - 1) - 1) / math.log2(rank + 1) for rank, grade in enumerate(grades, start=1))


@dataclass(frozen=True, slots=True)
class RetrievalQuestion:
    """A query for a retriever."""

    id: str
    query: str


@dataclass(frozen=True, slots=True)
class RelevanceJudgement:
    """The grade of a document for a question, and its line in the file."""

    question_id: str
    document_id: str
    grade: int
    line: int


def read_retrieval_questions(path: Path | str, query_fields: Sequence[str]) -> list[RetrievalQuestion]:
    """Returns the questions of a file, each with the texts of some of its fields as its query.

    Raises:
        InputError: When the file is absent, empty or broken, a field is missing, all of a question's fields are empty,
            or an id is used twice. The message names file, line and field.
    """
    path = Path(path)
    questions: dict[str, RetrievalQuestion] = {}
    for record in open_records(path):
        question_id = _id(record, "question_id")
        if question_id in questions:
            raise record.error(f'"{question_id}" is used twice; ids are unique.', "question_id")
        texts = [_text(record, field) for field in query_fields]
        query = " ".join(text for text in texts if text)
        if not query:
            raise record.error("is empty; a question needs a text.", ", ".join(query_fields))
        questions[question_id] = RetrievalQuestion(question_id, query)
    if not questions:
        raise InputError.at(path, "holds no question; give a JSONL file with one question a line.")
    return list(questions.values())


def read_relevance_judgements(path: Path | str) -> Iterator[RelevanceJudgement]:
    """Yields the relevance judgements of a file of question_id, doc_id and grade.

    Raises:
        InputError: When the file is absent, empty or broken, a field is missing or has another type, a grade lies
            outside 1 to 4, or a document is judged twice for a question. The message names file, line and field.
    """
    path = Path(path)
    line_of: dict[tuple[str, str], int] = {}
    records = open_records(path)
    for record in records:
        key = _id(record, "question_id"), _id(record, "doc_id")
        if key in line_of:
            problem = f'"{key[1]}" was judged for question "{key[0]}" on line {line_of[key]} already; keep one.'
            raise record.error(problem, "doc_id")
        line_of[key] = record.line or record.number
        grade = _field(record, "grade")
        if records.is_table and isinstance(grade, str) and grade.strip() in _GRADES:
            grade = int(grade)
        if not isinstance(grade, int) or isinstance(grade, bool) or not MIN_GRADE <= grade <= MAX_GRADE:
            problem = f"expected a whole number from {MIN_GRADE} to {MAX_GRADE}, found {shown(grade)}."
            raise record.error(problem, "grade")
        yield RelevanceJudgement(*key, grade, line_of[key])
    if not line_of:
        raise InputError.at(path, "holds no judgement; give a JSONL file with one judgement a line.")


def _field(record: Record, name: str) -> Any:
    if name not in record.value:
        raise record.error(f"is missing; the line has {', '.join(record.value)}.", name)
    return record.value[name]


def _id(record: Record, name: str) -> str:
    value = _field(record, name)
    if isinstance(value, bool) or not isinstance(value, int | str) or not str(value).strip():
        raise record.error(f"expected a number or a text, found {shown(value)}.", name)
    return str(value).strip()


def _text(record: Record, name: str) -> str:
    value = _field(record, name)
    if not isinstance(value, str | None):
        raise record.error(f"expected a text, found {shown(value)}.", name)
    return (value or "").strip()
