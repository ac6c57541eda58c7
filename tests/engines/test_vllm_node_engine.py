"""Which GPUs servers get, and what is refused before any starts."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from support.helpers import typed

from medssr.engines.vllm_node_engine import gpus_of_servers, visible_gpus
from medssr.errors import InputError
from medssr.utils.instantiate import instantiate

EIGHT = [str(number) for number in range(8)]
MIG = ["MIG-1f", "MIG-2a"]


@pytest.mark.parametrize(
    ("visible", "used", "size", "number", "expected"),
    [
        (EIGHT, [], 1, None, [("0",), ("1",), ("2",), ("3",), ("4",), ("5",), ("6",), ("7",)]),  # votes
        (EIGHT, ["0", "1", "2", "3"], 1, None, [("4",), ("5",), ("6",), ("7",)]),  # trainer.devices=4
        (EIGHT, ["2", "3"], 4, None, [("0", "1", "4", "5")]),  # trainer.devices=[2,3]; two GPUs stay free
        (EIGHT, [], 2, 3, [("0", "1"), ("2", "3"), ("4", "5")]),
        (["3", "5"], ["3"], 1, None, [("5",)]),  # CUDA_VISIBLE_DEVICES=3,5
        (MIG, ["MIG-1f"], 1, None, [("MIG-2a",)]),
        ([], [], 1, None, [(), ()]),  # a machine without a GPU
        ([], [], 1, 3, [(), (), ()]),
    ],
)
def test_servers_share_the_free_gpus(visible, used, size, number, expected):
    assert gpus_of_servers(visible, used, size, number) == expected


@pytest.mark.parametrize(
    ("visible", "used", "size", "number", "message"),
    [
        (EIGHT, EIGHT, 1, None, r"use 8 of 8 visible GPUs, which leaves 0, .* 1 x 1 .* such as trainer.devices=4"),
        (EIGHT, ["0"], 4, 2, r"use 1 of 8 visible GPUs, which leaves 7, too few for 2 x 4 [^.]*\. rollout=vllm"),
        (EIGHT, EIGHT, 6, None, r"too few for 1 x 6 .* such as trainer.devices=2; or rollout=vllm"),
        (["0"], ["0"], 1, None, r"too few for 1 x 1 [^.]*\. rollout=vllm samples on the GPUs of the trainers"),
        (EIGHT, [], 16, None, r"1 x 16 .* are more GPUs than the 8 visible"),
        ([], [], 2, None, r"rollout.tensor_parallel_size: 2, but there is no GPU"),
    ],
)
def test_too_few_gpus_are_refused_with_a_way_to_split_them(visible, used, size, number, message):
    with pytest.raises(InputError, match=message):
        gpus_of_servers(visible, used, size, number)


@pytest.mark.parametrize(
    ("variable", "number", "expected"),
    [(None, 2, ["0", "1"]), ("3, 5", 2, ["3", "5"]), ("GPU-8a,GPU-9b", 2, ["GPU-8a", "GPU-9b"]), ("0,-1,1", 1, ["0"])],
)
def test_the_names_of_gpus_are_those_of_the_environment(monkeypatch, variable, number, expected):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: number)
    if variable is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    assert visible_gpus() == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("num_servers=0", "rollout.num_servers: 0; at least 1"),
        ("tensor_parallel_size=0", "rollout.tensor_parallel_size: 0; at least 1"),
        ("max_model_len=9999", "rollout.max_model_len: 9999; the model's context has 512 tokens"),
    ],
)
def test_settings_out_of_range_are_refused(policy, setting, message):
    config = typed("pseudo_label", "rollout=vllm_node", f"rollout.{setting}")
    with pytest.raises(InputError, match=message):
        instantiate(config.rollout, "rollout", policy=policy)


@pytest.mark.vllm
@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed: make test-vllm")
def test_a_request_that_does_not_fit_is_refused_before_servers_start(policy):
    config = typed("train", "rollout=vllm_node", "rollout.max_model_len=256")
    engine = instantiate(config.rollout, "rollout", policy=policy)
    engine.reserve(lambda: 256)
    with pytest.raises(InputError, match=r"rollout.max_model_len: 256; .* need 257 tokens"):
        engine.reserve(lambda: 257)
