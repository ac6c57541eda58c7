"""From composed configuration to typed configuration, and from one command's to another's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medssr.config.messages import wrong_value
from medssr.errors import InputError
from medssr.resources import RESOURCES

if TYPE_CHECKING:
    from omegaconf import DictConfig

from dataclasses import fields
from typing import TypeVar

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from medssr.config.roots import SCHEMAS
from medssr.utils.naming import job_name

Schema = TypeVar("Schema")


def subconfig(config: Any, schema: type[Schema], **values: Any) -> Schema:
    """Returns the configuration of one step, from the fields that it shares with a larger one and from `values`.

    Example:
        The pipeline runs a step with `subconfig(config, EvaluateConfig, task_name="evaluate", model=trained)`.
    """
    names = [field.name for field in fields(schema)]  # type: ignore[arg-type]
    return schema(**{name: values[name] if name in values else getattr(config, name) for name in names})


def register(*commands: str) -> None:
    """Makes schemas known to Hydra.

    Args:
        commands: Whose schemas; none for all. Hydra copies what it knows for each group that `--help` lists, so that a
            command that registers more than its own answers slowly.
    """
    store = ConfigStore.instance()
    for name in commands or SCHEMAS:
        store.store(name=f"{name}_schema", node=SCHEMAS[name])


def _register_resolvers() -> None:
    """Makes known what `${...}` in `conf/` calls."""
    resolvers: dict[str, Callable[..., str]] = {
        # A file that ships with the package.
        "resource": lambda name: str(RESOURCES / name),
        # Not ${hydra:runtime.cwd}, which a sweep cannot resolve when it makes its folder.
        "cwd": lambda: str(Path.cwd()),
        "sweep_name": lambda study: study or "default",
        "job_name": lambda overrides: job_name(list(overrides)),
    }
    for name, resolve in resolvers.items():
        OmegaConf.register_new_resolver(name, resolve, replace=True)


# With the import, not with a call: a job of a sweep may be composed in a process that has imported the command alone.
_register_resolvers()


def typed(config: DictConfig) -> Any:
    """Returns the configuration as its dataclass, checked.

    Raises:
        InputError: When a value is missing, or is refused.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

    try:
        return OmegaConf.to_object(config)
    except MissingMandatoryValue as error:
        raise InputError(f"{error.full_key}: has no default; give {error.full_key}=... on the command line.") from error
    except OmegaConfBaseException as error:
        raise InputError(wrong_value(error)) from error
