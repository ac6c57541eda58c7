"""The stages of medssr-pipeline: which questions they ask, and the method by which they train."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from medssr.config.catalog import CONF_DIR, options_of
from medssr.config.groups import ModelConfig, Node
from medssr.config.messages import wrong_value
from medssr.errors import InputError
from medssr.utils.instantiate import instantiate
from medssr.utils.nearest import did_you_mean

if TYPE_CHECKING:
    from medssr.artifacts import Artifact
    from medssr.config.roots import PipelineConfig

Settings = TypeVar("Settings")


class StageQuestions(Enum):
    """Which questions a training stage asks."""

    pseudo_labelled = "pseudo_labelled"
    human = "human"
    mixed = "mixed"


@dataclass
class StageConfig:
    """One training stage of the pipeline.

    Attributes:
        name: Tells it from the other stages; the seeds of its rollouts derive from it.
        questions: Which questions it asks.
        method: How it trains: the name of a file in `conf/method/`, or the `_target_` of a class with its arguments.
        settings: What differs from the settings that the method takes from the pipeline.
    """

    name: str
    questions: StageQuestions
    # The items of a list have no file in `conf/` for their defaults.
    method: Any = "grpo"
    settings: Node = field(default_factory=dict)


class StageMethod(Protocol):
    """How a stage trains. A new one is a class with these methods, and a file in `conf/method/` with its `_target_`."""

    def configure(self, config: PipelineConfig, stage: StageConfig, model: ModelConfig, questions: Path) -> Any:
        """Returns the typed configuration of the step that trains; its `task_name` names the step and its folder.

        Called when the pipeline's configuration is composed as well, so that it refuses what does not fit.

        Args:
            config: The pipeline's configuration.
            stage: The stage.
            model: What the stage starts from.
            questions: The file of its questions.

        Raises:
            InputError: When the stage or the pipeline has settings that the method does not take.
        """
        ...

    def run(self, config: Any) -> Artifact:
        """Trains as `configure` said; the artefact holds `model/` (a Hugging Face checkpoint) and `metrics.csv`."""
        ...

    def describe(self, name: str, config: Any) -> list[tuple[str, str]]:
        """Returns what `--info` says of the stage as (what, how much); the first row is called `name`."""
        ...


def stage_method(stage: StageConfig) -> StageMethod:
    """Returns the method of a stage.

    Raises:
        InputError: When `conf/method/` has no file of the name, or the class cannot be made.
    """
    key = f"stages, {stage.name}.method"
    node = stage.method
    if isinstance(node, str):
        names = options_of("method")
        if node not in names:
            problem = f"{node}; expected one of {', '.join(names)}, or {{_target_: CLASS}}.{did_you_mean(node, names)}"
            raise InputError(f"{key}: {problem}")
        import yaml

        node = yaml.safe_load((CONF_DIR / "method" / f"{node}.yaml").read_text(encoding="utf-8"))
    if not (isinstance(node, Mapping) and "_target_" in node):
        raise InputError(f"{key}: {node}; expected the name of a method, or {{_target_: CLASS}} with its arguments.")
    method: StageMethod = instantiate(node, key)
    return method


def method_name(stage: StageConfig) -> str:
    """Returns what to call the method of a stage: its name, or that of its class."""
    return stage.method if isinstance(stage.method, str) else str(stage.method["_target_"]).rpartition(".")[2]


def with_settings(settings: Settings, stage: StageConfig, group: str) -> Settings:
    """Returns the settings of a group with what a stage changes of them, checked like any other.

    Raises:
        InputError: When the stage sets what the group does not have, or a value of the wrong type.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    # Another class has other parameters, so a node with a `_target_` replaces the node that it changes.
    replaced = {
        name: dict(node) for name, node in stage.settings.items() if isinstance(node, Mapping) and "_target_" in node
    }
    try:
        base = OmegaConf.structured(settings)
        for name, node in replaced.items():
            OmegaConf.update(base, name, node, merge=False)
        merged = OmegaConf.merge(base, dict(stage.settings))
    except OmegaConfBaseException as error:
        names = [f"{group}.{each.name}" for each in fields(settings)]  # type: ignore[arg-type]
        raise InputError(f"stages, {stage.name}, {wrong_value(error, group, names)}") from error
    result: Settings = OmegaConf.to_object(merged)  # type: ignore[assignment]
    return result
