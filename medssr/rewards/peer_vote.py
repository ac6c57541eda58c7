"""A reward by the votes of others: of the completions of another view of the question, or of a teacher."""

from __future__ import annotations

from medssr.labeling.votes import majority_vote
from medssr.rewards.groups import GroupInput, GroupScore


class PeerVote:
    """Rewards the answer that most peers give with 1, any other with 0 (Co-rewarding, arXiv 2508.00410).

    r_i = 1[a_i = majority(b_1 ... b_N)] for the answers b of the peers: those to the question with its options permuted
    (`grpo.has_permuted_view`), or those of a teacher (`grpo/teacher`); with both, the teacher's to the other view. An
    answer that cannot be read is no candidate, and a tie rewards nobody.

    Args:
        weight: Weight in the sum of rewards.
    """

    decides_signal = True
    is_label_free = True
    needs_peers = True

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def score_group(self, group: GroupInput) -> GroupScore:
        """Returns 1.0 for completions with the answer of most peers, else 0.0."""
        assert group.peer_letters is not None, "the trainer collects the answers that a reward needs"
        label = majority_vote(group.peer_letters).label
        return GroupScore([float(label is not None and letter == label) for letter in group.letters], label=label)
