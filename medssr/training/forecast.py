"""Predicts the seconds, hours and price of a GRPO stage from its configuration; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from medssr.config import Dtype, GRPOConfig, PipelineConfig, TrainConfig
from medssr.config.arrangements import (
    HF_ENGINE,
    ONE_STEP,
    VLLM_ENGINE,
    VLLM_NODE_ENGINE,
    VLLM_SERVER_ENGINE,
    samples_with_trained_model,
)
from medssr.config.groups import GPU, Node
from medssr.config.trainer import num_processes, shards_models
from medssr.errors import InputError
from medssr.models.architecture import Architecture, architecture_of
from medssr.models.cost import Arrangement, StepSeconds, Work, rollout_seconds, step_seconds
from medssr.models.hardware import Hardware, known_gpu, measured_hardware, peak_flops, published
from medssr.models.utilisation import Utilisation
from medssr.questions import read_questions
from medssr.rewards.scoring import traits_of
from medssr.utils.instantiate import target_of
from medssr.utils.text_files import read_template

_BYTES = {Dtype.float32: 4, Dtype.bfloat16: 2, Dtype.float16: 2}
# Reading an answer and comparing it with the label, on a CPU core of 2026 (extract_choice: 0.2 to 0.5 ms).
_LABEL_MATCH_S = 4e-4
_OWN_REWARDS = "medssr.rewards."
_SECONDS_PER_HOUR = 3600
# Prompts are guessed from this number of questions; without their file, they are as long as those of the benchmarks.
_NUM_READ = 64
_CHARACTERS_PER_TOKEN = 4
_USUAL_PROMPT_TOKENS = 300
_TRAINED_BYTES = 4
# The setting that limits how many completions an engine decodes at the same time.
_SLOTS = {
    HF_ENGINE: "max_batch_size",
    VLLM_ENGINE: "max_num_seqs",
    VLLM_NODE_ENGINE: "max_concurrency",
    VLLM_SERVER_ENGINE: "max_concurrency",
}
# Assumed where a command is to run on a GPU that this machine does not have.
_ASSUMED_GPU = GPU.H100


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a step is expected to take, and where.

    Attributes:
        seconds: The seconds of a step by part.
        hardware: The speed of each device.
        num_devices: Number of devices of trainers and engines.
        work: What a step is expected to compute.
    """

    seconds: StepSeconds
    hardware: Hardware
    num_devices: int
    work: Work

    def device_hours(self, num_steps: int) -> float:
        """Returns the hours of a number of steps, times devices."""
        return num_steps * self.seconds.total * self.num_devices / _SECONDS_PER_HOUR


def forecast(config: TrainConfig | PipelineConfig, grpo: GRPOConfig, device_name: str | None = None) -> Forecast | str:
    """Returns what a step of a stage is expected to take, or why that cannot be computed.

    Args:
        config: The configuration of the command.
        grpo: The settings of the stage.
        device_name: The name of the GPU that trains, as torch has it; None if that is not known, or it is the CPU.
    """
    hardware = _hardware(config, device_name)
    if hardware is None:
        device = device_name or "this machine"
        return f"not computed: the speed of {device} is not known; medssr-doctor --measure measures it"
    model = architecture_of(config.model.path, config.model.hub_config)
    if not isinstance(model, Architecture):
        return "not computed: the model is of no family whose products are counted (Llama, Qwen3, Qwen3-MoE)"
    if grpo.distillation is not None:
        return "not computed: the passes of a teacher on the policy's completions are not counted"
    arrangement = _arrangement(config, grpo, model)
    if isinstance(arrangement, str):
        return arrangement
    work = expected_work(config, grpo)
    seconds = step_seconds(model, work, arrangement, hardware)
    asks_peers = any(_has_trait(reward, "needs_peers") for reward in config.reward.values())
    if asks_peers and grpo.has_average and grpo.teacher is not None:  # it samples too, after a transfer of its weights
        answers = replace(work, num_generations=grpo.teacher["num_answers"])
        rollout = seconds.rollout + rollout_seconds(model, answers, work.num_prompts, arrangement, hardware)
        seconds = replace(seconds, rollout=rollout, sync=2 * seconds.sync)
    return Forecast(seconds, hardware, _num_devices(config.rollout, arrangement), work)


