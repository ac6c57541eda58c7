"""The typed configuration groups. Fields have no defaults: each default stands once, in `conf/`, with a comment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from medssr.errors import InputError

# A node with a `_target_`: each option brings its own arguments.
Node = dict[str, Any]


class Dtype(Enum):
    """The number format of the weights."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


class ScaleRewards(Enum):
    """What the centred rewards of a group are divided by: the group's deviation, the batch's, or nothing."""

    group = "group"
    batch = "batch"
    none = "none"


class LossType(Enum):
    """The policy loss; docs/algorithms.md has the formula and the paper of each."""

    dapo = "dapo"
    grpo = "grpo"
    bnpo = "bnpo"
    dr_grpo = "dr_grpo"
    gspo = "gspo"
    cispo = "cispo"
    sapo = "sapo"


class KLEstimator(Enum):
    """How the divergence from the reference policy is estimated from the sampled token alone."""

    k1 = "k1"
    k2 = "k2"
    k3 = "k3"


class KLPlacement(Enum):
    """Where the divergence from the reference policy counts: as a term of the loss, or taken off the reward."""

    loss = "loss"
    reward = "reward"


class Truncated(Enum):
    """What becomes of a completion that was cut: judged by the rewards like any other, or left out."""

    keep = "keep"
    mask = "mask"


class StageQuestions(Enum):
    """Which questions a training stage asks."""

    pseudo_labelled = "pseudo_labelled"
    human = "human"
    mixed = "mixed"


def _require(is_met: bool, field: str, message: str) -> None:
    if not is_met:
        raise InputError(f"{field}: {message}")


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


@dataclass
class ModelConfig:
    """A policy: Hugging Face weights with their tokenizer, and how questions are put to it."""

    path: str
    revision: str | None
    dtype: Dtype
    attn_implementation: str
    trust_remote_code: bool
    prompt_path: str


@dataclass
class SeedsConfig:
    """Human-annotated questions: the seeds of synthesis and the training set of supervised stages."""

    path: str


@dataclass
class SynthesisConfig:
    """How many questions are synthesised, of which kind, and what they must not repeat."""

    num_questions: int
    rare_share: float
    top_k: int
    num_options: int
    min_stem_words: int
    max_stem_words: int
    max_option_words: int
    max_copied_words: int
    max_draws_per_question: int
    prompt_path: str
    benchmark_path: str

    def __post_init__(self) -> None:
        """Checks the ranges."""
        _require(
            0 <= self.rare_share <= 1,
            "synthesis.rare_share",
            f"{self.rare_share} is no share; alpha lies between 0 and 1.",
        )
        _require(self.num_questions >= 1, "synthesis.num_questions", f"{self.num_questions}; at least 1.")
        _require(self.top_k >= 0, "synthesis.top_k", f"{self.top_k}; at least 0.")
        _require(2 <= self.num_options <= 26, "synthesis.num_options", f"{self.num_options}; 2 to 26.")
        draws = self.max_draws_per_question
        _require(draws >= 1, "synthesis.max_draws_per_question", f"{draws}; at least 1.")


