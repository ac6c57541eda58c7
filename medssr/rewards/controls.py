"""Controls that carry no knowledge: what a method gains over them is not the effect of training by itself."""

from __future__ import annotations

from medssr.rewards.groups import GroupInput, GroupScore
from medssr.utils.seeding import derive_seed


class RandomLabel:
    """Rewards one option of each question, drawn once at random, with 1, and any other answer with 0.

    The draw depends on seed, question and the texts of the options, so that it stays with an option that is moved.

    Args:
        weight: Weight in the sum of rewards.
        seed: Of the draw.
    """

    decides_signal = True
    is_label_free = True

    def __init__(self, weight: float, seed: int) -> None:
        self.weight = weight
        self._seed = seed

    def score_group(self, group: GroupInput) -> GroupScore:
        """Returns 1.0 for the drawn answer, 0.0 for others; the label is the drawn one."""
        question = group.question
        label = max(question.options, key=lambda letter: derive_seed(self._seed, question.id, question.options[letter]))
        return GroupScore([float(letter == label) for letter in group.letters], label=label)
