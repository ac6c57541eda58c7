"""The typed configuration groups. Fields have no defaults: each default stands once, in `conf/`, with a comment."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from medssr.errors import require

# A node with a `_target_`: each option brings its own arguments.
Node = dict[str, Any]


class Dtype(Enum):
    """The number format of the weights."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


@dataclass
class PathsConfig:
    """Where things are kept."""

    root_dir: str
    artifact_dir: str
    index_dir: str
    log_dir: str


@dataclass
class ExtrasConfig:
    """How a run looks and how much of the machine it takes; nothing here changes a result."""

    progress_bar: bool
    num_threads: int | None

    def __post_init__(self) -> None:
        """Checks the range."""
        number = self.num_threads
        require(number is None or number >= 1, "extras.num_threads", f"{number}; at least 1, or null for all cores.")


@dataclass
class ModelCostConfig:
    """What training a model costs, as far as it does not follow from its size.

    Attributes:
        gpus: The GPUs that training fits on.
        stage1_hours: Hours of an H100 for stage 1 of `grpo=large`.
        note: What else there is to say.
    """

    gpus: str | None = None
    stage1_hours: float | None = None
    note: str | None = None


@dataclass
class ModelConfig:
    """A policy: Hugging Face weights with their tokenizer, and how questions are put to it.

    `hub_config` and `cost` are read by `--info` alone; they change no result.
    """

    path: str
    revision: str | None
    dtype: Dtype
    attn_implementation: str
    trust_remote_code: bool
    prompt_path: str
    gradient_checkpointing: bool
    hub_config: Node | None = None
    cost: ModelCostConfig | None = None


@dataclass
class LoRAConfig:
    """Adapters that are trained in place of the model's own weights."""

    rank: int
    alpha: int
    target_modules: list[str] | None

    def __post_init__(self) -> None:
        """Checks the ranges."""
        require(self.rank >= 1, "lora.rank", f"{self.rank}; at least 1.")
        require(self.alpha > 0, "lora.alpha", f"{self.alpha}; above 0.")
        require(self.target_modules != [], "lora.target_modules", "[] is empty; name layers, or null for all.")


@dataclass
class SeedQuestionsConfig:
    """Human-annotated questions: the seeds of synthesis and the training set of supervised stages."""

    path: str


@dataclass
class SynthesisConfig:
    """How many questions are synthesised, of which kind, and what they must not repeat."""

    num_questions: int
    rare_share: float
    num_passages: int
    num_options: int
    min_stem_words: int
    max_stem_words: int
    max_option_words: int
    max_copied_words: int
    max_draws_per_question: int
    prompt_path: str
    benchmark_path: str | None

    def __post_init__(self) -> None:
        """Checks the ranges."""
        require(
            0 <= self.rare_share <= 1,
            "synthesis.rare_share",
            f"{self.rare_share} is no share; alpha lies between 0 and 1.",
        )
        require(self.num_questions >= 1, "synthesis.num_questions", f"{self.num_questions}; at least 1.")
        require(self.num_passages >= 0, "synthesis.num_passages", f"{self.num_passages}; at least 0.")
        require(2 <= self.num_options <= 26, "synthesis.num_options", f"{self.num_options}; 2 to 26.")
        draws = self.max_draws_per_question
        require(draws >= 1, "synthesis.max_draws_per_question", f"{draws}; at least 1.")


@dataclass
class AuditingConfig:
    """How many questions are audited, what a judge is asked, and what experts have said."""

    num_questions: int
    prompt_path: str
    verdicts: list[str]

    def __post_init__(self) -> None:
        """Checks the ranges."""
        require(self.num_questions >= 1, "audit.num_questions", f"{self.num_questions}; at least 1.")
        names = [Path(file).stem for file in self.verdicts]
        require(
            len({*names, "judge", "experts"}) == len(names) + 2,
            "audit.verdicts",
            f"{names}; the files name their raters, so their names are distinct and neither judge nor experts.",
        )


@dataclass
class LabelingConfig:
    """How often the policy votes, and which agreement makes a pseudo-label."""

    num_votes: int
    temperature: float
    max_new_tokens: int
    min_agreement: float
    max_agreement: float
    uses_truth: bool
    questions_per_chunk: int

    def __post_init__(self) -> None:
        """Checks the ranges."""
        require(self.num_votes >= 2, "labeling.num_votes", f"{self.num_votes}; a majority needs at least 2 votes.")
        require(self.temperature > 0, "labeling.temperature", f"{self.temperature}; votes are sampled, so above 0.")
        require(
            0 <= self.min_agreement <= self.max_agreement <= 1,
            "labeling.min_agreement, labeling.max_agreement",
            f"{self.min_agreement} to {self.max_agreement}; expected 0 <= min <= max <= 1.",
        )


@dataclass
class RetrievalQuestionsConfig:
    """Questions with judged documents, and what of a question is asked."""

    path: str
    query_fields: list[str]

    def __post_init__(self) -> None:
        """Checks that something is asked."""
        require(bool(self.query_fields), "questions.query_fields", "is empty; name at least one field.")


@dataclass
class QrelsConfig:
    """The judgements."""

    path: str


@dataclass
class DataConfig:
    """The labelled questions of one training stage."""

    path: str


class KeptModel(Enum):
    """Which model a training stage ends with."""

    last = "last"
    best = "best"


@dataclass
class ProbeConfig:
    """Labelled questions that training is watched on, when it stops on them, and which model it ends with."""

    path: str
    num_questions: int | None
    every_num_steps: int
    patience: int | None
    min_steps: int
    keep: KeptModel

    def __post_init__(self) -> None:
        """Checks the ranges."""
        number = self.num_questions
        require(number is None or number >= 1, "probe.num_questions", f"{number}; at least 1, or null for all.")
        require(self.every_num_steps >= 1, "probe.every_num_steps", f"{self.every_num_steps}; at least 1.")
        patience = self.patience
        require(patience is None or patience >= 1, "probe.patience", f"{patience}; at least 1, or null for no stop.")
        require(self.min_steps >= 0, "probe.min_steps", f"{self.min_steps}; at least 0.")


@dataclass
class OptimConfig:
    """Optimiser and learning-rate schedule, as partial instantiations."""

    optimizer: Node
    scheduler: Node


@dataclass
class SFTConfig:
    """Supervised fine-tuning: how long and on how much at a time."""

    num_steps: int
    num_rows_per_step: int
    micro_batch_tokens: int
    max_grad_norm: float
    max_skipped_steps: int


@dataclass
class ScratchConfig:
    """A policy that starts from random weights, with a tokenizer of its own."""

    family: str
    vocab_size: int
    has_phrases: bool
    architecture: Node