@dataclass
class AuditingConfig:
    """How many questions are audited, what a judge is asked, and what experts have said."""

    num_questions: int
    prompt_path: str
    verdicts: list[str]

    def __post_init__(self) -> None:
        """Checks the ranges."""
        _require(self.num_questions >= 1, "audit.num_questions", f"{self.num_questions}; at least 1.")
        names = [Path(file).stem for file in self.verdicts]
        _require(
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
    questions_per_chunk: int

    def __post_init__(self) -> None:
        """Checks the ranges."""
        _require(self.num_votes >= 2, "labeling.num_votes", f"{self.num_votes}; a majority needs at least 2 votes.")
        _require(self.temperature > 0, "labeling.temperature", f"{self.temperature}; votes are sampled, so above 0.")
        _require(
            0 <= self.min_agreement <= self.max_agreement <= 1,
            "labeling.min_agreement, labeling.max_agreement",
            f"{self.min_agreement} to {self.max_agreement}; expected 0 <= min <= max <= 1.",
        )


@dataclass
class BenchmarkConfig:
    """The questions of an evaluation and how they are sampled."""

    path: str
    num_samples: int
    temperature: float
    top_p: float
    top_k: int
    max_new_tokens: int
    questions_per_chunk: int

    def __post_init__(self) -> None:
        """Checks the ranges."""
        _require(self.num_samples >= 1, "benchmark.num_samples", f"{self.num_samples}; at least 1.")
        _require(self.temperature > 0, "benchmark.temperature", f"{self.temperature}; above 0.")
        _require(0 < self.top_p <= 1, "benchmark.top_p", f"{self.top_p}; above 0, at most 1.")


@dataclass
class RetrievalQuestionsConfig:
    """Questions with judged documents, and what of a question is asked."""

    path: str
    query_fields: list[str]

    def __post_init__(self) -> None:
        """Checks that something is asked."""
        _require(bool(self.query_fields), "questions.query_fields", "is empty; name at least one field.")


@dataclass
class QrelsConfig:
    """The judgements."""

    path: str


@dataclass
class DataConfig:
    """The labelled questions of one training stage."""

    path: str


@dataclass
class GRPOConfig:
    """The algorithm: what is sampled per step, how rewards become advantages, how far a step may go."""

    num_steps: int
    num_prompts_per_step: int
    num_generations: int
    temperature: float
    max_new_tokens: int
    truncated: Truncated
    overlong_buffer: int
    overlong_penalty: float
    micro_batch_tokens: int
    head_chunk_tokens: int | None
    num_iterations: int
    num_prompts_per_update: int | None
    loss_type: LossType
    epsilon: float
    epsilon_high: float
    dual_clip: float | None
    sapo_temperature_positive: float
    sapo_temperature_negative: float
    importance_cap: float | None
    beta: float
    kl_estimator: KLEstimator
    kl_placement: KLPlacement
    scale_rewards: ScaleRewards
    max_grad_norm: float

    def __post_init__(self) -> None:
        """Checks the ranges."""
        self._check_sampling()
        self._check_update()
        self._check_loss()

    def _check_sampling(self) -> None:
        _require(
            self.num_generations >= 2,
            "grpo.num_generations",
            f"{self.num_generations}; an advantage compares the completions of a group, so at least 2.",
        )
        _require(self.num_prompts_per_step >= 1, "grpo.num_prompts_per_step", f"{self.num_prompts_per_step}.")
        _require(self.num_steps >= 1, "grpo.num_steps", f"{self.num_steps}; at least 1.")
        _require(self.temperature > 0, "grpo.temperature", f"{self.temperature}; above 0.")
        _require(
            0 <= self.overlong_buffer <= self.max_new_tokens,
            "grpo.overlong_buffer",
            f"{self.overlong_buffer}; 0 to grpo.max_new_tokens ({self.max_new_tokens}).",
        )
        _require(self.overlong_penalty >= 0, "grpo.overlong_penalty", f"{self.overlong_penalty}; at least 0.")

    def _check_update(self) -> None:
        _require(self.num_iterations >= 1, "grpo.num_iterations", f"{self.num_iterations}; at least 1.")
        size = self.num_prompts_per_update
        _require(
            size is None or (size >= 1 and self.num_prompts_per_step % size == 0),
            "grpo.num_prompts_per_update",
            f"{size} does not divide grpo.num_prompts_per_step ({self.num_prompts_per_step}).",
        )
        chunk = self.head_chunk_tokens
        _require(chunk is None or chunk >= 1, "grpo.head_chunk_tokens", f"{chunk}; at least 1, or null.")

    def _check_loss(self) -> None:
        _require(self.beta >= 0, "grpo.beta", f"{self.beta}; at least 0.")
        _require(0 < self.epsilon < 1, "grpo.epsilon", f"{self.epsilon}; between 0 and 1.")
        _require(self.epsilon_high > 0, "grpo.epsilon_high", f"{self.epsilon_high}; above 0.")
        is_clipped = self.loss_type not in (LossType.cispo, LossType.sapo)
        if is_clipped and self.dual_clip is not None:
            highest = 1 + self.epsilon_high
            _require(
                self.dual_clip > highest,
                "grpo.dual_clip",
                f"{self.dual_clip}; above 1 + grpo.epsilon_high ({highest:g}), or null.",
            )
        cap = self.importance_cap
        _require(cap is None or cap >= 1, "grpo.importance_cap", f"{cap}; at least 1, or null.")
        for field in ("sapo_temperature_positive", "sapo_temperature_negative"):
            _require(getattr(self, field) > 0, f"grpo.{field}", f"{getattr(self, field)}; above 0.")


@dataclass
class OptimConfig:
    """Optimiser and learning-rate schedule, as partial instantiations."""

    optimizer: Node
    scheduler: Node


@dataclass
class StageConfig:
    """One training stage of the pipeline."""

    name: str
    questions: StageQuestions
    grpo: Node


@dataclass
class DemonstrationsConfig:
    """Questions with completions to imitate: a file, or the built-in facts as the tiny policies learn them."""

    path: str | None
    num_rows: int
    rare_belief: list[float]
    rare_weight: float


@dataclass
class SFTConfig:
    """Supervised fine-tuning: how long and on how much at a time."""

    num_steps: int
    num_rows_per_step: int
    micro_batch_tokens: int
    max_grad_norm: float


@dataclass
class ScratchConfig:
    """A policy that starts from random weights, with a tokenizer of its own."""

    family: str
    vocab_size: int
    architecture: Node


def apply_overrides(config: GRPOConfig, overrides: Mapping[str, Any]) -> GRPOConfig:
    """Returns the configuration with a stage's own values, checked like any other.

    Raises:
        InputError: When an override names no field or has the wrong type.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        merged = OmegaConf.merge(OmegaConf.structured(config), dict(overrides))
    except OmegaConfBaseException as error:
        raise InputError(f"stages, grpo.{error.full_key}: {str(error).splitlines()[0]}") from error
    result = OmegaConf.to_object(merged)
    assert isinstance(result, GRPOConfig)
    return result
