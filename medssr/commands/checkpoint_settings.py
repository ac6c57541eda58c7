"""Reads the model of a finished training and the settings it was trained with. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medssr.config import Dtype, ModelConfig, SFTTrainConfig, TrainConfig
from medssr.config.catalog import group_of
from medssr.config.groups import Node
from medssr.errors import InputError
from medssr.manifests import check_input, pointed_to
from medssr.utils.files import read_record, write_json_atomically

if TYPE_CHECKING:
    from omegaconf import DictConfig

# Stored in the artefact of a training: how its model was loaded and sampled from.
SETTINGS_FILE = "settings.json"
_MODEL_FOLDER, _ADAPTER_FOLDER = "model", "adapter"
_RESULTS_FILE = "results.json"
_DTYPES = ("dtype", "save_dtype")  # fields of a model's settings


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained model with its settings, and the engine that sampled from it (None if nothing was sampled)."""

    model: ModelConfig
    rollout: Node | None


def write_settings(config: TrainConfig | SFTTrainConfig, directory: Path) -> None:
    """Writes the settings that `read_trained` reads to the artefact's folder."""
    model = asdict(replace(config.model, hub_config=None, cost=None))
    model |= {name: None if model[name] is None else model[name].value for name in _DTYPES}
    if Path(config.model.path).exists():  # the base of adapters is read from there, wherever the next command starts
        model["path"] = str(Path(config.model.path).absolute())
    rollout = config.rollout if isinstance(config, TrainConfig) else None
    write_json_atomically(directory / SETTINGS_FILE, {"model": model, "rollout": rollout})


def read_trained(folder: Path) -> Trained:
    """Returns the model of a training, with the settings of that training.

    Args:
        folder: An artefact of medssr-train or medssr-sft, or a run folder of one of these or of medssr-pipeline,
            which stands for the model of its last stage.

    Raises:
        InputError: When the folder is none of these, the training has not finished, or its model was removed.
    """
    artifact = _artifact_of(folder)
    if not (artifact / "manifest.json").is_file():
        problem = "has no manifest.json, so the training has not finished; the same command goes on with it."
        raise InputError.at(artifact, problem, field="run")
    file = artifact / SETTINGS_FILE
    if not file.is_file():
        problem = f"there is no such file; name the model by model.path={artifact / _MODEL_FOLDER} and its settings."
        raise InputError.at(file, problem, field="run")
    check_input(file)  # the model itself is checked where it is an input of a step
    path = artifact / _MODEL_FOLDER
    settings = read_record(file, f"Name the model by model.path={path} and its settings.", model=dict)
    needed = [field.name for field in fields(ModelConfig) if field.default is MISSING]
    lacking = [name for name in needed if name not in settings["model"]]
    if lacking:
        problem = f"lacks {', '.join(lacking)}, so an older version wrote it; name the model by model.path={path}."
        raise InputError.at(file, problem, field="run")
    model = ModelConfig(**settings["model"] | {name: _dtype(settings["model"][name]) for name in _DTYPES})
    if not path.is_dir():
        raise InputError.at(path, "there is no such folder; the model has been removed.", field="run")
    if not Path(model.prompt_path).is_file():
        problem = f"the model was asked by {model.prompt_path}, which has gone; name a copy by model.prompt_path=FILE."
        raise InputError.at(file, problem, field="model.prompt_path")
    trained = trained_model(model, artifact)
    if trained.adapter_path is not None and Path(trained.path).is_absolute() and not Path(trained.path).exists():
        problem = f"the base model {trained.path} has gone; the merged model is in {path}: model.path={path}."
        raise InputError.at(file, problem, field="model.path")
    return Trained(trained, settings["rollout"])


def _dtype(name: str | None) -> Dtype | None:
    return None if name is None else Dtype(name)


def trained_model(start: ModelConfig, artifact: Path) -> ModelConfig:
    """Returns the settings of the model that a training made.

    If adapters were trained, that is the model they were trained on with these adapters, as it was in training; the
    merged model of the artefact is for other programs.

    Args:
        start: The model that the training started from.
        artifact: The artefact of the training.
    """
    adapters = artifact / _MODEL_FOLDER / _ADAPTER_FOLDER
    if adapters.is_dir():
        return replace(start, adapter_path=str(adapters))
    return replace(start, path=str(artifact / _MODEL_FOLDER), revision=None, adapter_path=None)


def with_run(config: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """Returns a composed configuration with the model of its `run`; settings of the command line are kept.

    Args:
        config: The configuration. Its field `run` is the run's folder, or None for no change.
        overrides: The overrides of the command line.

    Raises:
        InputError: As `read_trained`, and when the command line chooses another model as well.
    """
    from omegaconf import OmegaConf

    if config.run is None:
        return config
    trained = read_trained(Path(config.run))
    given = {group_of(override) for override in overrides}
    if "model" in given:
        raise InputError(f"model: run={config.run} brings its model; leave one of the two out.")
    changed = config.copy()
    for name, value in asdict(trained.model).items():
        if f"model.{name}" not in given:
            OmegaConf.update(changed, f"model.{name}", value)
    if trained.rollout is not None and "rollout" not in given:
        rollout = _with_given(trained.rollout, config.rollout, given)
        OmegaConf.update(changed, "rollout", rollout, merge=False, force_add=True)
    return changed


# How the commands that take the model of a training by `run` adapt a composed configuration.
ADAPT_BY_COMMAND = dict.fromkeys(("evaluate", "pseudo_label"), with_run)


def _with_given(trained: Node, composed: Mapping[str, Any], given: set[str]) -> Node:
    """Returns the engine settings of a training, updated by those of the command line."""
    names = [key.removeprefix("rollout.") for key in given if key.startswith("rollout.")]
    unknown = [name for name in names if name not in trained]
    if unknown:
        problem = f"the run sampled with {trained['_target_']}, which has no such setting; choose rollout=... as well."
        raise InputError(f"rollout.{unknown[0]}: {problem}")
    return {**trained, **{name: composed[name] for name in names}}


def _artifact_of(folder: Path) -> Path:
    """Returns the artefact of the training: the folder itself, or the artefact that it points to."""
    if not folder.is_dir():
        raise InputError.at(folder, "there is no such folder; give the folder of a finished training.", field="run")
    made = pointed_to(folder)
    if made is not None and _is_training(made):
        return made
    if (folder / _RESULTS_FILE).is_file():
        return _last_stage(folder)
    if _is_training(folder):
        return folder
    raise InputError.at(
        folder,
        "holds no finished training; expected a run folder of medssr-train, medssr-sft or medssr-pipeline, "
        "or the artefact of a training.",
        field="run",
    )


def _is_training(artifact: Path) -> bool:
    """Returns whether an artefact belongs to a training, finished or not, of any method."""
    return (artifact / SETTINGS_FILE).is_file() or (artifact / "checkpoints").is_dir()


def _last_stage(folder: Path) -> Path:
    """Returns the artefact of the last stage of a run of the pipeline."""
    from medssr.reports.runs import read_run

    stages = read_run(folder).record.training
    if not stages:
        raise InputError.at(
            folder / _RESULTS_FILE, "names no stage of training, so no model was made.", field="training"
        )
    return (folder / stages[-1].metrics_file).parent
