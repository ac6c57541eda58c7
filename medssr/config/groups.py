"""The typed configuration groups. Fields have no defaults, because each default is defined once, in `conf/`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from medssr.config.local_paths import InputPath, OutputPath
from medssr.errors import require

# A node with a `_target_`; its arguments depend on the option.
Node = dict[str, Any]


class Dtype(Enum):
    """The number format of the weights."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


@dataclass
class PathsConfig:
    """Folders of a project."""

    root_dir: OutputPath
    artifact_dir: OutputPath
    artifact_stores: list[InputPath]
    index_dir: OutputPath
    log_dir: OutputPath


class GPU(Enum):
    """GPUs whose published speed is known (`medssr/models/hardware.py`)."""

    H200 = "H200"
    H100 = "H100"
    A100 = "A100"
    L40S = "L40S"
    L4 = "L4"
    A10 = "A10"


@dataclass
class ForecastConfig:
    """What the time and the price of a training are computed from, beyond its settings; they change no result."""

    gpu: GPU | None
    price_per_hour: float | None
    prompt_tokens: int | None
    completion_tokens: int | None
    signal_share: float

    def __post_init__(self) -> None:
        """Checks the ranges."""
        price = self.price_per_hour
        require(price is None or price >= 0, "extras.forecast.price_per_hour", f"{price}; at least 0, or null.")
        for name in ("prompt_tokens", "completion_tokens"):
            tokens = getattr(self, name)
            require(tokens is None or tokens >= 1, f"extras.forecast.{name}", f"{tokens}; at least 1, or null.")
        require(0 <= self.signal_share <= 1, "extras.forecast.signal_share", f"{self.signal_share}; from 0 to 1.")


class Profiler(Enum):
    """What traces a training: torch's profiler."""

    torch = "torch"


@dataclass
class ExtrasConfig:
    """Display, CPU threads, traces and cost forecast of a run; these settings change no result."""

    progress_bar: bool
    num_threads: int | None
    profiler: Profiler | None
    forecast: ForecastConfig

    def __post_init__(self) -> None:
        """Checks the range."""
        number = self.num_threads
        require(number is None or number >= 1, "extras.num_threads", f"{number}; at least 1, or null for all cores.")


@dataclass
class ModelCostConfig:
    """Cost of training a model, beyond what follows from its size.

    Attributes:
        gpus: The GPUs that training fits on.
        note: A further note.
    """

    gpus: str | None = None
    note: str | None = None


def unescaped(texts: list[str]) -> list[str]:
    r"""Returns texts with a line break for `\n` and a tab for `\t`, which the command line leaves as they are.

    Example:
        >>> unescaped([r"\nQuestion:", "\n", r"\boxed"])
        ['\nQuestion:', '\n', '\\boxed']
    """
    return [text.replace(r"\n", "\n").replace(r"\t", "\t") for text in texts]


@dataclass
class ModelConfig:
    """A policy: Hugging Face weights with their tokenizer, adapters on these weights, and the prompt template.

    `hub_config` and `cost` are read only by `--info`; they change no result.
    """

    path: InputPath
    revision: str | None
    adapter_path: InputPath | None
    dtype: Dtype
    save_dtype: Dtype | None
    attn_implementation: str
    trust_remote_code: bool
    prompt_path: InputPath
    chat_template_kwargs: dict[str, Any]
    stop: list[str]
    stop_without_template: list[str]
    max_new_tokens: int
    grpo_lr: float
    grpo_adapter_lr: float
    grpo_beta: float
    gradient_checkpointing: bool
    recompute_every: int
    compile_layers: bool
    liger_kernels: bool
    # Not Node | None, into whose null Hydra cannot merge settings of the command line.
    hub_config: Any = None
    cost: ModelCostConfig | None = None

    def __post_init__(self) -> None:
        """Checks the ranges and that the sizes are a mapping; reads the escapes in stop strings."""
        self.stop, self.stop_without_template = unescaped(self.stop), unescaped(self.stop_without_template)
        require(self.max_new_tokens >= 1, "model.max_new_tokens", f"{self.max_new_tokens}; at least 1.")
        for name in ("grpo_lr", "grpo_adapter_lr"):
            require(getattr(self, name) > 0, f"model.{name}", f"{getattr(self, name)}; above 0.")
        require(self.grpo_beta >= 0, "model.grpo_beta", f"{self.grpo_beta}; 0 or more.")
        require(self.recompute_every >= 1, "model.recompute_every", f"{self.recompute_every}; at least 1.")
        for name in ("stop", "stop_without_template"):
            require("" not in getattr(self, name), f"model.{name}", '"" occurs in every answer; leave it out.')
        problem = f"{self.hub_config}; expected the fields of the model's config.json, each as name: value."
        require(self.hub_config is None or isinstance(self.hub_config, dict), "model.hub_config", problem)


@dataclass
class LoRAConfig:
    """Low-rank adapters that are trained instead of the model's weights."""

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
    """Human-annotated questions: the seed questions of synthesis and the training set of supervised stages."""

    path: InputPath


class Split(Enum):
    """The part of the rare diseases that synthetic questions are about."""

    train = "train"
    held_out = "held_out"


