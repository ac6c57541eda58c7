"""The reward of a walk in a knowledge graph: 1 where it ends at the answer, else 0."""

from __future__ import annotations

from medssr.answers import Choice
from medssr.engines.types import Completion
from medssr.knowledge.graph.walks import WalkTask, read_walk
from medssr.questions import Question


class WalkEnd:
    """Rewards a walk whose steps are all in the question's graph, and whose end is the answer, with 1, else 0.

    The letter that a completion names behind its walk does not count. The end of the walk is the terminal reward of
    arXiv 2405.13640.

    Args:
        weight: Weight in the sum of rewards.
    """

    decides_signal = True

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def __call__(self, question: Question, completion: Completion, choice: Choice) -> float:
        """Returns 1.0 or 0.0; a truncated completion has no end.

        Raises:
            ValueError: When the question is no walk.
        """
        task = WalkTask.from_record(question.provenance.get("walk", {}))
        walk = read_walk(completion.text, task)
        return float(walk.is_whole and walk.end == task.tail and not completion.is_truncated)
