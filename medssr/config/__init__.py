"""The typed schema of every command: a typo or a wrong type fails when the configuration is composed.

`groups` holds one dataclass per configuration group, `roots` one per command; `__post_init__` holds the checks that
span fields. Imports no torch.
"""

from medssr.config.composition import register, subconfig
from medssr.config.groups import (
    AuditingConfig,
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
    AuditConfig,
    CompareConfig,
    EvaluateConfig,
    PipelineConfig,
    PseudoLabelConfig,
    SynthesizeConfig,
    TrainConfig,
    WarmStartConfig,
)

__all__ = [
    "SCHEMAS",
    "AuditConfig",
    "AuditingConfig",
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
