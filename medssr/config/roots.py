"""The typed root configuration of each command.

The only default here is `= None`, for optional groups: Hydra sets no value if no option is chosen.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from medssr.config.arrangements import sft_problem, training_problem
from medssr.config.evaluation import BenchmarkConfig, ProtocolConfig, ProtocolKind, RarityConfig
from medssr.config.groups import (
    AuditingConfig,
    DataConfig,
    ExtrasConfig,
    LabelingConfig,
    LoRAConfig,
    ModelConfig,
    Node,
    OptimConfig,
    PathsConfig,
    ProbeConfig,
    QrelsConfig,
    RetrievalQuestionsConfig,
    ScratchConfig,
    SeedQuestionsConfig,
    SFTConfig,
    Split,
    SynthesisConfig,
    TrainDataConfig,
)
from medssr.config.grpo import GRPOConfig
from medssr.config.local_paths import InputPath, OutputPath
from medssr.config.stages import UNKNOWN_FILES, StageConfig, stage_method
from medssr.config.trainer import check_trainer
from medssr.errors import InputError, require

# Values of `ckpt_path` for the newest valid checkpoint: AUTO if there is one, LAST requires one.
AUTO, LAST = "auto", "last"
MIN_HITS = 32


@dataclass(kw_only=True)
class CommandConfig:
    """Fields of all commands.

    Attributes:
        task_name: Name of the command, used in run folders and logs.
        paths: Folders of the project.
        extras: Display, CPU threads and cost forecast of a run.
        cost: Cost of a preset as text, which `--info` shows.
    """

    task_name: str
    paths: PathsConfig
    extras: ExtrasConfig
    cost: str | None = None


@dataclass(kw_only=True)
class StepConfig(CommandConfig):
    """A command that makes an artefact."""

    seed: int
    force: bool
    verify: bool


@dataclass(kw_only=True)
class LoggedStepConfig(StepConfig):
    """A step of the method, which can belong to a study and be logged to Weights & Biases."""

    study: str | None
    logger: Node | None = None


@dataclass(kw_only=True)
class SynthesizeConfig(LoggedStepConfig):
    """Root of medssr-synthesize."""

    corpus: Node
    entities: Node
    retriever: Node
    generator: Node
    seed_questions: SeedQuestionsConfig
    synthesis: SynthesisConfig


@dataclass(kw_only=True)
class AuditConfig(StepConfig):
    """Root of medssr-audit."""

    data: DataConfig
    audit: AuditingConfig
    corpus: Node | None = None
    entities: Node | None = None
    judge: Node | None = None
    second_judge: Node | None = None

    def __post_init__(self) -> None:
        """Checks that a second judge has a first one."""
        problem = "a second judge without a first one; give judge=openai judge.model=NAME as well."
        require(self.second_judge is None or self.judge is not None, "second_judge", problem)


def _check_adapters(model: ModelConfig, lora: LoRAConfig | None) -> None:
    """Checks that a training that starts from adapters trains these."""
    problem = (
        f"{model.adapter_path}, but without lora all weights are trained; add lora=default with the rank of these "
        "adapters, or give model.path=FOLDER with the adapters merged."
    )
    require(model.adapter_path is None or lora is not None, "model.adapter_path", problem)


@dataclass(kw_only=True)
class PseudoLabelConfig(LoggedStepConfig):
    """Root of medssr-pseudo-label."""

    model: ModelConfig
    rollout: Node
    data: DataConfig
    labeling: LabelingConfig
    run: InputPath | None


@dataclass(kw_only=True)
class TrainConfig(LoggedStepConfig):
    """Root of medssr-train."""

    stage: str
    ckpt_path: InputPath
    model: ModelConfig
    rollout: Node
    data: TrainDataConfig
    reward: Node
    grpo: GRPOConfig
    optim: OptimConfig
    trainer: Node
    callbacks: Node | None
    lora: LoRAConfig | None = None
    probe: ProbeConfig | None = None

    def __post_init__(self) -> None:
        """Checks combinations of groups."""
        _check_adapters(self.model, self.lora)
        check_trainer(self.trainer)
        self._check_sources()
        _refuse(training_problem(self))

    def _check_sources(self) -> None:
        for name, node in self.reward.items():
            problem = (
                "has settings but no _target_: an experiment sets a field of a reward that is not chosen. Leave the "
                f"experiment out, or choose reward={name}."
            )
            require("_target_" in node, f"reward.{name}", problem)
        named = {"data.rewards": self.data.rewards}
        named |= {f"data.further.{name}.rewards": source.rewards for name, source in self.data.further.items()}
        for key, names in named.items():
            unknown = next((name for name in names or () if name not in self.reward), None)
            require(unknown is None, key, f"{unknown}; the rewards are {', '.join(self.reward)}.")
            require(names != [], key, "is empty; name rewards, or null for all.")
        if not self.data.further:
            return
        further, prompts = (
            sum(source.num_prompts for source in self.data.further.values()),
            self.grpo.num_prompts_per_step,
        )
        problem = (
            f"{further} of the {prompts} questions of a step (grpo.num_prompts_per_step); leave some for data.path."
        )
        require(further < prompts, "data.further", problem)
        rounds = self.grpo.dynamic_sampling_rounds
        problem = f"{rounds}; further questions would change the ratio of the sources in data.further, so 0."
        require(rounds == 0, "grpo.dynamic_sampling_rounds", problem)
        problem = "questions rest, but others in their place would change the ratio of the sources in data.further."
        require(not self.grpo.has_rests, "grpo.selection", problem)


class ExportTarget(Enum):
    """Framework of an export: verl, TRL and verifiers for training, lm-evaluation-harness and inspect-ai for scores."""

    verl = "verl"
    trl = "trl"
    lm_eval = "lm_eval"
    inspect = "inspect"
    verifiers = "verifiers"

    @property
    def has_stage(self) -> bool:
        """Whether it gets a stage of training with its settings; else the questions of a benchmark."""
        return self in (ExportTarget.verl, ExportTarget.trl)


@dataclass
class ExportSettings:
    """One set of training settings that is exported."""

    grpo: GRPOConfig
    optim: OptimConfig


@dataclass(kw_only=True)
class ExportConfig(StepConfig):
    """Root of medssr-export."""

    stage: str
    targets: list[ExportTarget]
    model: ModelConfig
    settings: dict[str, ExportSettings]
    data: DataConfig | None = None
    benchmark: BenchmarkConfig | None = None
    protocol: ProtocolConfig | None = None

    def __post_init__(self) -> None:
        """Checks that each target has its questions, and that the names of settings are valid file names."""
        if not self.targets:
            raise InputError(
                f"targets: [] is empty; name some of {', '.join(target.value for target in ExportTarget)}."
            )
        problem = f"{self.model.adapter_path}; an export names one model: model.path=FOLDER with the adapters merged."
        require(self.model.adapter_path is None, "model.adapter_path", problem)
        self._check_tasks()
        require(
            self.data is not None or not any(target.has_stage for target in self.targets),
            "data",
            "null, but verl and trl get a stage to train; data.path=FILE.jsonl.",
        )
        for name in self.settings:
            if not re.fullmatch(r"\w+", name):
                raise InputError(
                    f"settings.{name}: this name becomes a file name; expected only letters, digits and _."
                )

    def _check_tasks(self) -> None:
        if all(target.has_stage for target in self.targets):
            return
        require(self.benchmark is not None, "benchmark", "null; benchmark=released benchmark.path=FILE.")
        require(self.protocol is not None, "protocol", "null; loglikelihood for lm_eval, greedy for the others.")
        assert self.protocol is not None
        if ExportTarget.lm_eval not in self.targets:
            return
        require(
            self.protocol.kind is ProtocolKind.letters,
            "protocol.kind",
            f"{self.protocol.kind.value}; tasks of lm-evaluation-harness compare letters: protocol=loglikelihood.",
        )
        require(
            self.protocol.num_orders == 1,
            "protocol.num_orders",
            f"{self.protocol.num_orders}; an export has one order: 1.",
        )


@dataclass(kw_only=True)
class EvaluateConfig(LoggedStepConfig):
    """Root of medssr-evaluate."""

    model: ModelConfig
    rollout: Node
    benchmark: BenchmarkConfig
    protocol: ProtocolConfig
    run: InputPath | None
    rarity: RarityConfig | None = None


@dataclass(kw_only=True)
class PipelineConfig(LoggedStepConfig):
    """Root of medssr-pipeline: the fields of the steps, and the list of stages."""

    model: ModelConfig
    rollout: Node
    corpus: Node
    entities: Node
    retriever: Node
    generator: Node
    seed_questions: SeedQuestionsConfig
    synthesis: SynthesisConfig
    labeling: LabelingConfig
    stages: list[StageConfig]
    reward: Node
    stage_rewards: dict[str, Node]
    grpo: GRPOConfig
    optim: OptimConfig
    sft: SFTConfig
    sft_optim: OptimConfig
    benchmark: BenchmarkConfig
    protocol: ProtocolConfig
    trainer: Node
    callbacks: Node | None
    demonstrations: Node | None = None
    labeler: ModelConfig | None = None
    lora: LoRAConfig | None = None
    probe: ProbeConfig | None = None
    rarity: RarityConfig | None = None

    def __post_init__(self) -> None:
        """Checks that the names of stages are distinct, and that their methods accept their settings."""
        names = [stage.name for stage in self.stages]
        if len({*names, "base"}) <= len(names):
            raise InputError(
                f'stages: the names {names} are not distinct, or one is "base", the name of the first model.'
            )
        for name in self.stage_rewards:
            problem = f"names no stage; the stages are {', '.join(names)}."
            require(name in names, f"stage_rewards.{name}", problem)
        check_trainer(self.trainer)
        problem = "held_out, but a pipeline trains on its questions; write the benchmark with medssr-synthesize."
        require(self.synthesis.split is Split.train, "synthesis.split", problem)
        for stage in self.stages:
            self._check_votes(stage)
            stage_method(stage).configure(self, stage, self.model, stage.data(UNKNOWN_FILES))

    def _check_votes(self, stage: StageConfig) -> None:
        """Raises InputError for a stage that votes again in vain."""
        field = f"stages, {stage.name}.relabels"
        problem = f"true, but its questions are {stage.questions.value}; take pseudo_labelled or mixed."
        require(stage.uses_votes or not stage.relabels, field, problem)
        problem = "true, but labeler votes, which is not trained; labeler=null lets the policy vote."
        require(self.labeler is None or not stage.relabels, field, problem)


@dataclass(kw_only=True)
class CompareConfig(CommandConfig):
    """Root of medssr-compare."""

    runs: list[InputPath]
    study: str | None
    wandb: str | None
    baseline: str | None
    num_examples: int
    output_dir: OutputPath
    logger: Node | None = None

    def __post_init__(self) -> None:
        """Checks the ranges."""
        require(self.num_examples >= 0, "num_examples", f"{self.num_examples}; at least 0.")


@dataclass(kw_only=True)
class DashboardConfig(CommandConfig):
    """Root of medssr-dashboard."""

    study: str
    entity: str
    project: str
    swept: str
    file: OutputPath | None
    extras: ExtrasConfig


@dataclass(kw_only=True)
class RetrieveConfig(StepConfig):
    """Root of medssr-retrieve."""

    corpus: Node
    retriever: Node
    questions: RetrievalQuestionsConfig
    qrels: QrelsConfig
    num_hits: int

    def __post_init__(self) -> None:
        """Checks that enough documents are retrieved for the metrics."""
        if self.num_hits < MIN_HITS:
            raise InputError(f"num_hits: {self.num_hits}; at least {MIN_HITS}, which recall@{MIN_HITS} needs.")


@dataclass(kw_only=True)
class SFTTrainConfig(LoggedStepConfig):
    """Root of medssr-sft."""

    model: ModelConfig
    demonstrations: Node
    sft: SFTConfig
    optim: OptimConfig
    trainer: Node
    callbacks: Node | None
    scratch: ScratchConfig | None = None
    lora: LoRAConfig | None = None

    def __post_init__(self) -> None:
        """Checks combinations of groups."""
        problem = "adapters on random weights, which would never be trained; leave out lora or scratch."
        require(self.scratch is None or self.lora is None, "lora", problem)
        _check_adapters(self.model, self.lora)
        check_trainer(self.trainer)
        _refuse(sft_problem(self))


def _refuse(problem: str | None) -> None:
    """Raises InputError if there is a problem."""
    if problem is not None:
        raise InputError(problem)


SCHEMAS: dict[str, type] = {
    "synthesize": SynthesizeConfig,
    "audit": AuditConfig,
    "pseudo_label": PseudoLabelConfig,
    "train": TrainConfig,
    "export": ExportConfig,
    "evaluate": EvaluateConfig,
    "pipeline": PipelineConfig,
    "compare": CompareConfig,
    "dashboard": DashboardConfig,
    "retrieve": RetrieveConfig,
    "sft": SFTTrainConfig,
}
