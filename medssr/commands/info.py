"""Plans a command without running it, for `--info`: sizes, memory, costs and finished artefacts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from medssr.artifacts import Step
from medssr.config import (
    UNKNOWN_FILES,
    Dtype,
    GRPOConfig,
    LoRAConfig,
    ModelConfig,
    PipelineConfig,
    StageQuestions,
    TrainConfig,
    stage_method,
)
from medssr.config.arrangements import VLLM_ENGINE
from medssr.config.grpo import AUTO_CHUNK
from medssr.config.steps import (
    asks_pseudo_labelled,
    asks_synthetic,
    evaluate_config,
    pseudo_label_config,
    synthesize_config,
)
from medssr.config.trainer import num_processes, shards_models
from medssr.errors import InputError
from medssr.hub.revisions import at_cached_commit
from medssr.models.architecture import architecture_of, num_stored_parameters
from medssr.models.memory import LEAST_HEAD_TOKENS, Load, memory_parts, resting_bytes
from medssr.training.forecast import forecast

Rows = list[tuple[str, str]]

# Maximum size of the inputs that are hashed to look up an artefact; more would make `--info` slow.
_MAX_READ_BYTES = 500_000_000
_BYTES = {Dtype.float32: 4, Dtype.bfloat16: 2, Dtype.float16: 2}


def train_plan(config: TrainConfig) -> Rows:
    """Returns the plan of medssr-train as rows (name, value)."""
    step = Step.of("train", config)
    return [
        *_model_rows(config.model, config.lora),
        *_question_rows(config),
        *grpo_rows(config.stage, config.grpo),
        *_memory_rows(config),
        *time_rows(config, config.grpo),
        *_cost_rows(config),
        ("artefact", _artifact_text(step)),
    ]


def pipeline_plan(config: PipelineConfig) -> Rows:
    """Returns the plan of medssr-pipeline as rows (name, value): each step, and which artefacts already exist."""
    rows = _model_rows(config.model, config.lora)
    rows += _preparation_rows(config)
    for stage in config.stages:
        if stage.relabels:
            rows.append((f"pseudo_label {stage.name}", "the policy votes again on the same questions"))
        name = f"{stage.name} ({stage.questions.value})"
        method = stage_method(stage)
        rows += method.describe(name, method.configure(config, stage, config.model, stage.data(UNKNOWN_FILES)))
    models = len(config.stages) + 1
    rows.append(
        ("evaluate", f"{models} models, {config.protocol.num_samples} answers to each question of the benchmark")
    )
    return [*rows, *_memory_rows(config), *_cost_rows(config), *_made_rows(config)]


def _preparation_rows(config: PipelineConfig) -> Rows:
    synthesis, labeling = config.synthesis, config.labeling
    votes = synthesis.num_questions * labeling.num_votes
    questions = f"{synthesis.num_questions:,} questions, {synthesis.rare_share:.0%} about rare diseases"
    answers = f"{labeling.num_votes} votes on each: {votes:,} answers of up to {labeling.max_new_tokens} tokens"
    rows = [("synthesize", questions)] if asks_synthetic(config) else []
    return [*rows, ("pseudo_label", answers)] if asks_pseudo_labelled(config) else rows


def _model_rows(model: ModelConfig, lora: LoRAConfig | None) -> Rows:
    architecture, stored = architecture_of(model.path, model.hub_config), num_stored_parameters(Path(model.path))
    number = stored if stored is not None else architecture.num_parameters if architecture is not None else None
    weights = f"{number:,} weights" if number is not None else "number of weights unknown before the model is loaded"
    rows = [("model", f"{model.path}: {weights}, {model.dtype.value}")]
    if model.adapter_path is not None:
        rows.append(("  with adapters", model.adapter_path))
    if lora is None:
        return [*rows, ("trained", "all weights, in float32")]
    if architecture is None:
        return [*rows, ("trained", f"adapters of rank {lora.rank}")]
    adapters = architecture.num_adapter_parameters(lora.rank, lora.target_modules)
    return [*rows, ("trained", f"adapters of rank {lora.rank}: {adapters:,} weights")]


def _question_rows(config: TrainConfig) -> Rows:
    """Returns the file and the number of questions of each source."""
    sources = [("questions", config.data.path, config.data.rewards)]
    sources += [(f"  {name}", source.path, source.rewards) for name, source in config.data.further.items()]
    return [
        (
            name,
            _questions_text(path, {key: node for key, node in config.reward.items() if names is None or key in names}),
        )
        for name, path, names in sources
    ]


def _questions_text(path: str, rewards: Mapping[str, Any]) -> str:
    from medssr.rewards.labels import read_training_questions

    file = Path(path)
    if file.is_file() and file.stat().st_size > _MAX_READ_BYTES:
        return f"{path}: {_size(file.stat().st_size)}"
    try:
        return f"{path}: {len(read_training_questions(path, rewards)):,}"
    except InputError as error:
        return str(error)


def grpo_rows(name: str, grpo: GRPOConfig) -> Rows:
    """Returns the batch sizes and totals of a GRPO stage as rows; the first row is called `name`."""
    prompts, group = grpo.num_prompts_per_step, grpo.num_views * grpo.num_generations
    completions = prompts * group
    updates = grpo.num_iterations * prompts // (grpo.minibatch_prompts or prompts)
    tokens = (grpo.minibatch_prompts or prompts) * group * grpo.max_new_tokens
    passes = math.ceil(tokens / grpo.micro_batch_tokens)
    return [
        (
            name,
            f"{grpo.num_steps:,} steps of {prompts:,} questions x {group} completions = {completions:,} of up to "
            f"{grpo.max_new_tokens:,} tokens",
        ),
        (
            "  updates",
            f"{updates} a step, {grpo.num_steps * updates:,} in all; each in micro-batches of "
            f"{grpo.micro_batch_tokens:,} tokens: {passes:,} where all completions have full length, without prompts",
        ),
        (
            "  in all",
            f"{grpo.num_steps * prompts:,} questions, {grpo.num_steps * completions:,} completions, at most "
            f"{grpo.num_steps * completions * grpo.max_new_tokens:,} sampled tokens",
        ),
        ("  importance weights", "none" if grpo.tis_cap is None else f"capped at {grpo.tis_cap:g}"),
    ]


def _memory_rows(config: TrainConfig | PipelineConfig) -> Rows:
    """Returns the memory of training on one device as rows, computed as in docs/scaling.md."""
    load = training_load(config)
    if isinstance(load, str):
        return [("memory", load)]
    parts = memory_parts(load)
    rows = [("memory, computed", f"{_size(sum(parts.values()))} a device for an update")]
    rows += [(f"  {name}", _size(size)) for name, size in parts.items()]
    share = _engine_share(config)
    if share is not None:
        copy = _size(load.weight_bytes * load.architecture.num_parameters)
        text = (
            f"{_size(resting_bytes(load))} of training, and {share:.0%} of the GPU for vLLM, whose weights have {copy}"
        )
        rows.append(("  while vLLM samples", text))
    return rows


def memory_needed(config: TrainConfig | PipelineConfig) -> int | None:
    """Returns the bytes that each device must have, for updates and beside vLLM; None if they cannot be computed."""
    load = training_load(config)
    if isinstance(load, str):
        return None
    update, share = sum(memory_parts(load).values()), _engine_share(config)
    if share is None:
        return update
    beside = resting_bytes(load) if config.rollout["sleep"] else update
    copy = load.weight_bytes * load.architecture.num_parameters
    return max(update, math.ceil(beside / (1 - share)), math.ceil(copy / share))


def _engine_share(config: TrainConfig | PipelineConfig) -> float | None:
    """Returns the fraction of its GPU that vLLM in the trainer's process uses; None for other engines, and on a CPU."""
    is_beside = config.rollout.get("_target_") == VLLM_ENGINE and str(config.trainer["accelerator"]) != "cpu"
    return float(config.rollout["gpu_memory_utilization"]) if is_beside else None


