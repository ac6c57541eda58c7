from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch.optim import SGD, AdamW

from medssr.training.optimizer_step import fused_by_device, warmup_then_constant, warmup_then_cosine


def rates(schedule, num_rates, **settings):
    """The learning rates of the first steps, with 1.0 as the full one."""
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = schedule(optimizer, **settings)
    learning_rates = []
    for _ in range(num_rates):
        learning_rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return learning_rates


def test_warmup_then_constant_by_hand():
    assert rates(warmup_then_constant, 6, num_warmup_steps=4) == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert rates(warmup_then_constant, 2, num_warmup_steps=0) == [1.0, 1.0]


def test_warmup_then_cosine_by_hand():
    # half a cosine over four steps: 1, (1 + 1/sqrt 2) / 2, 1/2, (1 - 1/sqrt 2) / 2, 0
    expected = [0.5, 1.0, 1.0, 0.853553, 0.5, 0.146447, 0.0, 0.0]
    assert rates(warmup_then_cosine, 8, num_warmup_steps=2, num_steps=6) == pytest.approx(expected, abs=1e-6)


def test_a_schedule_of_warmup_alone_ends():
    assert rates(warmup_then_cosine, 4, num_warmup_steps=3, num_steps=3)[:3] == pytest.approx([1 / 3, 2 / 3, 1])


def test_the_optimiser_is_fused_on_gpus_unless_the_setting_is_given():
    on_gpu, on_cpu = (SimpleNamespace(device=torch.device(name)) for name in ("cuda:1", "cpu"))
    is_open = partial(AdamW, lr=1.0, fused=None)
    assert fused_by_device(is_open, [on_gpu, on_gpu]) == {"fused": True}
    assert fused_by_device(is_open, [on_gpu, on_cpu]) == {}
    assert fused_by_device(partial(AdamW, fused=False), [on_gpu]) == {}
    assert fused_by_device(SGD, [on_gpu]) == {}  # it need not know the setting
