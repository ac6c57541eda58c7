"""The typed root of each command: the groups that it takes."""

from __future__ import annotations

from dataclasses import dataclass

from medssr.config.evaluation import (
    BenchmarkConfig,
    ProtocolConfig,
    RarityConfig,
)
from medssr.config.groups import (
    AuditingConfig,
    DataConfig,
    DemonstrationsConfig,
    ExtrasConfig,
    LabelingConfig,
    ModelConfig,
    Node,
    OptimConfig,
    PathsConfig,
    QrelsConfig,
    RetrievalQuestionsConfig,
    ScratchConfig,
    SeedsConfig,
    SFTConfig,
    StageConfig,
    SynthesisConfig,
)
from medssr.config.grpo import (
    GRPOConfig,
    apply_overrides,
)
from medssr.errors import InputError

MIN_HITS = 32


@dataclass
class SynthesizeConfig:
    """Root of medssr-synthesize."""

    task_name: str
    seed: int
    force: bool
    corpus: Node
    entities: Node
    retriever: Node
    generator: Node
    seeds: SeedsConfig
    synthesis: SynthesisConfig
    paths: PathsConfig
    extras: ExtrasConfig


@dataclass
class AuditConfig:
    """Root of medssr-audit."""

    task_name: str
    seed: int
    force: bool
    data: DataConfig
    audit: AuditingConfig
    paths: PathsConfig
    extras: ExtrasConfig
    corpus: Node | None = None  # a group without an option leaves its field as it is here
    judge: Node | None = None


@dataclass
class PseudoLabelConfig:
    """Root of medssr-pseudo-label."""

    task_name: str
    seed: int
    force: bool
    model: ModelConfig
    rollout: Node
    data: DataConfig
    labeling: LabelingConfig
    paths: PathsConfig
    extras: ExtrasConfig


@dataclass
class TrainConfig:
    """Root of medssr-train."""

    task_name: str
    stage: str
    seed: int
    force: bool
    model: ModelConfig
    rollout: Node
    data: DataConfig
    reward: Node
    grpo: GRPOConfig
    optim: OptimConfig
    trainer: Node
    callbacks: Node | None
    logger: Node | None
    paths: PathsConfig
    extras: ExtrasConfig


@dataclass
class EvaluateConfig:
    """Root of medssr-evaluate."""

    task_name: str
    seed: int
    force: bool
    model: ModelConfig
    rollout: Node
    benchmark: BenchmarkConfig
    protocol: ProtocolConfig
    paths: PathsConfig
    extras: ExtrasConfig
    rarity: RarityConfig | None = None  # a group without an option leaves its field as it is here


@dataclass
class PipelineConfig:
    """Root of medssr-pipeline: the fields of the steps, and the list of stages."""

    task_name: str
    seed: int
    force: bool
    model: ModelConfig
    rollout: Node
    corpus: Node
    entities: Node
    retriever: Node
    generator: Node
    seeds: SeedsConfig
    synthesis: SynthesisConfig
    labeling: LabelingConfig
    stages: list[StageConfig]
    reward: Node
    grpo: GRPOConfig
    optim: OptimConfig
    benchmark: BenchmarkConfig
    protocol: ProtocolConfig
    trainer: Node
    callbacks: Node | None
    logger: Node | None
    paths: PathsConfig
    extras: ExtrasConfig
    rarity: RarityConfig | None = None  # a group without an option leaves its field as it is here

    def __post_init__(self) -> None:
        """Checks that stages can be told apart."""
        names = [stage.name for stage in self.stages]
        if len({*names, "base"}) <= len(names):
            raise InputError(f'stages: the names {names} are not distinct, or one is "base", the start of them all.')
        for stage in self.stages:
            apply_overrides(self.grpo, stage.grpo)


@dataclass
class CompareConfig:
    """Root of medssr-compare."""

    task_name: str
    runs: list[str]
    output_dir: str
    paths: PathsConfig
    extras: ExtrasConfig


@dataclass
class RetrieveConfig:
    """Root of medssr-retrieve."""

    task_name: str
    seed: int
    force: bool
    corpus: Node
    retriever: Node
    questions: RetrievalQuestionsConfig
    qrels: QrelsConfig
    num_hits: int
    paths: PathsConfig
    extras: ExtrasConfig

    def __post_init__(self) -> None:
        """Checks that the metrics have the ranks that they look at."""
        if self.num_hits < MIN_HITS:
            raise InputError(f"num_hits: {self.num_hits}; at least {MIN_HITS}, which recall@{MIN_HITS} looks at.")


@dataclass
class WarmStartConfig:
    """Root of medssr-warm-start."""

    task_name: str
    seed: int
    force: bool
    model: ModelConfig
    demonstrations: DemonstrationsConfig
    sft: SFTConfig
    optim: OptimConfig
    trainer: Node
    callbacks: Node | None
    logger: Node | None
    paths: PathsConfig
    extras: ExtrasConfig
    scratch: ScratchConfig | None = None  # a group without an option leaves its field as it is here


SCHEMAS: dict[str, type] = {
    "synthesize": SynthesizeConfig,
    "audit": AuditConfig,
    "pseudo_label": PseudoLabelConfig,
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
    "pipeline": PipelineConfig,
    "compare": CompareConfig,
    "retrieve": RetrieveConfig,
    "warm_start": WarmStartConfig,
}
