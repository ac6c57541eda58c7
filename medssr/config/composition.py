"""From composed configuration to typed configuration, and from one command's to another's."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from medssr.config.roots import SCHEMAS

Schema = TypeVar("Schema")


def subconfig(config: Any, schema: type[Schema], **values: Any) -> Schema:
    """Returns the configuration of one step, from the fields that it shares with a larger one and from `values`.

    Example:
        The pipeline runs a step with `subconfig(config, EvaluateConfig, task_name="evaluate", model=trained)`.
    """
    names = [field.name for field in fields(schema)]  # type: ignore[arg-type]
    return schema(**{name: values[name] if name in values else getattr(config, name) for name in names})


def register(*commands: str) -> None:
    """Makes schemas and resolvers known to Hydra: `${resource:...}` (a file that ships with the package), `${cwd:}`.

    Args:
        commands: Whose schemas; none for all. Hydra copies what it knows for each group that `--help` lists, so that a
            command that registers more than its own answers slowly.
    """
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    store = ConfigStore.instance()
    for name in commands or SCHEMAS:
        store.store(name=f"{name}_schema", node=SCHEMAS[name])
    resources = Path(__file__).parents[1] / "resources"
    OmegaConf.register_new_resolver("resource", lambda name: str(resources / name), replace=True)
    # Not ${hydra:runtime.cwd}, which a sweep cannot resolve when it makes its folder.
    OmegaConf.register_new_resolver("cwd", lambda: str(Path.cwd()), replace=True)
