"""The typed schema of every command: a typo or a wrong type fails when the configuration is composed.

`groups` holds one dataclass per configuration group, `roots` one per command; `__post_init__` holds the checks that
span fields. Imports no torch.
"""

from medssr.config.composition import register, subconfig
from medssr.config.groups import (
    BenchmarkConfig,
    DataConfig,
    DemonstrationsConfig,
    Dtype,
    ExtrasConfig,
    GRPOConfig,
    LabelingConfig,
    ModelConfig,
    OptimConfig,
    PathsConfig,
    QrelsConfig,
    RetrievalQuestionsConfig,
    ScaleRewards,
    ScratchConfig,
    SeedsConfig,
    SFTConfig,
    StageConfig,
    StageQuestions,
    SynthesisConfig,
    apply_overrides,
)
from medssr.config.roots import (
    SCHEMAS,
    CompareConfig,
    EvaluateConfig,
    PipelineConfig,
    PseudoLabelConfig,
    RetrieveConfig,
    SynthesizeConfig,
    TrainConfig,
    WarmStartConfig,
)

__all__ = [
    "SCHEMAS",
    "BenchmarkConfig",
    "CompareConfig",
    "DataConfig",
    "DemonstrationsConfig",
    "Dtype",
    "EvaluateConfig",
    "ExtrasConfig",
    "GRPOConfig",
    "LabelingConfig",
    "ModelConfig",
    "OptimConfig",
    "PathsConfig",
    "PipelineConfig",
    "PseudoLabelConfig",
    "QrelsConfig",
    "RetrievalQuestionsConfig",
    "RetrieveConfig",
    "SFTConfig",
    "ScaleRewards",
    "ScratchConfig",
    "SeedsConfig",
    "StageConfig",
    "StageQuestions",
    "SynthesisConfig",
    "SynthesizeConfig",
    "TrainConfig",
    "WarmStartConfig",
    "apply_overrides",
    "register",
    "subconfig",
]
