"""medssr: medical reasoning by self-supervised and supervised RL on synthetic questions.

From Python, `medssr.compose` gives the configuration of a command, and `medssr.train` and the like run it:

    config = medssr.compose("train", ["model=tiny_qwen3", "data.path=labelled.jsonl"])
    result = medssr.train(config)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medssr.api.composing import compose
    from medssr.api.results import (
        CompareResult,
        EvaluateResult,
        PipelineResult,
        PseudoLabelResult,
        StepResult,
        SynthesizeResult,
        TrainingResult,
    )
    from medssr.api.steps import compare, evaluate, pipeline, pseudo_label, sft, synthesize, train
    from medssr.errors import InputError

__version__ = "0.1.0"

__all__ = [
    "CompareResult",
    "EvaluateResult",
    "InputError",
    "PipelineResult",
    "PseudoLabelResult",
    "StepResult",
    "SynthesizeResult",
    "TrainingResult",
    "compare",
    "compose",
    "evaluate",
    "pipeline",
    "pseudo_label",
    "sft",
    "synthesize",
    "train",
]


def __getattr__(name: str) -> Any:
    """Imports what is asked for, so that `import medssr` alone is fast."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "compose":
        home = "medssr.api.composing"
    elif name == "InputError":
        home = "medssr.errors"
    else:
        home = "medssr.api.results" if name.endswith("Result") else "medssr.api.steps"
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