def training_load(config: TrainConfig | PipelineConfig) -> Load | str:
    """Returns the quantities that determine the memory of an update, or why it cannot be computed."""
    architecture, trainer = architecture_of(config.model.path, config.model.hub_config), config.trainer
    strategy, processes = trainer.get("strategy"), num_processes(trainer)
    if architecture is None:
        return "not computed: the model's architecture is not known here (docs/scaling.md has the sums)"
    if isinstance(strategy, Mapping) and not shards_models(trainer):
        return f"not computed for the strategy {strategy['_target_']}"
    if shards_models(trainer) and processes is None:
        return "spread over all GPUs; name trainer.devices=N and it is computed"
    lora, grpo = config.lora, config.grpo
    teacher_bytes = _teacher_bytes(grpo)
    if teacher_bytes is None:
        return "not computed: the architecture of grpo.teacher.path is not known here"
    return Load(
        architecture=architecture,
        weight_bytes=_BYTES[config.model.dtype],
        compute_bytes=2 if "16" in str(trainer["precision"]) else 4,
        num_adapter_parameters=None
        if lora is None
        else architecture.num_adapter_parameters(lora.rank, lora.target_modules),
        has_reference=grpo.keeps_reference,
        num_parts=processes if shards_models(trainer) and processes is not None else 1,
        is_replicated=not shards_models(trainer) and processes != 1,
        micro_batch_tokens=grpo.micro_batch_tokens,
        head_chunk_tokens=_head_chunk_tokens(grpo),
        recompute_every=config.model.recompute_every if config.model.gradient_checkpointing else None,
        has_average=grpo.has_average,
        teacher_bytes=teacher_bytes,
    )