def utilisation_of(config: TrainConfig, device_name: str | None) -> Utilisation | None:
    """Returns what the utilisation of a training's device is computed with; None if model or device is not known.

    Args:
        config: The configuration of the training.
        device_name: The name of the GPU that trains, as torch has it; None on a CPU.
    """
    hardware = _own_hardware(config, device_name)
    model = architecture_of(config.model.path, config.model.hub_config)
    if hardware is None or not isinstance(model, Architecture):
        return None
    return Utilisation(model, _num_adapter_parameters(config, model), peak_flops(hardware, _compute_bytes(config)))


def _num_adapter_parameters(config: TrainConfig | PipelineConfig, model: Architecture) -> int | None:
    lora = config.lora
    return None if lora is None else model.num_adapter_parameters(lora.rank, lora.target_modules)


def _compute_bytes(config: TrainConfig | PipelineConfig) -> int:
    return 2 if "16" in str(config.trainer["precision"]) else 4


def expected_work(config: TrainConfig | PipelineConfig, grpo: GRPOConfig) -> Work:
    """Returns what a step is expected to compute, by `extras.forecast`."""
    expected = config.extras.forecast
    mean = expected.completion_tokens or grpo.max_new_tokens / 2
    is_own = all(str(node["_target_"]).startswith(_OWN_REWARDS) for node in config.reward.values())
    limits = (node.get("num_trained") for node in config.reward.values())
    trained = [min(limit, grpo.num_generations) for limit in limits if isinstance(limit, int)]
    return Work(
        num_prompts=grpo.num_views * grpo.num_prompts_per_step,
        num_generations=grpo.num_generations,
        prompt_tokens=expected.prompt_tokens or _prompt_tokens(config),
        completion_tokens=min(mean, grpo.max_new_tokens),
        longest=grpo.max_new_tokens,
        signal_share=expected.signal_share,
        reward_seconds=_LABEL_MATCH_S * len(config.reward) if is_own else None,
        num_trained=min(trained) if trained else None,
        num_rounds=grpo.dynamic_sampling_rounds,
    )


def _has_trait(reward: Node, trait: str) -> bool:
    """Returns whether a reward has a trait (`rewards.scoring.RewardTraits`); False for a user's, not known here."""
    name = str(reward["_target_"])
    return name.startswith(_OWN_REWARDS) and bool(getattr(traits_of(target_of(name, "reward")), trait))


def _prompt_tokens(config: TrainConfig | PipelineConfig) -> float:
    """Returns the mean length of prompts, guessed from the characters of the first questions and of the template."""
    file = Path(config.data.path if isinstance(config, TrainConfig) else config.seed_questions.path)
    template = Path(config.model.prompt_path)
    if not (file.is_file() and template.is_file()):
        return _USUAL_PROMPT_TOKENS
    try:
        questions = list(islice(read_questions(file), _NUM_READ))
        frame = read_template(template, "model.prompt_path")
    except InputError:  # --info has it in its row for the file, and training says it before it starts
        return _USUAL_PROMPT_TOKENS
    texts = [text for question in questions for text in (question.stem, *question.options.values())]
    characters = sum(map(len, texts)) / len(questions) + len(frame)
    return characters / _CHARACTERS_PER_TOKEN


