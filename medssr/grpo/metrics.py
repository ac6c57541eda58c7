"""The metrics of a training step; `docs/metrics.md` explains each."""

from __future__ import annotations

import math
import operator
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, pstdev

import torch
from torch import Tensor

from medssr.answers import extract_choice
from medssr.grpo.advantages import is_scored
from medssr.grpo.kl import logprob_mismatch
from medssr.grpo.minibatches import Minibatch
from medssr.grpo.objective import LossStatistics
from medssr.grpo.rollouts import RolloutGroup
from medssr.labeling.votes import majority_vote
from medssr.models.utilisation import Utilisation, update_flops
from medssr.utils.processes import average_metrics, gather_objects


def step_metrics(
    groups: Sequence[RolloutGroup], rewards: Tensor, has_signal: Tensor, advantages: Tensor
) -> dict[str, float]:
    """Returns all metrics of the rollouts of a step.

    Args:
        groups: P groups of G rollouts.
        rewards: `[P, G]`, the rewards that advantages are computed from; NaN where a completion is unscored.
        has_signal: `[P]`, whether the label rewards of a group differ.
        advantages: `[P, G]`.
    """
    return {
        **rollout_metrics(groups),
        **reward_metrics(groups),
        **length_metrics(groups),
        **hacking_metrics(groups),
        "train/frac_nonzero_std": has_signal.float().mean().item(),
        "train/unscored_share": (~is_scored(rewards)).float().mean().item(),
        "train/advantage_min": advantages.min().item(),
        "train/advantage_max": advantages.max().item(),
    }


def optimizer_step_metrics(minibatch: Minibatch, statistics: Sequence[LossStatistics]) -> dict[str, float]:
    """Returns the metrics of an optimiser step over all processes.

    They are means over the tokens of the optimiser step, except the loss, which is the value that is trained on, and
    the divergence from a teacher, a mean over the tokens that are drawn to it.

    Args:
        minibatch: The minibatch of this process.
        statistics: The statistics of its micro-batches.
    """
    totals: Counter[str] = Counter()
    for part in statistics:
        totals.update(part.metrics)
    totals["num_tokens"] = sum(sample.num_trained_tokens for sample in minibatch.samples)
    metrics = average_metrics(totals)
    num_tokens = metrics.pop("num_tokens")
    return {
        name: value if name in ("loss", "teacher_divergence") else value * minibatch.normalizer / num_tokens
        for name, value in metrics.items()
    }


def mismatch_metrics(statistics: Sequence[LossStatistics], tis_cap: float | None) -> dict[str, float]:
    """Returns the log-prob mismatch of engine and trainer over the tokens of all processes; {} if there are none.

    Args:
        statistics: Of this process's micro-batches in the first pass over the completions.
        tis_cap: The cap of the importance weights; None if there are none.
    """
    samples = [sample for part in statistics for sample in part.samples]
    logps = [logps for part in statistics for logps in part.sampling_logps]
    pairs = [
        (trainer, sample.engine_logps) for sample, trainer in zip(samples, logps, strict=True) if not sample.is_dummy
    ]
    if not pairs:
        local = None
    else:
        old_logps, engine_logps = (torch.cat(column) for column in zip(*pairs, strict=True))
        local = len(old_logps), logprob_mismatch(old_logps, engine_logps, tis_cap)
    return pooled_mismatch([part for part in gather_objects(local) if part is not None])


def pooled_mismatch(parts: Sequence[tuple[int, Mapping[str, float]]]) -> dict[str, float]:
    """Returns the mismatch over the tokens of all parts; {} if there are none.

    Args:
        parts: The number of tokens of each part, and the metrics of `logprob_mismatch` over them.

    Example:
        >>> part = {"logprob_mismatch_mean": 1.0, "logprob_mismatch_max": 2.0, "engine_logp_missing_share": 0.5}
        >>> pooled_mismatch([(4, part), (1, dict.fromkeys(part, 0.0))])  # two tokens with log-probs, and one
        {'logprob_mismatch_mean': 0.6666666666666666, 'logprob_mismatch_max': 2.0, 'engine_logp_missing_share': 0.4}
    """
    if len(parts) < 2:
        return dict(parts[0][1]) if parts else {}
    tokens = [number for number, _ in parts]
    with_logps = [number * (1 - metrics["engine_logp_missing_share"]) for number, metrics in parts]

    def pooled(name: str) -> float:
        values = [metrics[name] for _, metrics in parts]
        if name.endswith("_max"):
            return max(values)
        weights = tokens if name.endswith("_share") else with_logps
        total: float = sum(map(operator.mul, weights, values))
        return total / (sum(weights) or 1.0)

    return {name: pooled(name) for name in parts[0][1]}


