"""What a step's rollouts show, as numbers; `docs/metrics.md` explains each."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, pstdev

from torch import Tensor

from medssr.answers import extract_choice
from medssr.grpo.advantages import has_signal, is_scored
from medssr.grpo.records import RolloutGroup
from medssr.labeling.votes import majority_vote


def step_metrics(groups: Sequence[RolloutGroup], rewards: Tensor, advantages: Tensor) -> dict[str, float]:
    """Returns all that the rollouts of a step show.

    Args:
        groups: P groups of G rollouts.
        rewards: `[P, G]`, as advantages are made of them; NaN where a completion was not scored or left out.
        advantages: `[P, G]`.
    """
    return {
        **rollout_metrics(groups),
        **reward_metrics(groups),
        **length_metrics(groups),
        **guard_metrics(groups),
        **signal_metrics(rewards),
        "train/advantage_min": advantages.min().item(),
        "train/advantage_max": advantages.max().item(),
    }


def signal_metrics(rewards: Tensor) -> dict[str, float]:
    """Returns how much of a step has a gradient.

    Args:
        rewards: `[num_groups, G]`, as advantages are made of them; NaN where a completion was not scored or left out.
    """
    return {
        "train/signal_share": has_signal(rewards).float().mean().item(),
        "train/unscored_share": (~is_scored(rewards)).float().mean().item(),
    }


def reward_metrics(groups: Sequence[RolloutGroup]) -> dict[str, float]:
    """Returns mean and deviation of each reward over the completions that it could judge, and how often it failed."""
    rows = [rollout.judgements for group in groups for rollout in group.rollouts]
    names = list(rows[0]) if rows else []
    metrics: dict[str, float] = {}
    faults: Counter[str] = Counter()
    for name in names:
        values = [row[name].value for row in rows if math.isfinite(row[name].value)]
        if values:
            metrics[f"train/reward/{name}"] = fmean(values)
            metrics[f"train/reward_std/{name}"] = pstdev(values)
        faults.update(f"{name}/{fault.kind}" for row in rows if (fault := row[name].fault) is not None)
    metrics["train/reward_fault_share"] = faults.total() / max(1, len(rows) * len(names))
    return metrics | {f"train/reward_faults/{key}": float(count) for key, count in sorted(faults.items())}


def length_metrics(groups: Sequence[RolloutGroup]) -> dict[str, float]:
    """Returns how long completions are, apart for those that ended by themselves, right ones and wrong ones."""
    rollouts = [(group.question.answer, rollout) for group in groups for rollout in group.rollouts]
    every = [len(rollout.completion.token_ids) for _, rollout in rollouts]
    finished: list[int] = []
    right: list[int] = []
    wrong: list[int] = []
    for (label, rollout), length in zip(rollouts, every, strict=True):
        (right if rollout.choice.letter == label else wrong).append(length)
        if not rollout.completion.is_truncated:
            finished.append(length)
    parts = {"finished": finished, "right": right, "wrong": wrong}
    return {
        "train/completion_tokens_min": float(min(every)),
        "train/completion_tokens_max": float(max(every)),
        "train/num_tokens": float(sum(every) + sum(len(group.prompt_ids) * len(group.rollouts) for group in groups)),
        **{f"train/completion_tokens_{name}": fmean(found) for name, found in parts.items() if found},
    }


def rollout_metrics(groups: Sequence[RolloutGroup]) -> dict[str, float]:
    """Returns the step's metrics over all rollouts and groups.

    `train/label_accuracy` compares the label that is trained on with the hidden truth where a question carries one; it
    reports and steers nothing.
    """
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    letters = [[rollout.choice.letter for rollout in group.rollouts] for group in groups]
    rewards = [
        [rollout.reward for rollout in group.rollouts if math.isfinite(rollout.reward)] for group in groups
    ]  # without the completions that could not be scored
    scored = [reward for row in rewards for reward in row]
    metrics = {
        "train/reward": fmean(scored) if scored else math.nan,
        "train/reward_std": pstdev(scored) if scored else math.nan,
        "train/group_reward_std": fmean(pstdev(row) for row in rewards if row) if scored else math.nan,
        "train/all_right_share": fmean(len(row) > 0 and min(row) == max(row) > 0 for row in rewards),
        "train/all_wrong_share": fmean(len(row) > 0 and max(row) == min(row) <= 0 for row in rewards),
        "train/invalid_share": fmean(rollout.choice.letter is None for rollout in rollouts),
        "train/truncated_share": fmean(rollout.completion.is_truncated for rollout in rollouts),
        "train/completion_tokens": fmean(len(rollout.completion.token_ids) for rollout in rollouts),
        "train/distinct_answers": fmean(len(set(row)) for row in letters),
    }
    agreements = [found for row in letters if (found := majority_vote(row).agreement) is not None]
    if agreements:
        metrics["train/agreement"] = fmean(agreements)
    truths = [(group, group.question.provenance.get("truth")) for group in groups]
    known = [(group, truth) for group, truth in truths if truth is not None]
    if known:
        metrics["train/label_accuracy"] = fmean(group.question.answer == truth for group, truth in known)
        metrics["train/true_accuracy"] = fmean(
            rollout.choice.letter == truth for group, truth in known for rollout in group.rollouts
        )
    return metrics


# An answer that can be read within so many characters has nothing before it that deserves the name of reasoning.
MIN_REASONING_CHARACTERS = 50

_EMPTY_THINKING = re.compile(r"\s*<think>\s*</think>\s*")


def guard_metrics(groups: Sequence[RolloutGroup]) -> dict[str, float]:
    """Returns what the answers of a step look like, whether or not they are right."""
    choices = [rollout.choice for group in groups for rollout in group.rollouts]
    letters = sorted({letter for group in groups for letter in group.question.options})
    answers = letter_shares((choice.letter for choice in choices), letters)
    labels = letter_shares((group.question.answer for group in groups), letters)
    metrics = {f"train/answer_share/{letter}": share for letter, share in answers.items()}
    metrics |= {f"train/label_share/{letter}": share for letter, share in labels.items()}
    if answers and labels:
        metrics["train/letter_distance"] = total_variation(answers, labels)
    reasons = Counter(choice.reason for choice in choices if choice.letter is None)
    metrics |= {f"train/invalid/{reason}": count / len(choices) for reason, count in sorted(reasons.items())}
    is_at_once = [found for group in groups for found in _answers_at_once(group)]
    if is_at_once:
        metrics["train/no_reasoning_share"] = fmean(is_at_once)
    return metrics


def letter_shares(answers: Iterable[str | None], letters: Sequence[str]) -> dict[str, float]:
    """Returns the share of each letter among the answers that have one; nothing where none has.

    Example:
        >>> letter_shares(["A", "A", None, "C", "A"], "ABC")
        {'A': 0.75, 'B': 0.0, 'C': 0.25}
    """
    counts = Counter(answer for answer in answers if answer is not None)
    return {letter: counts[letter] / counts.total() for letter in letters} if counts else {}


def total_variation(first: Mapping[str, float], second: Mapping[str, float]) -> float:
    """Returns the distance of two distributions over the same letters: 0 when equal, 1 when they share none.

    Example:
        >>> total_variation({"A": 0.5, "B": 0.5}, {"A": 1.0, "B": 0.0})
        0.5
    """
    return sum(abs(first[letter] - second[letter]) for letter in first) / 2


def opening(text: str) -> str:
    """Returns the beginning of a completion, to the end of a word, without thinking tags that hold nothing.

    Example:
        >>> opening("<think></think>The answer is B, because the patient has been feverish for days.")
        'The answer is B, because the patient has been'
    """
    text = _EMPTY_THINKING.sub("", text, count=1)
    if len(text) <= MIN_REASONING_CHARACTERS:
        return text
    cut = text[:MIN_REASONING_CHARACTERS]
    return cut if text[MIN_REASONING_CHARACTERS].isspace() else (cut.rpartition(" ")[0] or cut)


def _answers_at_once(group: RolloutGroup) -> list[bool]:
    """Returns for each completion that has an answer whether its opening gives that answer already."""
    letter_of: dict[str, str | None] = {}  # completions of a group often begin alike
    found = []
    for rollout in group.rollouts:
        if rollout.choice.letter is not None:
            beginning = opening(rollout.completion.text)
            if beginning not in letter_of:
                letter_of[beginning] = extract_choice(beginning, group.question.options).letter
            found.append(letter_of[beginning] == rollout.choice.letter)
    return found
