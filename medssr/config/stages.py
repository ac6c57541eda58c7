"""The training stages of medssr-pipeline: their questions and their training methods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from medssr.config.catalog import CONF_DIR, options_of
from medssr.config.groups import FurtherSourceConfig, ModelConfig, Node, TrainDataConfig
from medssr.config.messages import wrong_value
from medssr.errors import InputError
from medssr.utils.instantiate import instantiate
from medssr.utils.nearest import did_you_mean

if TYPE_CHECKING:
    from medssr.config.roots import PipelineConfig
    from medssr.manifests import Artifact

Settings = TypeVar("Settings")


class StageQuestions(Enum):
    """The kind of questions that a training stage uses.

    `synthetic` ones have no labels; `demonstrations` are those of the group of this name.
    """

    synthetic = "synthetic"
    pseudo_labelled = "pseudo_labelled"
    human = "human"
    mixed = "mixed"
    demonstrations = "demonstrations"


@dataclass
class StageSourceConfig:
    """A further source of a stage's questions.

    Attributes:
        questions: The kind of its questions.
        num_prompts: The number of its questions in each step.
        rewards: The names of the rewards of its questions, of those of the stage; None for all.
    """

    questions: StageQuestions
    num_prompts: int
    # The default is here, because items of a mapping of any names have no file in `conf/`.
    rewards: list[str] | None = None


@dataclass
class StageConfig:
    """One training stage of the pipeline.

    Attributes:
        name: Unique name of the stage; the seeds of its rollouts derive from it.
        questions: The kind of its questions.
        method: Training method: the name of a file in `conf/method/`, or the `_target_` of a class with its arguments.
        settings: Changes to the settings that the method takes from the pipeline.
        rewards: The names of the rewards of its questions, of those of the stage; None for all.
        further: Further sources of its questions by name.
        relabels: Whether the policy with which the stage begins votes again on the synthetic questions; this stage and
            those after it are trained on these labels.
    """

    name: str
    questions: StageQuestions
    # The default is here, because items of a list have no file in `conf/`.
    method: Any = "grpo"
    settings: Node = field(default_factory=dict)
    rewards: list[str] | None = None
    further: dict[str, StageSourceConfig] = field(default_factory=dict)
    relabels: bool = False

    @property
    def kinds(self) -> list[StageQuestions]:
        """The kinds of questions of its sources."""
        return [self.questions, *(source.questions for source in self.further.values())]

    @property
    def uses_votes(self) -> bool:
        """Whether it uses synthetic questions with labels of a vote."""
        return not {StageQuestions.pseudo_labelled, StageQuestions.mixed}.isdisjoint(self.kinds)

    def data(self, files: Mapping[StageQuestions, Path]) -> TrainDataConfig | None:
        """Returns its sources of questions; None where it is trained on demonstrations.

        Args:
            files: The question file of each kind.
        """
        if self.questions is StageQuestions.demonstrations:
            return None
        further = {
            name: FurtherSourceConfig(str(files[source.questions]), source.num_prompts, source.rewards)
            for name, source in self.further.items()
        }
        return TrainDataConfig(str(files[self.questions]), self.rewards, further)


# Question files where none is known yet, to check a stage's settings.
UNKNOWN_FILES: Mapping[StageQuestions, Path] = dict.fromkeys(StageQuestions, Path())


class StageMethod(Protocol):
    """A training method of a stage: a class with these methods, and a file in `conf/method/` with its `_target_`."""

    def configure(
        self, config: PipelineConfig, stage: StageConfig, model: ModelConfig, data: TrainDataConfig | None
    ) -> Any:
        """Returns the typed configuration of the training step; its `task_name` names the step and its folder.

        It is also called when the pipeline's configuration is composed, to reject invalid settings early.

        Args:
            config: The pipeline's configuration.
            stage: The stage.
            model: The model that the stage starts from.
            data: The stage's sources of questions; None for a stage on demonstrations.

        Raises:
            InputError: When the stage or the pipeline has settings that the method does not accept.
        """
        ...

    def run(self, config: Any) -> Artifact:
        """Trains and returns the artefact, with `model/` (a Hugging Face checkpoint) and `metrics.csv`."""
        ...

    def describe(self, name: str, config: Any) -> list[tuple[str, str]]:
        """Returns the rows (name, value) that `--info` shows for the stage; the first row is called `name`."""
        ...


def stage_method(stage: StageConfig) -> StageMethod:
    """Returns the method of a stage.

    Raises:
        InputError: When `conf/method/` has no file of this name, or the class cannot be instantiated.
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
    """Returns the name of a stage's method, or of its class."""
    return stage.method if isinstance(stage.method, str) else str(stage.method["_target_"]).rpartition(".")[2]


def with_settings(settings: Settings, stage: StageConfig, group: str) -> Settings:
    """Returns the settings of a group with the changes of a stage, with all checks done.

    Raises:
        InputError: When the stage sets a field that the group does not have, or a value of the wrong type.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    for name, value in stage.settings.items():
        if isinstance(value, str) and options_of(f"{group}/{name}"):
            problem = f"{value}; a stage takes the class with its parameters: {{_target_: CLASS, ...}}."
            raise InputError(f"stages, {stage.name}, {group}.{name}: {problem}")
    # Another class has other parameters, so a node with a `_target_` replaces the whole node.
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
