"""Arrangements of trainer, rollout engine and method that cannot run, and what to take instead. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from medssr.config.grpo import GRPOConfig
from medssr.config.trainer import num_processes, shards_models

if TYPE_CHECKING:
    from medssr.config.roots import SFTTrainConfig, TrainConfig

# The engine that samples with the trained model itself; all others sample from a copy of its weights.
HF_ENGINE = "medssr.engines.hf_engine.HFEngine"
# The engines in each trainer's process, and in servers on the GPUs that trainers leave free.
VLLM_ENGINE = "medssr.engines.vllm_engine.VLLMEngine"
VLLM_NODE_ENGINE = "medssr.engines.vllm_node_engine.VLLMNodeEngine"
# The engine that uses servers which were started by somebody else.
VLLM_SERVER_ENGINE = "medssr.engines.vllm_server_engine.VLLMServerEngine"

# The attention whose kernel is compiled for the mask of a packed row.
FLEX_ATTENTION = "flex_attention"
# The value of `rollout.overlap` by which a step's completions are sampled while the step before it trains.
ONE_STEP = "one_step"

# What is wrong with adapters on servers without `rollout.weights_dir`.
ADAPTERS_NEED_FOLDER = (
    "null, but servers are given adapters (lora) as files after each update; give a folder that they see under the "
    "same path (/dev/shm/NAME on the same machine, else on a shared disk), or take rollout=vllm or vllm_node."
)


def training_problem(config: TrainConfig) -> str | None:
    """Returns why a stage of GRPO cannot run, and what to take instead; None if it can."""
    grpo, has_shards, processes = config.grpo, shards_models(config.trainer), num_processes(config.trainer)
    starts_servers = config.rollout.get("_target_") == VLLM_NODE_ENGINE
    is_on_gpus = str(config.trainer["accelerator"]) != "cpu"
    uses_servers = config.rollout.get("_target_") == VLLM_SERVER_ENGINE
    has_no_folder = uses_servers and config.rollout["weights_dir"] is None
    overlap, target = config.rollout.get("overlap"), config.rollout.get("_target_")
    rules = [
        (_is_flex_on_cpu(config), _FLEX_ON_CPU),
        (_is_liger_on_cpu(config), _LIGER_ON_CPU),
        (overlap not in (None, ONE_STEP), f"rollout.overlap: {overlap}; null or {ONE_STEP}."),
        (overlap is not None and target in (HF_ENGINE, VLLM_ENGINE), _NOTHING_TO_OVERLAP),
        (overlap is not None and grpo.tis_cap is None, _OVERLAP_NEEDS_WEIGHTS),
        (overlap is not None and grpo.has_average, _TEACHER_WITH_OVERLAP),
        (grpo.dynamic_sampling_rounds > 0 and grpo.has_average, _TEACHER_WITH_ROUNDS),
        (has_shards and grpo.distillation is not None, _DISTILLATION_WITH_SHARDS),
        (has_shards and samples_with_trained_model(config.rollout), _HF_WITH_SHARDS),
        (has_shards and config.lora is not None, _ADAPTERS_WITH_SHARDS),
        (config.lora is not None and has_no_folder, f"rollout.weights_dir: {ADAPTERS_NEED_FOLDER}"),
        (has_shards and grpo.has_kl_in_reward and grpo.dynamic_sampling_rounds > 0, _KL_WITH_SHARDS),
        (starts_servers and int(config.trainer.get("num_nodes", 1)) > 1, _NODE_SERVERS_ON_SEVERAL),
        (starts_servers and is_on_gpus and processes is None, _NO_GPU_FOR_SERVERS),
    ]
    problem = next((message for applies, message in rules if applies), None)
    return problem or (None if processes is None else sharing_problem(grpo, processes))


def sft_problem(config: SFTTrainConfig) -> str | None:
    """Returns why a fine-tuning cannot run, and what to take instead; None if it can."""
    if _is_flex_on_cpu(config):
        return _FLEX_ON_CPU
    if _is_liger_on_cpu(config):
        return _LIGER_ON_CPU
    return _ADAPTERS_WITH_SHARDS if shards_models(config.trainer) and config.lora is not None else None


def _is_flex_on_cpu(config: TrainConfig | SFTTrainConfig) -> bool:
    return config.model.attn_implementation == FLEX_ATTENTION and not _is_on_gpu(config)


def _is_liger_on_cpu(config: TrainConfig | SFTTrainConfig) -> bool:
    return config.model.liger_kernels and not _is_on_gpu(config)


def _is_on_gpu(config: TrainConfig | SFTTrainConfig) -> bool:
    return str(config.trainer["accelerator"]) in ("gpu", "cuda")


def sharing_problem(grpo: GRPOConfig, processes: int) -> str | None:
    """Returns which number of questions cannot be shared equally by processes; None if all can.

    Args:
        grpo: The settings of the stage.
        processes: The number of processes on all nodes, each of which samples for a share of every step's questions.
    """
    for key in ("num_prompts_per_step", "minibatch_prompts"):
        number = getattr(grpo, key)
        if number is not None and number % processes:
            return (
                f"grpo.{key}: {number} questions cannot be shared equally by {processes} processes; make it a multiple "
                "of them."
            )
    return None


def samples_with_trained_model(rollout: Mapping[str, Any]) -> bool:
    """Returns whether completions are sampled with the trained model itself, and not with another engine's copy."""
    return bool(rollout.get("_target_") == HF_ENGINE)