def _head_chunk_tokens(grpo: GRPOConfig) -> int:
    """Returns how many tokens have logits at the same time; where that depends on the free memory, the least."""
    given = LEAST_HEAD_TOKENS if grpo.head_chunk_tokens == AUTO_CHUNK else grpo.head_chunk_tokens
    return int(given or grpo.micro_batch_tokens)


def _teacher_bytes(grpo: GRPOConfig) -> int | None:
    """Returns the bytes of a teacher that is a model of its own, 0 if there is none; None if they are not known."""
    if grpo.teacher is None or grpo.has_average:
        return 0
    architecture = architecture_of(grpo.teacher["path"])
    return None if architecture is None else _BYTES[Dtype(grpo.teacher["dtype"])] * architecture.num_parameters


def time_rows(config: TrainConfig | PipelineConfig, grpo: GRPOConfig) -> Rows:
    """Returns the time of a step by part, and GPU hours and price of a stage, as rows; docs/cost.md has the sums."""
    expected = forecast(config, grpo)
    if isinstance(expected, str):
        return [("time", expected)]
    hardware, work, seconds = expected.hardware, expected.work, expected.seconds
    hours, price = expected.device_hours(grpo.num_steps), config.extras.forecast.price_per_hour
    device = "GPU" if hardware.is_gpu else "CPU"
    parts = {name: value for name, value in asdict(seconds).items() if value and name != "beside"}
    rows = [
        (
            "time, computed",
            f"{_seconds(seconds.total)} a step on {expected.num_devices} x {hardware.name}: "
            + ", ".join(f"{name} {_seconds(value)}" for name, value in parts.items())
            + (", with the rollout beside the training" if seconds.beside else ""),
        ),
        (
            "  where",
            f"completions have {work.completion_tokens:,.0f} tokens, prompts {work.prompt_tokens:,.0f}, and "
            f"{work.signal_share:.0%} of the groups have signal (extras.forecast)"
            + (
                f"; dynamic sampling adds {sum(work.sampled_prompts[1:]):,.0f} prompts a step"
                if work.num_rounds
                else ""
            )
            + ("" if seconds.reward is not None else "; without custom rewards, whose time is not known"),
        ),
        ("  speed of a device", hardware.source),
        (f"  {device} hours", f"{hours:,.2f} for {grpo.num_steps:,} steps"),
    ]
    return rows if price is None else [*rows, ("  price", f"{hours * price:,.2f} at {price:g} per {device} and hour")]


