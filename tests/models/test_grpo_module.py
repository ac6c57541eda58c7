"""GRPO with a real Trainer: what a step does, and that an interrupted run ends as an uninterrupted one does."""

from __future__ import annotations

import csv
import math
import shutil
from copy import deepcopy
from dataclasses import replace
from functools import partial

import lightning as L
import pytest
import torch
from helpers import copy_policy, grpo_config, toy_question
from torch.optim import SGD, AdamW

from medssr.callbacks.step_checkpoint import StepCheckpoint, last_checkpoint
from medssr.config import KLEstimator, KLPlacement, LossType, ScaleRewards, Truncated
from medssr.data.prompt_datamodule import PromptDataModule
from medssr.data.step_loader import StepBatch
from medssr.models.grpo_module import GRPOModule
from medssr.models.objective import Objective
from medssr.models.schedules import warmup_then_constant
from medssr.rl.minibatches import training_rows
from medssr.rollout.collector import RolloutCollector
from medssr.rollout.hf_engine import HFEngine
from medssr.tracking.csv_logger import CSVMetrics

QUESTIONS = [toy_question(number) for number in range(5)]


class EvenTokens:
    """The share of even tokens: a reward that a random policy can raise."""

    weight = 1.0

    def __call__(self, question, completion, choice):
        return sum(token % 2 == 0 for token in completion.token_ids) / len(completion.token_ids)


class Constant:
    weight = 1.0

    def __call__(self, question, completion, choice):
        return 0.5


class SignalFor:
    """Even tokens for one question, nothing for the others."""

    weight = 1.0

    def __init__(self, question_id):
        self._question_id = question_id

    def __call__(self, question, completion, choice):
        return EvenTokens()(question, completion, choice) if question.id == self._question_id else 0.0


class SilentOn(EvenTokens):
    """Even tokens, but no reward for completions that begin with one of some tokens."""

    def __init__(self, first_tokens):
        self._first_tokens = first_tokens

    def __call__(self, question, completion, choice):
        if completion.token_ids[0] in self._first_tokens:
            return None
        return super().__call__(question, completion, choice)


class NoisyEngine(HFEngine):
    """An engine whose log-probs are off by a fixed amount."""

    shift = 0.0

    def generate(self, prompts, seeds, sampling):
        groups = super().generate(prompts, seeds, sampling)
        return [[replace(item, logps=[logp + self.shift for logp in item.logps]) for item in row] for row in groups]


class Interrupt(L.Callback):
    """Ends the run before or after a step, and keeps what a killed process would have left by then."""

    def __init__(self, moment, step, directory, left_by_kill):
        self._moment, self._step = moment, step
        self._directory, self._left_by_kill = directory, left_by_kill

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self._interrupt("before", batch_idx)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self._interrupt("after", batch_idx)

    def _interrupt(self, moment, step):
        if (moment, step) == (self._moment, self._step):
            shutil.copytree(self._directory, self._left_by_kill)
            raise ConnectionAbortedError


def make_module(policy, config, reward, optimizer, engine=HFEngine):
    reference = deepcopy(policy.model).requires_grad_(False) if config.beta > 0 else None
    return GRPOModule(
        RolloutCollector(
            policy,
            engine=engine(policy, max_batch_size=64),
            rewards={"reward": reward},
            config=config,
            seed=42,
            stage="toy",
            source="toy.jsonl",
        ),
        Objective(policy.model, reference, policy.tokenizer.pad_token_id, config),
        config,
        optimizer,
        partial(warmup_then_constant, num_warmup_steps=2),
    )


def fit(
    policy,
    directory,
    config=None,
    reward=None,
    *,
    questions=QUESTIONS,
    optimizer=partial(AdamW, lr=1e-2),  # noqa: B008
    callbacks=(),
    every_num_steps=2,
    engine=HFEngine,
):
    """Trains the policy, going on from a checkpoint in the folder, and returns its module."""
    config = config or grpo_config()
    module = make_module(policy, config, reward or EvenTokens(), optimizer, engine)
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=1,
        log_every_n_steps=1,
        logger=CSVMetrics(str(directory)),
        callbacks=[StepCheckpoint(directory, every_num_steps), *callbacks],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=str(directory),
    )
    data = PromptDataModule(questions, 42, "toy", config.num_steps, config.num_prompts_per_step)
    trainer.fit(module, data, ckpt_path=last_checkpoint(directory), weights_only=True)
    return module