def _arrangement(config: TrainConfig | PipelineConfig, grpo: GRPOConfig, model: Architecture) -> Arrangement | str:
    """Returns what computes a step, or why that is not known."""
    trainer, lora, rollout = config.trainer, config.lora, config.rollout
    trainers = num_processes(trainer)
    if trainers is None:
        return "on all GPUs of the machine; name trainer.devices=N and it is computed"
    if rollout["_target_"] not in _SLOTS:
        return f"not computed for the engine {rollout['_target_']}"
    slots_name = _SLOTS[rollout["_target_"]]
    slots = rollout[slots_name]
    if not isinstance(slots, int) or slots < 1:
        return f"not computed: rollout.{slots_name} is {slots}"
    engines = _num_engines(rollout, trainers)
    if engines == 0:
        return "not computed: rollout.addresses is empty"
    if engines is None:
        return "on all GPUs that the trainers leave free; name rollout.num_servers=N and it is computed"
    loaded_bytes = _BYTES[config.model.dtype]
    num_minibatches = grpo.num_prompts_per_step // (grpo.minibatch_prompts or grpo.num_prompts_per_step)
    num_updates = grpo.num_iterations * num_minibatches
    is_vllm = not samples_with_trained_model(rollout)
    has_reference = grpo.beta > 0
    has_statistics, has_probabilities = (
        any(_has_trait(reward, trait) for reward in config.reward.values())
        for trait in ("needs_statistics", "needs_answer_probabilities")
    )
    # The statistics of the policy come with its log-probs.
    has_old_logps = (num_updates > 1 or grpo.has_kl_in_reward) and not has_statistics
    in_reward = has_reference + has_old_logps if grpo.has_kl_in_reward else 0
    return Arrangement(
        num_trainers=trainers,
        num_engines=engines,
        engine_devices=int(rollout.get("tensor_parallel_size", 1)),
        is_vllm=is_vllm,
        num_slots=slots,
        engine_bytes=loaded_bytes if is_vllm or lora is not None else _TRAINED_BYTES,
        compute_bytes=_compute_bytes(config),
        num_adapter_parameters=_num_adapter_parameters(config, model),
        is_sharded=shards_models(trainer),
        num_trained_passes=0 if grpo.has_kl_in_reward else has_reference + has_old_logps,
        num_sampled_passes=has_statistics + has_probabilities + in_reward,
        num_iterations=grpo.num_iterations,
        num_optimizer_steps=num_updates,
        recomputed_share=config.model.gradient_checkpointing / config.model.recompute_every,
        is_ahead=rollout.get("overlap") == ONE_STEP,
    )


def _num_engines(rollout: Node, num_trainers: int) -> int | None:
    """Returns the number of engines; None if it is that of the GPUs that the trainers leave free."""
    if rollout["_target_"] == VLLM_SERVER_ENGINE:
        return len(rollout["addresses"])
    if rollout["_target_"] == VLLM_NODE_ENGINE:
        return None if rollout["num_servers"] is None else int(rollout["num_servers"])
    return num_trainers


def _num_devices(rollout: Node, arrangement: Arrangement) -> int:
    """Returns the number of devices of trainers and engines; an engine in a trainer's process has none of its own."""
    is_apart = rollout["_target_"] in (VLLM_NODE_ENGINE, VLLM_SERVER_ENGINE)
    return arrangement.num_trainers + is_apart * arrangement.num_engines * arrangement.engine_devices


def _hardware(config: TrainConfig | PipelineConfig, device_name: str | None) -> Hardware | None:
    """Returns the speed of the GPU that a forecast is asked for, else of the device; None if nothing is known of it."""
    gpu = config.extras.forecast.gpu
    return _own_hardware(config, device_name) if gpu is None else published(gpu)


def _own_hardware(config: TrainConfig | PipelineConfig, device_name: str | None) -> Hardware | None:
    """Returns the speed of the device that trains; None if nothing is known of it."""
    device = str(config.trainer["accelerator"])
    hardware = measured_hardware(Path(config.paths.artifact_dir))
    is_on_gpu = device not in ("cpu", "auto")
    if hardware is not None:
        kinds = ("auto", "gpu", "cuda") if hardware.is_gpu else ("auto", "cpu")
        if device in kinds and device_name in (None, hardware.name):  # another machine may have measured it
            return hardware
    if device_name is not None:
        gpu = known_gpu(device_name)
        return None if gpu is None else published(gpu)
    return published(_ASSUMED_GPU) if is_on_gpu else None