def reward_metrics(groups: Sequence[RolloutGroup]) -> dict[str, float]:
    """Returns mean and deviation of each reward over the completions that it scored, and how often it failed."""
    rows = [rollout.results for group in groups for rollout in group.rollouts]
    names = dict.fromkeys(name for row in rows for name in row)
    metrics: dict[str, float] = {}
    faults: Counter[str] = Counter()
    for name in names:
        results = [row[name] for row in rows if name in row]  # questions of some sources do not have all rewards
        values = [result.value for result in results if math.isfinite(result.value)]
        if values:
            metrics[f"train/reward/{name}"] = fmean(values)
            metrics[f"train/reward_std/{name}"] = pstdev(values)
        faults.update(f"{name}/{fault.kind}" for result in results if (fault := result.fault) is not None)
    metrics["train/reward_fault_share"] = faults.total() / max(1, sum(map(len, rows)))
    return metrics | {f"train/reward_faults/{key}": float(count) for key, count in sorted(faults.items())}


def length_metrics(groups: Sequence[RolloutGroup]) -> dict[str, float]:
    """Returns the lengths of completions, also separately for finished, right and wrong ones."""
    rollouts = [(group.label, rollout) for group in groups for rollout in group.rollouts]
    lengths = [len(rollout.completion.token_ids) for _, rollout in rollouts]
    finished: list[int] = []
    right: list[int] = []
    wrong: list[int] = []
    for (label, rollout), length in zip(rollouts, lengths, strict=True):
        if label is not None:
            (right if rollout.choice.letter == label else wrong).append(length)
        if not rollout.completion.is_truncated:
            finished.append(length)
    parts = {"finished": finished, "right": right, "wrong": wrong}
    return {
        "train/completion_tokens_min": float(min(lengths)),
        "train/completion_tokens_max": float(max(lengths)),
        "train/num_tokens": float(sum(lengths) + sum(map(_num_other_tokens, groups))),
        **{f"train/completion_tokens_{name}": fmean(part) for name, part in parts.items() if part},
    }


def _num_other_tokens(group: RolloutGroup) -> int:
    return len(group.prompt_ids) * len(group.rollouts) + group.num_other_tokens


def rollout_metrics(groups: Sequence[RolloutGroup]) -> dict[str, float]:
    """Returns the step's metrics over all rollouts and groups.

    `train/label_accuracy` compares the label that is trained on with the true answer where a question has both, and
    `train/reward_accuracy` what both say of each completion. They are only logged; training does not use them.
    """
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    letters = [[rollout.choice.letter for rollout in group.rollouts] for group in groups]
    rewards = [
        [rollout.reward for rollout in group.rollouts if math.isfinite(rollout.reward)] for group in groups
    ]  # without unscored completions
    scored = [reward for row in rewards for reward in row]
    metrics = {
        "train/reward": fmean(scored) if scored else math.nan,
        "train/reward_std": pstdev(scored) if scored else math.nan,
        "train/group_reward_std": fmean(pstdev(row) for row in rewards if row) if scored else math.nan,
        "train/all_right_share": fmean(len(row) > 0 and min(row) == max(row) > 0 for row in rewards),
        "train/all_wrong_share": fmean(len(row) > 0 and max(row) == min(row) <= 0 for row in rewards),
        "train/invalid_share": fmean(rollout.choice.letter is None for rollout in rollouts),
        "train/hinted_share": fmean(rollout.is_hinted for rollout in rollouts),
        "train/truncated_share": fmean(rollout.completion.is_truncated for rollout in rollouts),
        "train/completion_tokens": fmean(len(rollout.completion.token_ids) for rollout in rollouts),
        "train/distinct_answers": fmean(len(set(row)) for row in letters),
    }
    agreements = [agreement for row in letters if (agreement := majority_vote(row).agreement) is not None]
    if agreements:
        metrics["train/agreement"] = fmean(agreements)
    truths = [(group, group.question.provenance.get("truth")) for group in groups]
    with_truth = [(group, truth) for group, truth in truths if truth is not None]
    if with_truth:
        metrics["train/true_accuracy"] = fmean(
            rollout.choice.letter == truth
            for group, truth in with_truth
            for rollout in group.rollouts
            if not rollout.is_hinted
        )
    labelled = [(group, truth) for group, truth in with_truth if group.label is not None]
    if labelled:
        metrics["train/label_accuracy"] = fmean(group.label == truth for group, truth in labelled)
        metrics["train/reward_accuracy"] = fmean(
            (letter == group.label) == (letter == truth) for group, truth in labelled for letter in group.letters
        )
    return metrics


# An answer that can be extracted from the first so many characters has no reasoning before it.
MIN_REASONING_CHARACTERS = 50

