"""Looks up the passages that synthetic questions were written from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from medssr.errors import InputError
from medssr.knowledge.corpora import Passage
from medssr.questions import Question


def look_up_passages(questions: Sequence[Question], corpus: Iterable[Passage], remedy: str) -> dict[str, list[Passage]]:
    """Returns the passages of each question by its id, in the order of its provenance.

    Args:
        questions: Each may hold a list of passage ids as `provenance.passages`.
        corpus: Read once at most, and only as far as needed.
        remedy: What to do where a passage is missing, for the message.

    Raises:
        InputError: When a passage is not in the corpus.
    """
    ids_of = {question.id: list(question.provenance.get("passages") or []) for question in questions}
    wanted = {passage for ids in ids_of.values() for passage in ids}
    passage_of_id: dict[str, Passage] = {}
    passages = iter(corpus)
    while len(passage_of_id) < len(wanted) and (passage := next(passages, None)) is not None:
        if passage.id in wanted:
            passage_of_id[passage.id] = passage
    for question, ids in ids_of.items():
        for passage_id in ids:
            if passage_id not in passage_of_id:
                problem = f'corpus: passage "{passage_id}" of question "{question}" is not in it'
                raise InputError(f"{problem}; give the corpus of the synthesis, or {remedy}.")
    return {question: [passage_of_id[passage_id] for passage_id in ids] for question, ids in ids_of.items()}