@dataclass
class SynthesisConfig:
    """Number, kind and limits of synthetic questions, and the benchmark that they must not repeat."""

    num_questions: int
    rare_share: float
    held_out_share: float
    split: Split
    num_passages: int
    num_options: int
    min_stem_words: int
    max_stem_words: int
    max_option_words: int
    max_copied_words: int
    max_draws_per_question: int
    prompt_path: InputPath
    benchmark_path: InputPath | None

    def __post_init__(self) -> None:
        """Checks the ranges."""
        require(
            0 <= self.rare_share <= 1,
            "synthesis.rare_share",
            f"{self.rare_share:g}; expected a fraction of the questions, a number from 0 to 1.",
        )
        is_share = 0 <= self.held_out_share < 1
        require(is_share, "synthesis.held_out_share", f"{self.held_out_share}; 0 or more, and less than 1.")
        require(
            self.split is Split.train or self.held_out_share > 0,
            "synthesis.split",
            "held_out, but no disease is held out; set synthesis.held_out_share as well.",
        )
        require(
            self.split is Split.train or self.rare_share == 1,
            "synthesis.split",
            f"held_out, but synthesis.rare_share={self.rare_share}; only rare diseases are held out, so set it to 1.",
        )
        require(self.num_questions >= 1, "synthesis.num_questions", f"{self.num_questions}; at least 1.")
        require(self.num_passages >= 0, "synthesis.num_passages", f"{self.num_passages}; at least 0.")
        require(2 <= self.num_options <= 26, "synthesis.num_options", f"{self.num_options}; 2 to 26.")
        draws = self.max_draws_per_question
        require(draws >= 1, "synthesis.max_draws_per_question", f"{draws}; at least 1.")


@dataclass
class AuditingConfig:
    """Sample size of an audit, the judge's prompt template, and the experts' filled sheets."""

    num_questions: int
    prompt_path: InputPath
    verdicts: list[InputPath]

    def __post_init__(self) -> None:
        """Checks the ranges."""
        require(self.num_questions >= 1, "audit.num_questions", f"{self.num_questions}; at least 1.")
        names = [Path(file).stem for file in self.verdicts]
        require(
            len({*names, "judge", "second judge", "experts"}) == len(names) + 3,
            "audit.verdicts",
            f"{names}; they name their raters, so their names are distinct and none of judge, second judge, experts.",
        )


@dataclass
class LabelingConfig:
    """Votes per question, their sampling, and the valid share and agreement at which a pseudo-label is kept."""

    num_votes: int
    temperature: float
    max_new_tokens: int
    min_agreement: float
    max_agreement: float
    min_valid_share: float
    uses_truth: bool
    uses_answer: bool
    questions_per_chunk: int

    def __post_init__(self) -> None:
        """Checks the ranges."""
        problem = "true, but labeling.uses_truth replaces answers by the hidden truth; take one of the two."
        require(not (self.uses_answer and self.uses_truth), "labeling.uses_answer", problem)
        require(self.num_votes >= 2, "labeling.num_votes", f"{self.num_votes}; a majority needs at least 2 votes.")
        require(self.temperature > 0, "labeling.temperature", f"{self.temperature}; votes are sampled, so above 0.")
        require(
            0 <= self.min_agreement <= self.max_agreement <= 1,
            "labeling.min_agreement, labeling.max_agreement",
            f"{self.min_agreement} to {self.max_agreement}; expected 0 <= min <= max <= 1.",
        )
        require(
            0 <= self.min_valid_share <= 1, "labeling.min_valid_share", f"{self.min_valid_share}; a fraction, 0 to 1."
        )


@dataclass
class RetrievalQuestionsConfig:
    """Questions with judged documents, and the fields that make the query."""

    path: InputPath
    query_fields: list[str]

    def __post_init__(self) -> None:
        """Checks that there is at least one query field."""
        require(bool(self.query_fields), "questions.query_fields", "is empty; name at least one field.")


@dataclass
class QrelsConfig:
    """Relevance judgements of documents."""

    path: InputPath


@dataclass
class DataConfig:
    """The labelled questions of one training stage."""

    path: InputPath


@dataclass
class FurtherSourceConfig:
    """A further source of the questions of a training stage.

    Attributes:
        path: Its question file.
        num_prompts: The number of its questions in each step.
        rewards: The names of the rewards of its questions; None for all.
    """

    path: InputPath
    num_prompts: int
    # The default is here, because items of a mapping of any names have no file in `conf/`.
    rewards: list[str] | None = None


@dataclass
class TrainDataConfig:
    """The questions of one training stage, from one source or several."""

    path: InputPath
    rewards: list[str] | None
    further: dict[str, FurtherSourceConfig]

    def __post_init__(self) -> None:
        """Checks names and ranges."""
        for name, source in self.further.items():
            problem = f"{name}: names a source in question ids; expected letters, digits and _."
            require(re.fullmatch(r"\w+", name) is not None, "data.further", problem)
            require(source.num_prompts >= 1, f"data.further.{name}.num_prompts", f"{source.num_prompts}; at least 1.")


class KeptModel(Enum):
    """Model that a training stage ends with: the last, or the best on the held-out questions."""

    last = "last"
    best = "best"


@dataclass
class ProbeConfig:
    """Held-out questions that training is evaluated on, early stopping, and the model that training ends with."""

    path: InputPath
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
    """Supervised fine-tuning: number of steps, batch sizes and limits."""

    num_steps: int
    num_rows_per_step: int
    max_tokens: int | None
    micro_batch_tokens: int
    max_grad_norm: float
    max_skipped_steps: int

    def __post_init__(self) -> None:
        """Checks the range."""
        number = self.max_tokens
        require(number is None or number >= 2, "sft.max_tokens", f"{number}; at least 2, or null for the context.")


@dataclass
class ScratchConfig:
    """A policy that starts from random weights, with its own tokenizer."""

    family: str
    vocab_size: int
    has_phrases: bool
    architecture: Node
