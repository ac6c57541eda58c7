"""What became of a question whenever it was asked in training: the votes of its completions, visit by visit.

Options are shuffled between visits, so answers are kept by their texts and not by their letters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from medssr.labeling.votes import majority_vote
from medssr.questions import Question


@dataclass(frozen=True, slots=True)
class Visit:
    """The answers to a question in one training step.

    Attributes:
        step: The index of the step.
        votes: The number of completions for each answer, by the text of the option.
        num_answers: The number of all completions, those without a valid answer included.
        majority: The text of the option with the most votes; None for a tie or without a valid vote.
        pass_rate: The fraction of completions whose answer is the label; None without a label.
        is_labelled: Whether that label is the question's own, which its rewards read.
        is_trained: Whether the question was trained; else it was left out by a selection.
    """

    step: int
    votes: dict[str, int]
    num_answers: int
    majority: str | None
    pass_rate: float | None
    is_labelled: bool = False
    is_trained: bool = True

    @property
    def majority_share(self) -> float:
        """The votes for the most frequent answer divided by all completions; 0 without a valid vote."""
        return max(self.votes.values(), default=0) / self.num_answers


def visit_of(step: int, question: Question, letters: Sequence[str | None], label: str | None) -> Visit:
    """Returns the visit of a question.

    Args:
        step: The index of the step.
        question: The question as it was asked.
        letters: The answer of each completion; None for one without a valid answer.
        label: The letter that answers were compared with; None if there was none.

    Example:
        >>> question = Question("q", "Which organ?", {"A": "liver", "B": "heart"}, None, "example")
        >>> visit = visit_of(3, question, ["A", "A", None, "B"], label="A")
        >>> visit.votes, visit.majority, visit.pass_rate
        ({'heart': 1, 'liver': 2}, 'liver', 0.5)
    """
    vote = majority_vote(letters)
    votes: Counter[str] = Counter()
    for letter, count in vote.counts.items():
        votes[question.options[letter]] += count
    return Visit(
        step,
        dict(sorted(votes.items())),
        len(letters),
        None if vote.label is None else question.options[vote.label],
        None if label is None else letters.count(label) / len(letters),
    )


class QuestionHistory:
    """The visits of all questions of a stage, the earliest first. All processes of a training hold the same.

    Args:
        stage: The name of the stage; the history of another stage is not taken up.
    """

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._visits: dict[str, list[Visit]] = {}

    def __getitem__(self, question_id: str) -> tuple[Visit, ...]:
        """Returns the visits of a question; none for one that was not asked yet."""
        return tuple(self._visits.get(question_id, ()))

    def items(self) -> Iterable[tuple[str, Sequence[Visit]]]:
        """Returns all questions that were asked, by id, with their visits."""
        return self._visits.items()

    def add(self, visits: Iterable[tuple[str, Visit]]) -> None:
        """Adds the visits of a step, each with the id of its question.

        A question that a step asks twice has its visits in an order that does not depend on the number of processes.
        """
        for question_id, visit in sorted(visits, key=lambda pair: (pair[0], repr(pair[1]))):
            self._visits.setdefault(question_id, []).append(visit)

    def state_dict(self) -> dict[str, Any]:
        """Returns what a checkpoint keeps."""
        visits = {question_id: [asdict(visit) for visit in row] for question_id, row in self._visits.items()}
        return {"stage": self._stage, "visits": visits}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up the history of a checkpoint of the same stage; another stage asked other questions."""
        if state["stage"] == self._stage:
            self._visits = {
                question_id: [Visit(**visit) for visit in row] for question_id, row in state["visits"].items()
            }
