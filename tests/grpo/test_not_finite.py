"""A loss or gradient that is not finite changes no weight, and a run of them ends the training."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import lightning as L
import pytest
import torch
from support.grpo_runs import QUESTIONS, NoisyEngine, are_equal, fit, metrics, weights
from support.helpers import copy_policy, grpo_config
from torch.optim import SGD

from medssr.errors import InputError


class PoisonedReference(L.Callback):
    """Makes the KL, and so the loss, of some steps NaN."""

    def __init__(self, *steps):
        self._steps = steps

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        (weight, *_) = pl_module.objective.reference.parameters()
        if batch_idx == 0 or not hasattr(self, "_clean"):
            self._clean = weight.detach().clone()
        with torch.no_grad():
            weight.copy_(torch.full_like(weight, torch.nan) if batch_idx in self._steps else self._clean)


class InfiniteGradient(L.Callback):
    """Makes one weight's gradient infinite in some backward passes; the loss is finite."""

    def __init__(self, *passes):
        self._passes, self._count = passes, 0

    def on_fit_start(self, trainer, pl_module):
        next(pl_module.model.parameters()).register_hook(self._spoil)

    def _spoil(self, gradient):
        self._count += 1
        return gradient / 0.0 if self._count - 1 in self._passes else gradient


@pytest.mark.slow
@pytest.mark.parametrize("fault", [PoisonedReference(0), InfiniteGradient(0)], ids=["loss", "gradient"])
def test_the_step_is_skipped_and_the_schedule_goes_on(policy, tmp_path, fault):
    before = weights(policy)
    fit(policy, tmp_path / "one", grpo_config(num_steps=1), callbacks=[fault])
    assert are_equal(before, weights(policy))
    (row,) = metrics(tmp_path / "one")
    assert float(row["train/skipped_steps"]) == 1
    assert math.isfinite(float(row["train/reward"]))

    fault = type(fault)(0)
    fit(policy, tmp_path / "two", grpo_config(num_steps=2), callbacks=[fault])
    assert not are_equal(before, weights(policy))
    first, second = metrics(tmp_path / "two")
    assert [float(row["train/skipped_steps"]) for row in (first, second)] == [1, 0]
    assert [float(row["train/lr"]) for row in (first, second)] == pytest.approx([5e-3, 1e-2])
    assert all(math.isfinite(float(value)) for value in second.values())


def test_a_skipped_step_leaves_the_optimizer_as_it_was(random_policies, tmp_path):
    """The step after it is the first that the optimiser sees: Adam's moments start there."""
    skipping = fit(
        copy_policy(random_policies["qwen3"]), tmp_path, grpo_config(num_steps=2), callbacks=[PoisonedReference(0)]
    )
    (state, *_) = skipping.optimizers().state.values()
    assert state["step"] == 1
    assert all(torch.isfinite(value).all() for value in state.values())


@pytest.mark.slow
def test_of_several_minibatches_only_the_faulty_is_skipped(random_policies, tmp_path):
    """Two questions, a minibatch each: without the second, the step is the first's alone."""

    def one_step(name, *passes):
        policy = copy_policy(random_policies["qwen3"])
        config = grpo_config(num_steps=1, minibatch_prompts=1, beta=0.0)
        fault = InfiniteGradient(*passes)
        module = fit(policy, tmp_path / name, config, callbacks=[fault], optimizer=partial(SGD, lr=0.1))
        return weights(policy), metrics(tmp_path / name)[0], module.trainer.global_step

    both, whole_row, _ = one_step("both")
    first, row, num_taken = one_step("first", 1)
    assert (float(whole_row["train/skipped_steps"]), float(row["train/skipped_steps"]), num_taken) == (0, 1, 1)
    assert all(torch.isfinite(value).all() for value in first.values())
    assert not are_equal(both, first)
    assert all(math.isfinite(float(value)) for value in row.values())


@pytest.mark.slow
def test_a_run_of_skipped_steps_ends_the_training_and_names_the_questions(policy, tmp_path):
    before = weights(policy)
    config = grpo_config(num_steps=9, num_prompts_per_step=1, max_skipped_steps=3)
    with pytest.raises(InputError, match=r"grpo\.max_skipped_steps: 3 .*\(in training steps 0 to 2\)") as error:
        fit(policy, tmp_path, config, questions=QUESTIONS[:3], callbacks=[PoisonedReference(*range(9))])
    assert all(question.id in str(error.value) for question in QUESTIONS[:3])
    assert are_equal(before, weights(policy))


@pytest.mark.slow
def test_the_questions_of_the_faulty_micro_batches_are_named_where_the_loss_says_which(policy, tmp_path):
    config = grpo_config(num_steps=1, num_prompts_per_step=5, micro_batch_tokens=1, max_skipped_steps=1)

    class PoisonedRows(L.Callback):
        def on_fit_start(self, trainer, pl_module):
            loss = pl_module.objective.loss

            def spoiled(micro_batch):
                factor = torch.nan if micro_batch.samples[0].question_id == "q3" else 1.0
                return loss(replace(micro_batch, advantages=micro_batch.advantages * factor))

            pl_module.objective.loss = spoiled

    with pytest.raises(InputError) as error:
        fit(policy, tmp_path, config, callbacks=[PoisonedRows()])
    assert "q3." in str(error.value)
    assert "q1" not in str(error.value)


@pytest.mark.slow
def test_a_good_step_ends_the_run(policy, tmp_path):
    config = grpo_config(num_steps=5, max_skipped_steps=2)
    fit(policy, tmp_path, config, callbacks=[PoisonedReference(0, 2, 4)])
    assert [float(row["train/skipped_steps"]) for row in metrics(tmp_path)] == [1, 0, 1, 0, 1]


@pytest.mark.slow
def test_a_resumed_training_knows_the_run(random_policies, tmp_path):
    class Interrupt(PoisonedReference):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            super().on_train_batch_start(trainer, pl_module, batch, batch_idx)
            if batch_idx == 2:
                raise ConnectionAbortedError

    config = grpo_config(num_steps=9, max_skipped_steps=3)

    def run(fault):
        fit(copy_policy(random_policies["qwen3"]), tmp_path, config, callbacks=[fault], every_num_steps=1)

    with pytest.raises(ConnectionAbortedError):
        run(Interrupt(0, 1))
    with pytest.raises(InputError, match="steps 0 to 2"):
        run(PoisonedReference(2))


@pytest.mark.slow
@pytest.mark.parametrize("shift", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("tis_cap", [None, 2.0])
def test_log_probs_of_the_engine_that_are_not_finite_poison_nothing(policy, tmp_path, shift, tis_cap):
    before = weights(policy)
    engine = type("Faulty", (NoisyEngine,), {"shift": shift})
    fit(policy, tmp_path, grpo_config(num_steps=1, tis_cap=tis_cap), engine=engine)
    assert all(torch.isfinite(value).all() for value in weights(policy).values())
    assert not are_equal(before, weights(policy))
    row = metrics(tmp_path)[0]
    assert (float(row["train/skipped_steps"]), float(row["train/engine_logp_missing_share"])) == (0, 1)
    assert all(math.isfinite(float(value)) for value in row.values())
