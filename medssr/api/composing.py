"""Composes the configuration of a command from Python, and remembers what it was composed of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

from medssr.api.override_values import NotExpressibleError, override_value
from medssr.api.process_state import own_hydra
from medssr.errors import InputError
from medssr.utils.nearest import did_you_mean

if TYPE_CHECKING:
    from medssr.config import (
        AuditConfig,
        CompareConfig,
        DashboardConfig,
        EvaluateConfig,
        ExportConfig,
        PipelineConfig,
        PseudoLabelConfig,
        RetrieveConfig,
        SFTTrainConfig,
        SynthesizeConfig,
        TrainConfig,
    )

Words: TypeAlias = Sequence[str]
Folder: TypeAlias = Path | str | None

# The attribute that remembers it. It is in `config.extras`, which `dataclasses.replace(config, ...)` hands on.
_COMPOSED = "_composed"


@dataclass(frozen=True, slots=True)
class Composed:
    """What a configuration was composed of.

    Attributes:
        command: The name of the command.
        overrides: What was set.
        values: All settings as they were composed, as plain values.
    """

    command: str
    overrides: list[str]
    values: dict[str, Any]


@overload
def compose(command: Literal["train"], overrides: Words = (), config_dir: Folder = None) -> TrainConfig: ...
@overload
def compose(command: Literal["sft"], overrides: Words = (), config_dir: Folder = None) -> SFTTrainConfig: ...
@overload
def compose(command: Literal["synthesize"], overrides: Words = (), config_dir: Folder = None) -> SynthesizeConfig: ...
@overload
def compose(
    command: Literal["pseudo_label"], overrides: Words = (), config_dir: Folder = None
) -> PseudoLabelConfig: ...
@overload
def compose(command: Literal["evaluate"], overrides: Words = (), config_dir: Folder = None) -> EvaluateConfig: ...
@overload
def compose(command: Literal["compare"], overrides: Words = (), config_dir: Folder = None) -> CompareConfig: ...
@overload
def compose(command: Literal["pipeline"], overrides: Words = (), config_dir: Folder = None) -> PipelineConfig: ...
@overload
def compose(command: Literal["audit"], overrides: Words = (), config_dir: Folder = None) -> AuditConfig: ...
@overload
def compose(command: Literal["export"], overrides: Words = (), config_dir: Folder = None) -> ExportConfig: ...
@overload
def compose(command: Literal["retrieve"], overrides: Words = (), config_dir: Folder = None) -> RetrieveConfig: ...
@overload
def compose(command: Literal["dashboard"], overrides: Words = (), config_dir: Folder = None) -> DashboardConfig: ...
def compose(command: str, overrides: Words = (), config_dir: Folder = None) -> Any:
    """Returns the typed configuration that a command line gives its command.

    Args:
        command: The command without its prefix: "train" for medssr-train.
        overrides: What the command line sets, one word each; for "compare" also folders of runs.
        config_dir: A further folder of options, as after `--config-dir`.

    Raises:
        InputError: When there is no such command or setting, or a value is missing or out of range.

    Example:
        `medssr.compose("train", ["model=tiny_qwen3", "data.path=labelled.jsonl"])` is the configuration of
        `medssr-train model=tiny_qwen3 data.path=labelled.jsonl`.
    """
    with own_hydra():
        from medssr.cli.entry import composed
        from medssr.commands.checkpoint_settings import ADAPT_BY_COMMAND
        from medssr.commands.compare import runs_as_override
        from medssr.config import SCHEMAS

        name = command.replace("-", "_")
        if name not in SCHEMAS:
            raise InputError(f"compose: there is no command {command!r}.{did_you_mean(name, list(SCHEMAS))}")
        if isinstance(overrides, str):
            raise InputError(f"compose: {overrides!r} is a text; give a list of settings, [{overrides!r}].")
        flags = [word for word in overrides if word.startswith("-")]
        if flags:
            raise InputError(f"compose: {flags[0]} is a flag; compose takes settings alone, as key=value.")
        given = runs_as_override(overrides) if name == "compare" else list(overrides)
        adapt = ADAPT_BY_COMMAND.get(name)
        config = composed(name, given, None if config_dir is None else str(config_dir), adapt)
        vars(config.extras)[_COMPOSED] = Composed(name, given, deepcopy(_plain(config)))
        return config


def given_settings(config: Any) -> tuple[str | None, list[str]]:
    """Returns the command that a configuration is of, and the overrides with which a command line composes it.

    Values that were changed since `compose` are further overrides.

    Returns:
        None and no overrides where the configuration was not made by `compose`, or no overrides can express it.
    """
    composed: Composed | None = vars(config.extras).get(_COMPOSED)
    if composed is None:
        return None, []
    try:
        changes = list(_changes(composed.values, _plain(config)))
    except NotExpressibleError:
        return None, []
    changed = {key for key, _ in changes}
    given = [(override.partition("=")[0], override) for override in composed.overrides]
    kept = [override for key, override in given if key.lstrip("+") not in changed]
    added = {key.lstrip("+") for key, _ in given if key.startswith("+")}  # which are in no file of the configuration
    return composed.command, [*kept, *(f"{'++' if key in added else ''}{key}={value}" for key, value in changes)]


def _plain(config: Any) -> dict[str, Any]:
    from medssr.config.composition import plain

    return plain(config)


def _changes(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yields the full key and the new value of each setting that differs.

    Raises:
        NotExpressibleError: When a mapping has got or lost names, or a value cannot be written.
    """
    if before.keys() != after.keys():
        raise NotExpressibleError
    for name, old in before.items():
        new, key = after[name], f"{prefix}{name}"
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _changes(old, new, f"{key}.")
        elif isinstance(old, Mapping) or isinstance(new, Mapping):
            raise NotExpressibleError
        elif new != old:
            yield key, override_value(new)
