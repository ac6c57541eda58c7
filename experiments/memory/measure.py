"""Holds the memory that `medssr-train --info` computes against torch's memory tracker, without a GPU.

    python experiments/memory/measure.py                    # the table of README.md, a process for each line
    python experiments/memory/measure.py model=qwen3_8b_base trainer=fsdp2 trainer.devices=8 rollout=vllm grpo=large

The settings are those of medssr-train. The update that training runs (`GRPOModule.update`) runs here on fake tensors,
which have shapes and no content, in the first of as many fake processes as the settings name. torch's tracker adds up
the sizes of all live storages. Prints a line of JSON: the sum behind `--info` and the tracker's peak, in bytes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._sharding_prop import ShardingPropagator
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoConfig, AutoModelForCausalLM

from medssr.cli.entry import composed
from medssr.commands.info import training_load
from medssr.config import Dtype, GRPOConfig, TrainConfig
from medssr.config.trainer import num_processes, shards_models
from medssr.grpo.minibatches import Minibatch
from medssr.grpo.module import GRPOModule
from medssr.grpo.objective import Objective
from medssr.grpo.rollouts import Sample
from medssr.models.loading import torch_dtype
from medssr.models.lora import add_adapters
from medssr.models.memory import memory_parts
from medssr.models.sharding import shard
from medssr.tracking.step_times import StepTimes
from medssr.utils.instantiate import instantiate

_REAL = "rollout=vllm grpo=large optim=large"
_NODE = f"trainer=fsdp2 trainer.devices=8 {_REAL}"
CASES = [
    f"model=qwen3_8b_base {_NODE}",
    f"model=qwen3_8b_base {_NODE} grpo.head_chunk_tokens=4096",
    f"model=qwen3_8b_base {_NODE} grpo.micro_batch_tokens=8192",
    f"model=qwen3_8b_base {_NODE} grpo.beta=0 trainer.devices=4",
    f"model=qwen3_14b_base {_NODE}",
    f"model=llama31_8b_instruct {_NODE}",
    f"model=qwen3_8b_base lora=default trainer=gpu {_REAL}",
    f"model=qwen3_8b_base lora=default trainer=gpu {_REAL} grpo.head_chunk_tokens=4096",
    f"model=qwen3_14b_base lora=default trainer=gpu {_REAL}",
    f"model=llama31_8b_instruct lora=default trainer=gpu {_REAL}",
    f"model=qwen3_1_7b_base trainer=gpu {_REAL}",
    f"model=qwen3_4b_base trainer=gpu {_REAL}",
    f"model=llama32_3b_instruct trainer=gpu {_REAL}",
]
_PROMPT_TOKENS = 512
_NUM_MICRO_BATCHES = 2  # the second is computed beside the gradient of the first


class Tracker(MemTracker):
    """torch's tracker of live storages without its tracker of modules, whose hooks keep some activations alive."""

    def __init__(self) -> None:
        super().__init__()
        self.is_paused = False
        nothing = lambda *arguments: None  # noqa: E731
        hooks = {"register_user_hooks": nothing, "clear_user_hooks": nothing}
        self._mod_tracker: Any = SimpleNamespace(
            __enter__=nothing, __exit__=nothing, **hooks, is_bw=False, parents=frozenset()
        )

    @property
    def peak(self) -> int:
        """The largest sum of live storages so far, in bytes."""
        return self._peak_mem[torch.device("cpu")]

    def _track_module_params_and_buffers(self, module: nn.Module, install_grad_hooks: bool = True) -> tuple[int, int]:
        return super()._track_module_params_and_buffers(module, install_grad_hooks=False)

    def _track(self, reftype: Any, t: Tensor) -> None:
        if not self.is_paused:
            super()._track(reftype, t)


class _ShapesOfDTensor:
    """Pauses the tracker while DTensor computes shapes with whole fake tensors, which a real run does not allocate."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker

    def __enter__(self) -> None:
        self._tracker.is_paused = True

    def __exit__(self, *error: object) -> None:
        self._tracker.is_paused = False


class _Contents(TorchDispatchMode):
    """Answers what depends on the content of tensors: every number is 1, and every token is one of a completion."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(kind is DTensor for kind in types):
            return NotImplemented  # it calls the operation again for the part that this process holds
        if func is torch.ops.aten._local_scalar_dense.default:
            return 1.0
        if func is torch.ops.aten.index.Tensor and args[1][0].dtype is torch.bool:
            return args[0].new_empty(args[1][0].numel())
        return func(*args, **(kwargs or {}))


class _Module(GRPOModule):
    """The algorithm without Lightning's Trainer, whose parts are those of one optimiser."""

    trainer = SimpleNamespace(strategy=SimpleNamespace(reduce_boolean_decision=lambda decision, all: decision))

    def optimizers(self) -> Any:  # type: ignore[override]
        return self.optimizer

    def lr_schedulers(self) -> Any:
        return SimpleNamespace(get_last_lr=lambda: [0.0], step=lambda: None)

    def manual_backward(self, loss: Tensor, *arguments: Any, **settings: Any) -> None:
        loss.backward()