def weights(policy):
    return {name: value.clone() for name, value in policy.model.state_dict().items()}


def are_equal(before, after):
    return all(torch.equal(before[name], after[name]) for name in before)


def metrics(directory):
    """The rows of metrics.csv without the seconds."""
    with (directory / "metrics.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return [{name: value for name, value in row.items() if not name.startswith("time/")} for row in rows]


def test_training_changes_the_weights_and_logs_every_step(policy, tmp_path):
    before = weights(policy)
    fit(policy, tmp_path)
    assert not are_equal(before, weights(policy))
    with (tmp_path / "metrics.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 3
    names = {"reward", "loss", "kl", "entropy", "clip_low_share", "clip_high_share", "grad_norm", "lr"}
    names |= {"all_right_share", "all_wrong_share", "invalid_share", "truncated_share", "completion_tokens"}
    expected = {f"train/{name}" for name in names | {"distinct_answers"}} | {"time/rollout", "time/step"}
    assert expected <= rows[0].keys()
    assert all(row[name] for row in rows for name in expected)


def test_the_reward_rises(policy, tmp_path):
    config = grpo_config(num_steps=12, num_prompts_per_step=5, num_generations=8, beta=0.0)
    fit(policy, tmp_path, config)
    rewards = [float(row["train/reward"]) for row in metrics(tmp_path)]
    assert sum(rewards[-3:]) / 3 > sum(rewards[:3]) / 3 + 0.1


def test_the_first_step_is_on_policy(policy, tmp_path):
    fit(policy, tmp_path, grpo_config(num_steps=2))
    first, second = metrics(tmp_path)
    assert float(first["train/kl"]) == pytest.approx(0, abs=1e-7) != float(second["train/kl"])
    assert float(first["train/clip_low_share"]) == float(first["train/clip_high_share"]) == 0
    assert [float(row["train/lr"]) for row in (first, second)] == pytest.approx([5e-3, 1e-2])


def test_a_constant_reward_leaves_the_weights_as_they_are(policy, tmp_path):
    before = weights(policy)
    fit(policy, tmp_path, reward=Constant())
    assert are_equal(before, weights(policy))
    rows = metrics(tmp_path)
    assert [float(row["train/reward"]) for row in rows] == [0.5] * 3
    assert [float(row["train/all_right_share"]) for row in rows] == [1.0] * 3


def test_a_group_without_signal_neither_moves_the_policy_nor_enlarges_the_others(random_policies, tmp_path):
    def one_step(name, questions):
        """The change of the weights times the number of tokens that the step is divided by."""
        policy = copy_policy(random_policies["qwen3"])
        before = weights(policy)
        config = grpo_config(num_steps=1, num_prompts_per_step=len(questions), beta=0.0, max_grad_norm=1e9)
        fit(policy, tmp_path / name, config, SignalFor("q1"), questions=questions, optimizer=partial(SGD, lr=1.0))
        num_tokens = float(metrics(tmp_path / name)[0]["train/completion_tokens"]) * 4 * len(questions)
        after = weights(policy)
        return torch.cat([(after[weight] - before[weight]).flatten() for weight in before]) * num_tokens

    alone, beside_another = one_step("alone", [QUESTIONS[1]]), one_step("both", [QUESTIONS[1], QUESTIONS[2]])
    assert alone.norm() > 0
    torch.testing.assert_close(beside_another, alone, rtol=1e-3, atol=1e-3 * alone.abs().max().item())


def test_metrics_of_the_update_are_means_over_the_tokens_that_it_saw(random_policies, tmp_path):
    """A group without signal is left out of the forward pass, and so of the mean, rather than counted as 0."""

    def first_row(name, questions):
        config = grpo_config(num_steps=1, num_prompts_per_step=len(questions))
        fit(copy_policy(random_policies["qwen3"]), tmp_path / name, config, SignalFor("q1"), questions=questions)
        return metrics(tmp_path / name)[0]

    alone, beside_another = first_row("alone", [QUESTIONS[1]]), first_row("both", [QUESTIONS[1], QUESTIONS[2]])
    assert float(beside_another["train/entropy"]) == pytest.approx(float(alone["train/entropy"]), rel=1e-4)


@pytest.mark.parametrize("micro_batch_tokens", [1, 150])
def test_micro_batches_do_not_change_the_step(random_policies, tmp_path, micro_batch_tokens):
    def one_step(name, tokens):
        policy = copy_policy(random_policies["qwen3"])
        config = grpo_config(num_steps=1, num_prompts_per_step=5, micro_batch_tokens=tokens)
        fit(policy, tmp_path / name, config, optimizer=partial(SGD, lr=1.0))
        return weights(policy), metrics(tmp_path / name)

    (whole, whole_metrics), (split, split_metrics) = one_step("whole", 10**6), one_step("split", micro_batch_tokens)
    for name, value in whole.items():
        torch.testing.assert_close(split[name], value, rtol=1e-5, atol=1e-6)
    for name, value in whole_metrics[0].items():
        assert float(split_metrics[0][name]) == pytest.approx(float(value), rel=1e-4, abs=1e-6)


def test_the_kl_term_holds_the_policy_to_the_reference(random_policies, tmp_path):
    def distance(beta):
        policy = copy_policy(random_policies["qwen3"])
        fit(policy, tmp_path / str(beta), grpo_config(num_steps=6, beta=beta))
        return float(metrics(tmp_path / str(beta))[-1]["train/kl"])

    assert distance(10.0) < 0.5 * distance(1e-6)


def test_the_reference_stays_as_it_was_and_out_of_the_checkpoint(policy, tmp_path):
    before = weights(policy)
    module = fit(policy, tmp_path, grpo_config(beta=0.1))
    reference = module.objective.reference
    assert are_equal(before, reference.state_dict())
    assert not any(parameter.requires_grad for parameter in reference.parameters())
    checkpoint = torch.load(last_checkpoint(tmp_path), weights_only=True)
    assert checkpoint["state_dict"].keys() == {f"model.{name}" for name in before}


def test_the_same_run_twice_ends_with_the_same_bits(random_policies, tmp_path):
    policies = [copy_policy(random_policies["qwen3"]) for _ in range(2)]
    for number, policy in enumerate(policies):
        torch.manual_seed(number)  # of no consequence: rollouts have seeds of their own
        fit(policy, tmp_path / str(number))
    assert are_equal(weights(policies[0]), weights(policies[1]))
    assert metrics(tmp_path / "0") == metrics(tmp_path / "1")


@pytest.mark.parametrize("is_killed", [False, True], ids=["error", "kill"])
@pytest.mark.parametrize(
    ("moment", "step", "has_checkpoint"),
    [("before", 1, False), ("after", 1, True), ("before", 2, True), ("after", 2, True), ("before", 3, True)],
)
def test_an_interrupted_run_ends_with_the_same_bits_as_a_whole_one(
    random_policies, tmp_path, moment, step, has_checkpoint, is_killed
):
    """Of steps 0 to 3, checkpoints are made after 1 and 3: an interruption before 3 repeats 2, one before 1 all."""
    config = grpo_config(num_steps=4)
    whole = copy_policy(random_policies["qwen3"])
    fit(whole, tmp_path / "whole", config)

    stopped, killed = tmp_path / "stopped", tmp_path / "killed"
    stopped.mkdir()
    with pytest.raises(ConnectionAbortedError):
        fit(
            copy_policy(random_policies["qwen3"]), stopped, config, callbacks=[Interrupt(moment, step, stopped, killed)]
        )
    left = killed if is_killed else stopped
    assert (last_checkpoint(left) is not None) == has_checkpoint
    resumed = copy_policy(random_policies["qwen3"])
    fit(resumed, left, config)

    assert are_equal(weights(whole), weights(resumed))
    assert metrics(left) == metrics(tmp_path / "whole")


def test_resuming_a_finished_run_changes_nothing(random_policies, tmp_path):
    first = copy_policy(random_policies["qwen3"])
    fit(first, tmp_path)
    logged = metrics(tmp_path)
    again = copy_policy(random_policies["qwen3"])
    fit(again, tmp_path)
    assert are_equal(weights(first), weights(again))
    assert metrics(tmp_path) == logged


def test_the_newest_two_checkpoints_stay(policy, tmp_path):
    fit(policy, tmp_path, grpo_config(num_steps=5), every_num_steps=1)
    assert [path.name for path in sorted((tmp_path / "checkpoints").iterdir())] == [
        "step_0000004.ckpt",
        "step_0000005.ckpt",
    ]


def test_the_last_step_is_saved_even_out_of_turn(policy, tmp_path):
    fit(policy, tmp_path, grpo_config(num_steps=3), every_num_steps=2)
    assert last_checkpoint(tmp_path).endswith("step_0000003.ckpt")


def test_a_folder_without_checkpoints_has_no_last_one(tmp_path):
    assert last_checkpoint(tmp_path) is None


@pytest.mark.parametrize("scale", list(ScaleRewards))
def test_every_scaling_of_rewards_trains(policy, tmp_path, scale):
    before = weights(policy)
    fit(policy, tmp_path, grpo_config(num_steps=1, scale_rewards=scale))
    assert not are_equal(before, weights(policy))


@pytest.mark.parametrize("loss_type", list(LossType))
@pytest.mark.parametrize("num_prompts_per_update", [None, 1])
def test_every_loss_trains_with_several_updates_per_rollout(policy, tmp_path, loss_type, num_prompts_per_update):
    before = weights(policy)
    config = grpo_config(
        num_steps=1, loss_type=loss_type, num_iterations=3, num_prompts_per_update=num_prompts_per_update
    )
    fit(policy, tmp_path, config, optimizer=partial(SGD, lr=0.1))
    assert not are_equal(before, weights(policy))
    row = metrics(tmp_path)[0]
    assert all(math.isfinite(float(value)) for value in row.values())


def test_several_updates_compare_with_the_policy_that_sampled(random_policies, tmp_path):
    """The rows of a step are used again, and the ratio of later updates is not 1: some tokens are clipped."""

    def first_row(name, **settings):
        policy = copy_policy(random_policies["qwen3"])
        config = grpo_config(num_steps=1, epsilon=0.01, epsilon_high=0.01, beta=0.0, dual_clip=None, **settings)
        fit(policy, tmp_path / name, config, optimizer=partial(SGD, lr=1.0))
        return metrics(tmp_path / name)[0]

    for name, settings in {"again": {"num_iterations": 2}, "in parts": {"num_prompts_per_update": 1}}.items():
        row = first_row(name, **settings)
        assert float(row["train/clip_low_share"]) + float(row["train/clip_high_share"]) > 0, name
        # The policy that sampled is that of the engine, whose log-probs are the trainer's before any update.
        assert float(row["train/engine_gap_max"]) < 1e-4, name
    once = first_row("once")
    assert float(once["train/clip_low_share"]) == float(once["train/clip_high_share"]) == 0


def test_minibatches_take_one_optimizer_step_each(random_policies, tmp_path):
    def num_optimizer_steps(name, **settings):
        module = fit(copy_policy(random_policies["qwen3"]), tmp_path / name, grpo_config(num_steps=2, **settings))
        return module.trainer.global_step

    assert num_optimizer_steps("one") == 2
    assert num_optimizer_steps("four", num_iterations=2, num_prompts_per_update=1) == 8


def test_a_reward_of_none_is_unknown_and_not_zero(policy):
    module = make_module(policy, grpo_config(), EvenTokens(), partial(SGD, lr=1.0))
    first, *others = module.rollouts.collect(StepBatch(0, QUESTIONS[:1]))[0].rollouts
    judges = {"known": EvenTokens(), "partly": SilentOn({first.completion.token_ids[0]})}
    groups = replace(module.rollouts, rewards=judges).collect(StepBatch(0, QUESTIONS[:1]))
    rewards = module.score(groups, training_rows(groups))[0].tolist()
    assert math.isnan(rewards[0])
    for before, reward in zip(others, rewards[1:], strict=True):
        is_silent = before.completion.token_ids[0] == first.completion.token_ids[0]
        assert math.isnan(reward) if is_silent else reward == pytest.approx(2 * before.reward)


def test_a_step_in_which_nothing_can_be_scored_leaves_the_weights(policy, tmp_path):
    before = weights(policy)
    fit(policy, tmp_path, reward=SilentOn(range(10**6)))
    assert are_equal(before, weights(policy))
    row = metrics(tmp_path)[0]
    assert (float(row["train/unscored_share"]), float(row["train/signal_share"])) == (1, 0)
    assert math.isnan(float(row["train/reward"]))


def test_masked_truncated_completions_leave_their_group(policy):
    config = grpo_config(truncated=Truncated.mask, num_prompts_per_step=5, max_new_tokens=12)
    # A third of all tokens end a completion, so that some are cut and some are not.
    policy.model.generation_config.eos_token_id = list(range(0, 320, 9))
    module = make_module(policy, config, EvenTokens(), partial(SGD, lr=1.0))
    groups = module.rollouts.collect(StepBatch(0, QUESTIONS))
    is_cut = torch.tensor([[rollout.completion.is_truncated for rollout in group.rollouts] for group in groups])
    assert 0 < is_cut.sum() < is_cut.numel()
    masked = module.score(groups, training_rows(groups))
    assert torch.equal(masked.isnan(), is_cut)
    module.config = replace(config, truncated=Truncated.keep)
    assert torch.equal(masked[~is_cut], module.score(groups, training_rows(groups))[~is_cut])


def test_every_end_token_ends_a_completion(policy):
    """With one of several end tokens known, almost all completions would count as cut."""
    policy.model.generation_config.eos_token_id = list(range(320))
    module = make_module(policy, grpo_config(), EvenTokens(), partial(SGD, lr=1.0))
    rollouts = module.rollouts.collect(StepBatch(0, QUESTIONS[:1]))[0].rollouts
    assert [len(rollout.completion.token_ids) for rollout in rollouts] == [1] * 4
    assert not any(rollout.completion.is_truncated for rollout in rollouts)


def test_overlong_completions_lose_reward(policy):
    config = grpo_config(overlong_buffer=4, overlong_penalty=0.5)
    module = make_module(policy, config, Constant(), partial(SGD, lr=1.0))
    groups = module.rollouts.collect(StepBatch(0, QUESTIONS[:1]))
    lengths = [len(rollout.completion.token_ids) for rollout in groups[0].rollouts]
    # Nothing up to 2 of 6 tokens, 0.5 at 6.
    expected = [0.5 - 0.5 * max(0, length - 2) / 4 for length in lengths]
    assert module.score(groups, training_rows(groups)).tolist() == [pytest.approx(expected)]


def test_the_kl_in_the_reward_is_taken_off_each_completion(policy):
    config = grpo_config(beta=0.5, kl_placement=KLPlacement.reward, kl_estimator=KLEstimator.k1)
    module = make_module(policy, config, Constant(), partial(SGD, lr=1.0))
    with torch.no_grad():
        for parameter in module.objective.reference.parameters():
            parameter.mul_(1.05)
    groups = module.rollouts.collect(StepBatch(0, QUESTIONS[:1]))
    rewards = module.score(groups, training_rows(groups))
    for reward, rollout in zip(rewards[0].tolist(), groups[0].rollouts, strict=True):
        tokens = rollout.completion.token_ids
        ids = torch.tensor([groups[0].prompt_ids + tokens])
        with torch.no_grad():
            ours, reference = (
                model(ids).logits[0, -len(tokens) - 1 : -1].log_softmax(dim=-1).gather(-1, ids[0, -len(tokens) :, None])
                for model in (policy.model, module.objective.reference)
            )
        assert reward == pytest.approx(0.5 - 0.5 * (ours - reference).sum().item(), rel=1e-4)
        assert reward != pytest.approx(0.5)


def test_the_kl_in_the_reward_holds_the_policy_too(random_policies, tmp_path):
    def distance(beta):
        policy = copy_policy(random_policies["qwen3"])
        config = grpo_config(
            num_steps=8, num_prompts_per_step=5, beta=beta, kl_placement=KLPlacement.reward, kl_estimator=KLEstimator.k1
        )
        fit(policy, tmp_path / str(beta), config)
        return float(metrics(tmp_path / str(beta))[-1]["train/kl"])

    assert abs(distance(10.0)) < 0.5 * abs(distance(1e-6))


def test_importance_weights_scale_the_gradient_up_to_the_cap(random_policies, tmp_path):
    """An engine that says exp(-0.5) of every probability: the weights are exp(0.5), at a cap of 1.5 they are 1.5."""

    def change(name, shift, **settings):
        policy = copy_policy(random_policies["qwen3"])
        before = weights(policy)
        engine = type("Shifted", (NoisyEngine,), {"shift": shift})
        config = grpo_config(num_steps=1, beta=0.0, max_grad_norm=1e9, **settings)
        fit(policy, tmp_path / name, config, optimizer=partial(SGD, lr=1e-2), engine=engine)
        after = weights(policy)
        return torch.cat([(after[name] - before[name]).flatten() for name in before]), metrics(tmp_path / name)[0]

    plain, off = change("off", -0.5)
    weighted, on = change("on", -0.5, importance_cap=2.0)
    capped, at_cap = change("capped", -0.5, importance_cap=1.5)
    assert ((weighted - plain * math.exp(0.5)).norm() / weighted.norm()).item() < 1e-3
    assert ((capped - plain * 1.5).norm() / capped.norm()).item() < 1e-3
    for row in (off, on, at_cap):  # the gap is logged whether or not it is corrected
        assert float(row["train/engine_gap_mean"]) == pytest.approx(0.5, abs=1e-4)
        assert float(row["train/engine_kl"]) == pytest.approx(math.exp(0.5) - 0.5 - 1, abs=1e-4)
    assert [float(row["train/importance_capped_share"]) for row in (off, on, at_cap)] == [0, 0, 1]


def test_the_chunked_head_changes_no_step(random_policies, tmp_path):
    def one_step(name, chunk):
        policy = copy_policy(random_policies["qwen3"])
        config = grpo_config(num_steps=1, num_prompts_per_step=5, head_chunk_tokens=chunk)
        fit(policy, tmp_path / name, config, optimizer=partial(SGD, lr=1.0))
        return weights(policy), metrics(tmp_path / name)[0]

    (plain, plain_row), (chunked, chunked_row) = one_step("plain", None), one_step("chunked", 7)
    for name, value in plain.items():
        torch.testing.assert_close(chunked[name], value, rtol=1e-5, atol=1e-6)
    for name, value in plain_row.items():
        assert float(chunked_row[name]) == pytest.approx(float(value), rel=1e-4, abs=1e-5)


def test_a_model_whose_attention_is_not_known_takes_the_same_step_on_padded_rows(random_policies, tmp_path):
    def one_step(name, attention):
        policy = copy_policy(random_policies["qwen3"])
        policy.model.set_attn_implementation(attention)
        config = grpo_config(num_steps=1, num_prompts_per_step=5)
        module = fit(policy, tmp_path / name, config, optimizer=partial(SGD, lr=1.0))
        assert module.model.config._attn_implementation == {"eager": "eager", "sdpa": "medssr_sdpa"}[attention]
        return weights(policy), metrics(tmp_path / name)[0]

    (packed, packed_row), (padded, padded_row) = one_step("packed", "sdpa"), one_step("padded", "eager")
    for name, value in packed.items():
        torch.testing.assert_close(padded[name], value, rtol=1e-5, atol=1e-6)
    for name, value in packed_row.items():
        assert float(padded_row[name]) == pytest.approx(float(value), rel=1e-4, abs=1e-5)