_NOTHING_TO_OVERLAP = (
    "rollout.overlap: one_step, but rollout=hf and rollout=vllm sample in the trainer's process and on its device, so "
    "they cannot sample while it trains; take rollout=vllm_node or vllm_server, or rollout.overlap=null."
)
_OVERLAP_NEEDS_WEIGHTS = (
    "grpo.tis_cap: null, but with rollout.overlap=one_step completions come from weights that are a step old, which "
    "importance weights correct; take grpo.tis_cap=2."
)
_DISTILLATION_WITH_SHARDS = (
    "grpo.distillation: each device holds teacher and policy whole, but trainer=fsdp2 shards models; take trainer=ddp, "
    "with lora=default where the policy does not fit."
)
_TEACHER_WITH_OVERLAP = (
    "grpo.teacher: it samples with the engine's one copy of the weights, which with rollout.overlap=one_step samples "
    "the policy's next completions meanwhile; take rollout.overlap=null."
)
_TEACHER_WITH_ROUNDS = (
    "grpo.dynamic_sampling_rounds: a further round would sample with the weights of grpo.teacher, which the engine has "
    "after the first; take 0 rounds."
)
_HF_WITH_SHARDS = (
    "rollout: hf generates with the trained model, which trainer=fsdp2 shards over processes; take rollout=vllm, "
    "vllm_node or vllm_server, or trainer=ddp."
)
_FLEX_ON_CPU = (
    "model.attn_implementation: flex_attention computes no gradients on a CPU; take trainer=gpu, ddp or fsdp2, or sdpa."
)
_LIGER_ON_CPU = (
    "model.liger_kernels: true, but Liger's kernels need a GPU; take trainer=gpu, ddp or fsdp2, or "
    "model.liger_kernels=false."
)
_ADAPTERS_WITH_SHARDS = (
    "lora: adapters are trained on models that each device holds whole, but trainer=fsdp2 shards them; take "
    "trainer=ddp, or lora=null."
)
_KL_WITH_SHARDS = (
    "grpo.dynamic_sampling_rounds: processes sample in different numbers of rounds, so trainer=fsdp2 cannot compute "
    "the KL in the reward between them; take 0 rounds, grpo.kl_placement=loss, or trainer=ddp."
)
_NODE_SERVERS_ON_SEVERAL = (
    "rollout: vllm_node starts servers for the trainers of one node; with trainer.num_nodes above 1 take rollout=vllm, "
    "or rollout=vllm_server with servers that you start."
)
_NO_GPU_FOR_SERVERS = (
    "trainer.devices: the trainers take all GPUs, so none is left for the servers of rollout=vllm_node; give the "
    "trainers some, such as trainer.devices=4 of 8, or take rollout=vllm, which samples on the trainers' GPUs."
)
