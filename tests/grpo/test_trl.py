"""The losses and advantages against TRL's own code; skipped where TRL is not installed."""

from types import SimpleNamespace

import pytest
import torch
from support.losses import step_loss

trl = pytest.importorskip("trl", reason="TRL is an extra, for comparison only")

# What TRL calls a loss, its settings, and ours.
CASES = {
    "dapo": ({"loss_type": "dapo"}, {"loss": "dapo", "dual_clip": None}),
    "dapo, dual clip": ({"loss_type": "dapo", "delta": 1.6}, {"loss": "dapo", "dual_clip": 1.6}),
    "grpo": ({"loss_type": "grpo"}, {"loss": "grpo", "dual_clip": None}),
    "bnpo": ({"loss_type": "bnpo"}, {"loss": "bnpo", "dual_clip": None}),
    "dr_grpo": ({"loss_type": "dr_grpo"}, {"loss": "dr_grpo", "dual_clip": None, "max_new_tokens": 11}),
    "gspo": (
        {"loss_type": "grpo", "importance_sampling_level": "sequence"},
        {"loss": "gspo", "epsilon": 0.2, "epsilon_high": 0.28, "dual_clip": None},
    ),
    "sapo": ({"loss_type": "sapo"}, {"loss": "sapo"}),
    # TRL's epsilon_high is the bound itself, and it has no lower one.
    "cispo": (
        {"loss_type": "cispo", "epsilon_high": 1.5},
        {"loss": "cispo", "epsilon": 1.0 - 1e-12, "epsilon_high": 0.5},
    ),
}


class OneProcess:
    """What TRL's loss asks of accelerate."""

    num_processes = 1
    sync_gradients = False

    def gather(self, value):
        return value

    def reduce(self, value, reduction):
        return value


def trl_loss(logps, old, advantages, mask, ref, beta, weights, **settings):
    from collections import defaultdict

    trainer = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *_, **__: (logps, torch.zeros_like(logps), None),
        aux_loss_enabled=False,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        importance_sampling_level="token",
        beta=beta,
        loss_type="dapo",
        epsilon_low=0.2,
        epsilon_high=0.28,
        use_vllm=True,
        vllm_importance_sampling_correction=True,
        model=SimpleNamespace(training=True),
        current_gradient_accumulation_steps=1,
        max_completion_length=11,
        accelerator=OneProcess(),
        _entropy_bonus_enabled=False,
        _metrics=defaultdict(lambda: defaultdict(list)),
        args=SimpleNamespace(
            use_bias_correction_kl=False,
            delta=settings.pop("delta", None),
            sapo_temperature_pos=1.0,
            sapo_temperature_neg=1.05,
            steps_per_generation=1,
        ),
    )
    vars(trainer).update(settings)
    ids = torch.zeros_like(mask, dtype=torch.long)
    inputs = {
        "prompt_ids": ids,
        "prompt_mask": ids,
        "completion_ids": ids,
        "completion_mask": mask,
        "advantages": advantages,
        "old_per_token_logps": old,
        "ref_per_token_logps": ref,
        "importance_sampling_ratio": weights,
        "num_items_in_batch": mask.sum(),
    }
    return trl.GRPOTrainer._compute_loss(trainer, None, inputs)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("beta", [0.0, 0.1])
def test_loss_and_gradient_are_those_of_trl(case, beta):
    theirs, ours = CASES[case]
    generator = torch.Generator().manual_seed(3)
    values, old, ref = (torch.randn(6, 8, generator=generator, dtype=torch.float64) * 0.5 for _ in range(3))
    advantages = torch.randn(6, generator=generator, dtype=torch.float64)
    weights = torch.rand(6, 8, generator=generator, dtype=torch.float64) * 2
    mask = (torch.arange(8) < torch.tensor([8, 1, 3, 5, 2, 7]).unsqueeze(1)).double()

    def run(loss_of):
        logps = values.clone().requires_grad_()
        loss = loss_of(logps)
        loss.backward()
        return loss.detach(), logps.grad

    expected = run(lambda logps: trl_loss(logps, old, advantages, mask, ref, beta, weights, **theirs))
    actual = run(
        lambda logps: step_loss(
            logps, old, advantages, mask, ref_logps=ref, beta=beta, importance_weights=weights, **ours
        )[0]
    )
    for name, a, b in zip(("loss", "gradient"), actual, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12, msg=lambda text, name=name: f"{name}: {text}")