def _seconds(number: float) -> str:
    """Returns seconds as text.

    Example:
        >>> _seconds(38.875), _seconds(2.64), _seconds(0.0512)
        ('39 s', '2.6 s', '0.051 s')
    """
    return f"{number:,.0f} s" if number >= 10 else f"{number:.2g} s"


def _cost_rows(config: TrainConfig | PipelineConfig) -> Rows:
    """Returns the cost that the presets of the model and of the run state, as rows."""
    rows: Rows = []
    if cost := config.model.cost:
        stated = (("GPUs", cost.gpus), ("model", cost.note))
        rows += [(f"cost: {what}", text) for what, text in stated if text is not None]
    return rows if config.cost is None else [*rows, ("cost: preset", config.cost)]


def _made_rows(config: PipelineConfig) -> Rows:
    """Returns which artefacts already exist, as rows, up to the first missing one, on which the later ones depend."""
    rows: Rows = []

    def made(name: str, step: Step) -> Path | None:
        rows.append((f"artefact: {name}", _artifact_text(step)))
        return step.find() if _input_bytes(asdict(step.config)) <= _MAX_READ_BYTES else None

    files = {StageQuestions.human: Path(config.seed_questions.path)}
    synthetic = labels = None
    if asks_synthetic(config):
        synthetic = made("synthesize", Step.of("synthesize", synthesize_config(config)))
    if synthetic is not None:
        files[StageQuestions.synthetic] = synthetic / "questions.jsonl"
    if synthetic is not None and asks_pseudo_labelled(config):
        votes = pseudo_label_config(config, files[StageQuestions.synthetic], config.model)
        labels = made("pseudo_label", Step.of("pseudo_label", votes))
    if labels is not None:
        files[StageQuestions.pseudo_labelled] = labels / "questions.jsonl"
    made("evaluate base", Step.of("evaluate", evaluate_config(config, at_cached_commit(config.model))))
    model = config.model
    for stage in config.stages:
        if stage.relabels:
            if synthetic is None:
                break
            votes = pseudo_label_config(config, synthetic / "questions.jsonl", model)
            labels = made(f"pseudo_label {stage.name}", Step.of("pseudo_label", votes))
            if labels is None:
                break
            files[StageQuestions.pseudo_labelled] = labels / "questions.jsonl"
        if not {StageQuestions.demonstrations, *files}.issuperset(stage.kinds):
            break
        training = stage_method(stage).configure(config, stage, model, stage.data(files))
        trained = made(stage.name, Step.of(training.task_name, training))
        if trained is None:
            break
        model = replace(model, path=str(trained / "model"), revision=None)
        made(f"evaluate {stage.name}", Step.of("evaluate", evaluate_config(config, model)))
    return rows


def _artifact_text(step: Step) -> str:
    """Returns the path of an artefact, and whether it already exists."""
    num_bytes = _input_bytes(asdict(step.config))
    if num_bytes > _MAX_READ_BYTES:
        return f"not looked up, since its name depends on {_size(num_bytes)} of inputs"
    if (finished := step.find()) is not None:
        return f"{finished} is made already; nothing would run without force=true"
    directory = step.directory
    return f"{directory} {'would go on' if directory.is_dir() else 'would be made'}"


def _input_bytes(node: Any, name: str = "") -> int:
    """Returns the total size of the files and folders that a configuration names, in bytes."""
    if isinstance(node, Mapping):
        return sum(_input_bytes(value, str(key)) for key, value in node.items())
    if isinstance(node, list):
        return sum(_input_bytes(value, name) for value in node)
    if not (isinstance(node, str) and node and name.endswith("path")):
        return 0
    path = Path(node)
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def _size(num_bytes: int) -> str:
    """Returns a size as text.

    Example:
        >>> _size(131_051_765_760), _size(17_848_320)
        ('131.1 GB', '17.8 MB')
    """
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.1f} MB"
