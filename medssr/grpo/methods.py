"""Which optional parts the steps of a stage have, by its configuration and its rewards."""

from __future__ import annotations

from medssr.config import GRPOConfig, ScaleRewards
from medssr.errors import InputError
from medssr.grpo.group_scoring import GroupScoring
from medssr.grpo.hints import HintRetries, Hints
from medssr.grpo.objective import Objective
from medssr.grpo.parts import StepPart
from medssr.grpo.peers import MovingTeacher, PermutedViews
from medssr.grpo.rollouts import RolloutCollector
from medssr.grpo.selection import QuestionSelection
from medssr.grpo.step_selection import Selecting
from medssr.grpo.visits import Visits
from medssr.rewards.history import QuestionHistory
from medssr.rewards.scoring import traits_of
from medssr.utils.instantiate import instantiate


def step_parts(
    rollouts: RolloutCollector, objective: Objective, config: GRPOConfig, hints: Hints | None = None
) -> list[StepPart]:
    """Returns the optional parts of a step, in the order in which they act; none for labels and plain GRPO.

    Args:
        rollouts: Has the rewards.
        objective: Has the teacher.
        config: The algorithm's settings.
        hints: The hints of the stage's questions; None if there are to be none.

    Raises:
        InputError: When a reward needs another scaling of rewards, or answers of others than the policy.
    """
    _check_scaling(rollouts, config)
    _check_peers(rollouts, config)
    parts: list[StepPart] = []
    if hints is not None:
        parts.append(HintRetries(rollouts, hints))
    if objective.teacher is not None and objective.average is not None:
        is_asked = _peer_reader(rollouts) is not None
        parts.append(MovingTeacher(objective.teacher, objective.average, rollouts, objective.model, is_asked=is_asked))
    if config.has_permuted_view:
        parts.append(PermutedViews(rollouts.seed, rollouts.stage))
    has_group_rewards = any(traits_of(reward).sees_groups for reward in rollouts.rewards.values())
    history = QuestionHistory(rollouts.stage)
    if has_group_rewards:
        parts.append(GroupScoring(rollouts, objective, history))
    if objective.distillation is not None:
        parts.append(objective.distillation)
    if has_group_rewards or config.selection is not None:
        parts.append(Visits(history))
    if config.selection is not None:
        selection: QuestionSelection = instantiate(config.selection, "grpo.selection")
        parts.append(Selecting(selection, config.selection["_target_"], rollouts.stage, history))
    return parts


def _check_scaling(rollouts: RolloutCollector, config: GRPOConfig) -> None:
    """Checks that the rewards of those that divide by deviations themselves are not divided again."""
    unscaled = [name for name, reward in rollouts.rewards.items() if traits_of(reward).needs_unscaled]
    if unscaled and config.scale_rewards is not ScaleRewards.none:
        raise InputError(
            f"grpo.scale_rewards: {config.scale_rewards.value}, but reward.{unscaled[0]} divides by "
            "deviations itself; take grpo.scale_rewards=none."
        )


def _check_peers(rollouts: RolloutCollector, config: GRPOConfig) -> None:
    """Checks that a reward has the answers of others that it compares with, and that a teacher is asked."""
    uses_teacher = config.distillation is not None or (config.beta > 0 and not config.keeps_reference)
    reader = _peer_reader(rollouts)
    has_peers = config.has_permuted_view or config.has_average
    if reader is not None and not has_peers:
        raise InputError(
            f"reward.{reader}: compares with answers of others than the policy, and there are none; take "
            "grpo.has_permuted_view=true, or a teacher, such as grpo/teacher=moving_average."
        )
    is_asked = reader is not None and config.has_average
    if config.teacher is not None and not uses_teacher and not is_asked:
        raise InputError(
            "grpo.teacher: nothing uses it; take grpo/distillation=gated, or with grpo/teacher=moving_average a "
            "reward that asks it, such as reward=peer_vote, or let the KL be to it (grpo.teacher.anchors_kl=true "
            "and grpo.beta above 0)."
        )


def _peer_reader(rollouts: RolloutCollector) -> str | None:
    """Returns the name of a reward that compares with answers of others; None if none does."""
    return next((name for name, reward in rollouts.rewards.items() if traits_of(reward).needs_peers), None)
