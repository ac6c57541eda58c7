"""Converts composed configurations to typed ones, and derives a command's configuration from a larger one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from medssr.config.arrangements import samples_with_trained_model
from medssr.config.local_paths import absolute, with_local_paths
from medssr.config.messages import wrong_value
from medssr.config.roots import SCHEMAS
from medssr.errors import InputError
from medssr.resources import RESOURCES
from medssr.utils.naming import job_name, safe_name

if TYPE_CHECKING:
    from omegaconf import DictConfig

Schema = TypeVar("Schema")


def subconfig(config: Any, schema: type[Schema], **values: Any) -> Schema:
    """Returns the configuration of a step, from the fields it shares with a larger configuration and from `values`.

    Example:
        The pipeline runs a step with `subconfig(config, EvaluateConfig, task_name="evaluate", model=trained)`.
    """
    names = [field.name for field in fields(schema)]  # type: ignore[arg-type]
    return schema(**{name: values[name] if name in values else getattr(config, name) for name in names})


def register(*commands: str) -> None:
    """Registers the schemas of commands with Hydra, and the resolvers with OmegaConf.

    Args:
        commands: The commands whose schemas are registered; all if empty. Hydra copies its whole store for each group
            of a command, so each further schema makes a command start more slowly.
    """
    _register_resolvers()
    store = ConfigStore.instance()
    for name in commands or SCHEMAS:
        store.store(name=f"{name}_schema", node=SCHEMAS[name])


def _if_other_engine_samples(value: float, *, _root_: Any) -> float | None:
    """Returns the value if completions are sampled by another engine than the trained model, else None.

    A root without the group `rollout` exports settings for frameworks that sample with another engine.
    """
    rollout = OmegaConf.select(_root_, "rollout")
    return None if rollout is not None and samples_with_trained_model(rollout) else value


def _learning_rate_of_model(*, _root_: Any) -> float:
    """Returns the learning rate that suits the model's weights, or its adapters where these are trained."""
    name = "grpo_lr" if OmegaConf.select(_root_, "lora") is None else "grpo_adapter_lr"
    return float(OmegaConf.select(_root_, f"model.{name}", throw_on_missing=True))


def _register_resolvers() -> None:
    """Registers the resolvers that `${...}` in `conf/` calls."""
    resolvers: dict[str, Callable[..., Any]] = {
        # A file that ships with the package.
        "resource": lambda name: str(RESOURCES / name),
        # A file or folder within an installed package; the name itself where the package is not installed.
        "installed": _installed,
        # A path as it is in any folder, with the home folder in place of a leading ~. The folder of the launch is not
        # ${hydra:runtime.cwd}, which a sweep cannot resolve when it makes its folder.
        "absolute": absolute,
        "safe_name": lambda name: safe_name(str(name)),
        "sweep_name": lambda study: "default" if study is None else safe_name(str(study)),
        "learning_rate_of_model": _learning_rate_of_model,
        "if_other_engine_samples": _if_other_engine_samples,
        "job_name": lambda overrides: job_name(list(overrides)),
    }
    for name, resolve in resolvers.items():
        OmegaConf.register_new_resolver(name, resolve, replace=True)


def _installed(name: str) -> str:
    """Returns the path of "PACKAGE/FOLDER", without importing the package."""
    package, _, rest = name.partition("/")
    spec = find_spec(package)
    folders = None if spec is None else spec.submodule_search_locations
    return str(Path(next(iter(folders))) / rest) if folders else name


# Registered at import, because a sweep's job can be composed in a process that only imports the command.
_register_resolvers()


def typed(config: DictConfig) -> Any:
    """Returns the configuration as an instance of its dataclass, with paths that can be opened and all checks done.

    Raises:
        InputError: When a value is missing or invalid.
    """
    from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

    try:
        return OmegaConf.to_object(with_local_paths(config))
    except MissingMandatoryValue as error:
        raise InputError(f"{error.full_key}: has no default; give {error.full_key}=... on the command line.") from error
    except OmegaConfBaseException as error:
        raise InputError(wrong_value(error)) from error


def plain(config: Any) -> dict[str, Any]:
    """Returns a typed configuration as values of JSON."""
    return {name: _plain(value) for name, value in asdict(config).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.value if isinstance(value, Enum) else value