def whole_model(config: TrainConfig, dtype: Dtype, *, is_trained: bool) -> nn.Module:
    """Returns the model with weights on the meta device, with adapters if it is trained and has them."""
    fields = dict(config.model.hub_config)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(
            AutoConfig.for_model(fields.pop("model_type"), **fields),
            dtype=torch_dtype(dtype),
            attn_implementation=config.model.attn_implementation,
        )
        if is_trained and config.lora is not None:
            add_adapters(model, config.lora, config.seed)
    if config.model.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False}, config.model.recompute_every)
    return model.train() if is_trained else model.requires_grad_(False).eval()


def with_fake_weights(model: nn.Module) -> nn.Module:
    """Returns the model with fake weights and buffers in place of those on the meta device; called in the fake mode."""
    made: dict[int, Tensor] = {}  # by the tensor that they stand for, because weights may be tied
    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is not None and id(tensor) not in made:
                    fake = torch.empty(tensor.shape, dtype=tensor.dtype)
                    is_weight = isinstance(tensor, nn.Parameter)
                    made[id(tensor)] = nn.Parameter(fake, tensor.requires_grad) if is_weight else fake
                tensors[name] = None if tensor is None else made[id(tensor)]
    return model


def samples(grpo: GRPOConfig) -> list[Sample]:
    """Returns completions of equal length that fill the micro-batches, each of one question."""
    length = (grpo.micro_batch_tokens - _PROMPT_TOKENS) // grpo.num_generations + 1  # the last token is not packed
    return [
        Sample("", [number] * _PROMPT_TOKENS, [0] * length, torch.zeros(length))
        for number in range(_NUM_MICRO_BATCHES)
        for _ in range(grpo.num_generations)
    ]


def peak_memory(config: TrainConfig) -> int:
    """Returns the largest number of bytes that an update holds on a device, by torch's tracker.

    The averages of AdamW exist from the start, as after the first update.
    """
    processes = (num_processes(config.trainer) or 1) if shards_models(config.trainer) else 1
    dist.init_process_group("fake", rank=0, world_size=processes, store=FakeStore())
    dist.all_gather_object = _same_everywhere
    mesh = init_device_mesh("cpu", (processes,))
    model = whole_model(config, Dtype.float32 if config.lora is None else config.model.dtype, is_trained=True)
    reference = model if config.grpo.beta > 0 else None
    if reference is not None and config.lora is None:
        reference = whole_model(config, config.model.dtype, is_trained=False)
    is_mixed = "16" in str(config.trainer["precision"])
    with FakeTensorMode(allow_non_fake_inputs=True):
        models = [with_fake_weights(each) for each in {id(each): each for each in (model, reference) if each}.values()]
        if shards_models(config.trainer):
            for each in models:
                shard(each, mesh, torch.bfloat16 if is_mixed else torch.float32)
        rollouts: Any = SimpleNamespace(
            sync_weights=lambda model: None,
            policy=SimpleNamespace(load_whole=None),
            times=StepTimes(),
        )
        module = _Module(
            rollouts,
            Objective(model, reference, instantiate(config.grpo.loss, "grpo.loss"), 0, config.grpo),
            config.grpo,
            # Which torch chooses by itself on a GPU, except for sharded weights.
            optimizer=partial(
                instantiate(config.optim.optimizer, "optim.optimizer"), foreach=not shards_models(config.trainer)
            ),
            scheduler=instantiate(config.optim.scheduler, "optim.scheduler"),
        )
        module.optimizer = module.configure_optimizers()["optimizer"]
        for weight in model.parameters():
            weight.grad = torch.zeros_like(weight) if weight.requires_grad else None
        module.optimizer.step()
        module.optimizer.zero_grad()
        tracker = Tracker()
        tracker.track_external(*models, module.optimizer)
        ShardingPropagator._fake_mode_lock = _ShapesOfDTensor(tracker)
        trained = samples(config.grpo)
        minibatch = Minibatch(trained, [1.0] * len(trained), 1.0)
        with torch.autocast("cpu", torch.bfloat16, enabled=is_mixed, cache_enabled=False), tracker, _Contents():
            module.update(0, [minibatch])
    return tracker.peak


def _same_everywhere(values: list[Any], value: Any) -> None:
    """Fills in what the fake processes say: the same as this one."""
    values[:] = [value] * len(values)


def main() -> None:
    """Prints the result for the settings on the command line; without settings, those of all cases."""
    if len(sys.argv) == 1:
        for case in CASES:
            subprocess.run([sys.executable, __file__, *case.split()], check=True)
        return
    config = composed("train", ["data.path=questions.jsonl", *sys.argv[1:]])
    load = training_load(config)
    assert not isinstance(load, str), load
    computed = sum(memory_parts(load).values())
    result = {"settings": " ".join(sys.argv[1:]), "computed": computed, "tracked": peak_memory(config)}
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
