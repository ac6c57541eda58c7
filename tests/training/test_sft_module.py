from __future__ import annotations

import csv
from functools import partial

import lightning as L
import pytest
import torch
from support.helpers import copy_policy
from torch.optim import SGD, AdamW

from medssr.tracking.csv_logger import CSVMetrics
from medssr.training.optimizer_step import warmup_then_constant
from medssr.training.sft_module import SFTModule
from medssr.training.step_loader import StepLoader

ROWS = [([10, 11, 12], [40, 41, 1]), ([13], [42, 43, 44, 45, 1]), ([14, 15], [46, 1]), ([16, 17], [47, 48, 1])]


def fit(
    policy,
    directory,
    num_steps=1,
    micro_batch_tokens=1000,
):
    """Trains on all rows in every step, and returns the logged losses."""
    module = SFTModule(
        policy,
        partial(SGD, lr=1.0) if num_steps == 1 else partial(AdamW, lr=1e-2),
        partial(warmup_then_constant, num_warmup_steps=1),
        micro_batch_tokens,
        max_grad_norm=1.0,
        max_skipped_steps=5,
    )
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=1,
        log_every_n_steps=1,
        logger=CSVMetrics(str(directory)),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=str(directory),
    )
    trainer.fit(module, StepLoader(ROWS, 1, "sft", num_steps, len(ROWS)))
    with (directory / "metrics.csv").open(encoding="utf-8") as stream:
        return [float(row["train/loss"]) for row in csv.DictReader(stream)]


def test_the_loss_falls(policy, tmp_path):
    losses = fit(policy, tmp_path, num_steps=30)
    assert len(losses) == 30
    assert losses[-1] < 0.2 * losses[0]


@pytest.mark.slow
def test_the_policy_reproduces_its_demonstrations(policy, tmp_path):
    fit(policy, tmp_path, num_steps=60)
    for prompt, completion in ROWS:
        ids = torch.tensor([prompt + completion])
        likeliest = policy.model(ids).logits[0, len(prompt) - 1 : -1].argmax(dim=-1)
        assert likeliest.tolist() == completion


def test_the_loss_is_the_mean_over_completion_tokens(policy, tmp_path):
    with torch.no_grad():
        logps = [
            torch.log_softmax(policy.model(torch.tensor([prompt + completion])).logits[0], dim=-1)[index, token].item()
            for prompt, completion in ROWS
            for index, token in enumerate(completion, start=len(prompt) - 1)
        ]
    (loss,) = fit(policy, tmp_path)
    assert loss == pytest.approx(-sum(logps) / len(logps), rel=1e-5)


@pytest.mark.parametrize("micro_batch_tokens", [1, 12])
def test_micro_batches_do_not_change_the_step(random_policies, tmp_path, micro_batch_tokens):
    def one_step(tokens):
        policy = copy_policy(random_policies["qwen3"])
        losses = fit(policy, tmp_path / str(tokens), micro_batch_tokens=tokens)
        return losses, policy.model.state_dict()

    (whole_loss, whole), (split_loss, split) = one_step(1000), one_step(micro_batch_tokens)
    assert split_loss == pytest.approx(whole_loss, rel=1e-5)
    for name, value in whole.items():
        torch.testing.assert_close(split[name], value, rtol=1e-4, atol=1e-5)
