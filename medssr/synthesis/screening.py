"""Screens drafts: rejects those that fail a check, or repeat a benchmark, a seed question or an accepted question."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from medssr.errors import InputError
from medssr.questions import Question
from medssr.synthesis.contamination import ContaminationIndex
from medssr.synthesis.duplicates import NearDuplicates
from medssr.synthesis.filters import FilterLimits, check_draft
from medssr.synthesis.generators import Draft, Outcome, Rejection
from medssr.synthesis.plan import SynthesisRequest
from medssr.synthesis.prompts import text_hash


class RepeatScreen:
    """Rejects questions that repeat another one; of two near-duplicates the first stays.

    Args:
        benchmarks: The questions of the benchmarks, which training must not see.
        seeds: The questions that prompts show.
    """

    def __init__(self, benchmarks: Iterable[Question], seeds: Iterable[Question]) -> None:
        kept = list(benchmarks)
        self._benchmark_ids = [question.id for question in kept]
        self._contamination = ContaminationIndex(
            (question.stem for question in kept), options=[question.options.values() for question in kept]
        )
        self._seen = NearDuplicates()
        self._seed_ids = set()
        for question in seeds:
            self._seed_ids.add(question.id)
            self._seen.add(question)

    def check(self, question: Question) -> Rejection | None:
        """Returns the rejection "in_benchmark", "copies_seed" or "near_duplicate" with the other question, or None."""
        match = self._contamination.check(question.stem, question.options.values())
        if match is not None:
            return Rejection("in_benchmark", f"{self._benchmark_ids[match.index]} (score {match.score:.2f})")
        duplicate = self._seen.find(question)
        if duplicate is not None:
            reason = "copies_seed" if duplicate.id in self._seed_ids else "near_duplicate"
            return Rejection(reason, f"{duplicate.id} (similarity {duplicate.similarity:.2f})")
        return None

    def benchmark_counts(self) -> dict[str, int]:
        """Returns the number of different benchmark questions, and of those that are compared by their options."""
        index = self._contamination
        return {"num_questions": len(index), "num_stems_without_content": index.num_without_content}

    def add(self, question: Question) -> None:
        """Counts the question among the accepted ones."""
        self._seen.add(question)


class DraftScreen:
    """Accepts or rejects what a generator returns; accepted questions count for the drafts after them.

    Args:
        limits: The numbers that drafts are held to.
        repeats: Rejects questions that repeat another one.
        origin: Fields of the provenance that all questions share.
        is_for_benchmark: Whether the truth becomes the answer, which labels of training never are.
    """

    def __init__(
        self, limits: FilterLimits, repeats: RepeatScreen, origin: Mapping[str, str], is_for_benchmark: bool = False
    ) -> None:
        self._limits = limits
        self._repeats = repeats
        self._origin = dict(origin)
        self._is_for_benchmark = is_for_benchmark

    def __call__(self, request: SynthesisRequest, outcome: Outcome) -> Question | Rejection:
        """Returns the draft as a question, with an answer for a benchmark only, or why it is rejected.

        Raises:
            InputError: When a question of a benchmark has no known truth.
        """
        if isinstance(outcome, Rejection):
            return outcome
        rejection = check_draft(outcome, request, self._limits)
        if rejection is not None:
            return rejection
        question = self._question(request, outcome)
        rejection = self._repeats.check(question)
        if rejection is not None:
            return rejection
        self._repeats.add(question)
        return question

    def _question(self, request: SynthesisRequest, draft: Draft) -> Question:
        """Returns the draft as a question; the truth goes into the provenance, or into the answer for a benchmark."""
        drawn = request.draw
        provenance = {
            **self._origin,
            "attempt": drawn.attempt,
            "rho": drawn.rho,
            "is_injected": drawn.is_injected,
            "seeds": [seed.id for seed in drawn.seed_questions],
            "passages": [hit.passage.id for hit in request.hits],
            "prompt_sha256": text_hash(request.prompt),
            **draft.details,
        }
        if self._is_for_benchmark:
            if draft.truth is None:
                problem = "the questions of a benchmark need their true answers, which this generator does not know"
                raise InputError(f"synthesis.split=held_out: {problem}; take generator=graph or generator=grounded.")
        elif draft.truth is not None:
            provenance["truth"] = draft.truth
        return Question(
            id=f"synthetic-{drawn.slot:07d}",
            stem=draft.stem,
            options=draft.options,
            answer=draft.truth if self._is_for_benchmark else None,
            source="synthetic",
            entity=draft.entity,
            is_rare=draft.is_rare,
            provenance=provenance,
        )