_EMPTY_THINKING = re.compile(r"\s*<think>\s*</think>\s*")


def hacking_metrics(groups: Sequence[RolloutGroup]) -> dict[str, float]:
    """Returns signs of reward hacking: the distribution of letters, invalid answers, and answers without reasoning."""
    choices = [rollout.choice for group in groups for rollout in group.rollouts]
    letters = sorted({letter for group in groups for letter in group.question.options})
    answers = letter_fractions((choice.letter for choice in choices), letters)
    labels = letter_fractions((group.label for group in groups), letters)
    metrics = {f"train/answer_share/{letter}": fraction for letter, fraction in answers.items()}
    metrics |= {f"train/label_share/{letter}": fraction for letter, fraction in labels.items()}
    if answers and labels:
        metrics["train/letter_distance"] = total_variation(answers, labels)
    reasons = Counter(choice.reason for choice in choices if choice.letter is None)
    metrics |= {f"train/invalid/{reason}": count / len(choices) for reason, count in sorted(reasons.items())}
    lacks_reasoning = [flag for group in groups for flag in _lacks_reasoning(group)]
    if lacks_reasoning:
        metrics["train/no_reasoning_share"] = fmean(lacks_reasoning)
    return metrics


def letter_fractions(answers: Iterable[str | None], letters: Sequence[str]) -> dict[str, float]:
    """Returns the fraction of each letter among the answers that have one; {} if none has.

    Example:
        >>> letter_fractions(["A", "A", None, "C", "A"], "ABC")
        {'A': 0.75, 'B': 0.0, 'C': 0.25}
    """
    counts = Counter(answer for answer in answers if answer is not None)
    return {letter: counts[letter] / counts.total() for letter in letters} if counts else {}


def total_variation(first: Mapping[str, float], second: Mapping[str, float]) -> float:
    """Returns the total variation distance of two distributions over the same letters: 0 if equal, 1 if disjoint.

    Example:
        >>> total_variation({"A": 0.5, "B": 0.5}, {"A": 1.0, "B": 0.0})
        0.5
    """
    return sum(abs(first[letter] - second[letter]) for letter in first) / 2


def opening(text: str) -> str:
    """Returns the beginning of a completion, cut at the end of a word, without empty thinking tags.

    Example:
        >>> opening("<think></think>The answer is B, because the patient has been feverish for days.")
        'The answer is B, because the patient has been'
    """
    text = _EMPTY_THINKING.sub("", text, count=1)
    if len(text) <= MIN_REASONING_CHARACTERS:
        return text
    cut = text[:MIN_REASONING_CHARACTERS]
    return cut if text[MIN_REASONING_CHARACTERS].isspace() else (cut.rpartition(" ")[0] or cut)


def _lacks_reasoning(group: RolloutGroup) -> list[bool]:
    """Returns for each completion with an answer whether its opening already contains that answer."""
    letter_of: dict[str, str | None] = {}  # cached, since completions of a group often begin the same
    flags = []
    for rollout in group.rollouts:
        if rollout.choice.letter is not None:
            beginning = opening(rollout.completion.text)
            if beginning not in letter_of:
                letter_of[beginning] = extract_choice(beginning, group.question.options).letter
            flags.append(letter_of[beginning] == rollout.choice.letter)
    return flags


def mfu_metrics(
    utilisation: Utilisation | None, num_passes: int, minibatches: Sequence[Minibatch], metrics: Mapping[str, float]
) -> dict[str, float]:
    """Returns the utilisation of the devices in the passes of a step's update; none where a device is not known.

    Args:
        utilisation: Computes it; None if this process does not know its device. All processes call this together.
        num_passes: How often the minibatches were passed over.
        minibatches: Those of this process.
        metrics: The seconds of the forward and backward passes of the step.
    """
    local = None if utilisation is None else num_passes * sum(_flops(utilisation, batch) for batch in minibatches)
    gathered = gather_objects(local)
    of_known_devices = [flops for flops in gathered if flops is not None]
    if utilisation is None or len(of_known_devices) < len(gathered):
        return {}
    return {"time/mfu": utilisation.share(fmean(of_known_devices), metrics["time/forward"] + metrics["time/backward"])}


def _flops(utilisation: Utilisation, minibatch: Minibatch) -> float:
    """Returns the floating-point operations of one pass over a minibatch, forward and backward."""
    samples = [sample for sample in minibatch.samples if not sample.is_dummy]
    return update_flops(
        utilisation.model,
        {sample.question_id: len(sample.prompt_ids) for sample in samples}.values(),
        [(len(sample.prompt_ids), len(sample.completion_ids)) for sample in samples],
        utilisation.num_adapter_parameters,
    )
