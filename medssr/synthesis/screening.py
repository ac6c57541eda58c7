"""What a question must not repeat: benchmarks, seed questions, and the questions accepted before it."""

from __future__ import annotations

from collections.abc import Iterable

from medssr.questions import Question
from medssr.synthesis.contamination import ContaminationIndex
from medssr.synthesis.deduplication import NearDuplicates
from medssr.synthesis.generators import Rejection


class Screen:
    """Rejects questions that repeat another one; of two near-duplicates the first stays.

    Args:
        benchmarks: The questions that are kept for evaluation.
        seeds: The questions that prompts show.
    """

    def __init__(self, benchmarks: Iterable[Question], seeds: Iterable[Question]) -> None:
        self._id_of_stem: dict[str, str] = {}
        for question in benchmarks:
            self._id_of_stem.setdefault(question.stem, question.id)
        self._contamination = ContaminationIndex(self._id_of_stem)
        self._seen = NearDuplicates()
        self._seed_ids = set()
        for question in seeds:
            self._seed_ids.add(question.id)
            self._seen.add(question)

    def check(self, question: Question) -> Rejection | None:
        """Returns the rejection "in_benchmark", "copies_seed" or "near_duplicate" with the other question, or None."""
        match = self._contamination.check(question.stem)
        if match is not None:
            return Rejection("in_benchmark", f"{self._id_of_stem[match.stem]} (score {match.score:.2f})")
        duplicate = self._seen.find(question)
        if duplicate is not None:
            reason = "copies_seed" if duplicate.id in self._seed_ids else "near_duplicate"
            return Rejection(reason, f"{duplicate.id} (similarity {duplicate.similarity:.2f})")
        return None

    def add(self, question: Question) -> None:
        """Counts the question among the accepted ones."""
        self._seen.add(question)
