"""The passages that a question was made from, looked up in a corpus."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from medssr.errors import InputError
from medssr.knowledge.corpora import Passage
from medssr.questions import Question


def look_up_passages(questions: Sequence[Question], corpus: Iterable[Passage]) -> dict[str, list[Passage]]:
    """Returns the passages of each question by its id, in the order of its provenance.

    Args:
        questions: Each may hold a list of passage ids as `provenance.passages`.
        corpus: Read once at most, and only as far as needed.

    Raises:
        InputError: When a passage is not in the corpus: whoever judges by the passages has to see them.
    """
    ids_of = {question.id: list(question.provenance.get("passages") or []) for question in questions}
    wanted = {passage for ids in ids_of.values() for passage in ids}
    found: dict[str, Passage] = {}
    passages = iter(corpus)
    while len(found) < len(wanted) and (passage := next(passages, None)) is not None:
        if passage.id in wanted:
            found[passage.id] = passage
    for question, ids in ids_of.items():
        for passage_id in ids:
            if passage_id not in found:
                problem = f'corpus: passage "{passage_id}" of question "{question}" is not in it'
                raise InputError(f"{problem}; give the corpus of the synthesis, or ~corpus to audit without passages.")
    return {question: [found[passage_id] for passage_id in ids] for question, ids in ids_of.items()}
