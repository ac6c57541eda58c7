"""Makes the paths of a configuration ones that can be opened: `~` and variables expanded, and right in any folder.

With `hydra.job.chdir=true` a command runs in its run folder; relative paths still start where it was launched.
"""

from __future__ import annotations

import os
import re
from dataclasses import is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_type_hints

from medssr.errors import InputError

if TYPE_CHECKING:
    from omegaconf import DictConfig


class PathKind(Enum):
    """What a setting names: a file or folder to read, which may also be a name on a hub, or one to write."""

    input = "input"
    output = "output"


# Types of settings that name a file or a folder.
InputPath = Annotated[str, PathKind.input]
OutputPath = Annotated[str, PathKind.output]

# Sent to a chat server as it stands.
_VERBATIM = "extra_body"
_HOME = r"~[\w.-]*"
# At the start of a value, or of an item in a list, a mapping or a sweep.
_HOME_IN_VALUE = re.compile(rf"(?:^|(?<=[\[,:{{ ])){_HOME}(?=[/,\]}}]|$)")


def expanded(path: str) -> str:
    """Returns a path with the home folder in place of a leading `~`, or the value of a leading `$NAME`.

    Raises:
        InputError: When there is no such home folder or variable.

    Example:
        >>> expanded("questions~1.jsonl"), expanded("$/x")
        ('questions~1.jsonl', '$/x')
    """
    if match := re.match(rf"{_HOME}(?=/|$)", path):
        try:
            return f"{Path(match[0]).expanduser()}{path[match.end() :]}"
        except RuntimeError as error:
            if "/" in path or path == "~":  # else the name of a file
                raise InputError(f"{path}: the home folder is not known here; write the whole path.") from error
    if match := re.match(r"\$([A-Za-z_]\w*)(?=/|$)", path):
        if match[1] in os.environ:
            return os.environ[match[1]] + path[match.end() :]
        if "/" in path:
            raise InputError(
                f"{path}: the environment variable {match[1]} is not set; set it, or write the whole path."
            )
    return path


def expand_home(override: str) -> str:
    """Returns a word of the command line with the home folder for each `~`, which Hydra does not read.

    Example:
        >>> expand_home("~lora"), expand_home("model.revision=HEAD~1")
        ('~lora', 'model.revision=HEAD~1')
    """
    key, equals, value = override.partition("=")
    if not equals or value.startswith(("'", '"')):
        return override
    return f"{key}={re.sub(_HOME_IN_VALUE, lambda match: expanded(match[0]), value)}"


def launch_folder() -> Path:
    """Returns the folder in which the command was launched, also when Hydra has moved into the run folder."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    if not HydraConfig.initialized():
        return Path.cwd()
    hydra = HydraConfig.get()
    # The run folder has no name yet while its name is composed.
    has_moved = (
        hydra.job.chdir
        and not OmegaConf.is_missing(hydra.runtime, "output_dir")
        and Path(hydra.runtime.output_dir).absolute() == Path.cwd()
    )
    return Path(hydra.runtime.cwd) if has_moved else Path.cwd()


def absolute(path: str) -> str:
    """Returns a path as it is in any folder: a relative one starts where the command was launched."""
    return os.path.normpath(launch_folder() / expanded(path))


def with_local_paths(config: DictConfig) -> DictConfig:
    """Returns a composed configuration whose paths can be opened.

    A setting is a path by its type in the schema. In a node with a `_target_`, whose types stand in the class, names
    decide, as they do for fingerprints: `path` and `..._path` are read, `..._dir` is written. There a leading `~/` is
    expanded under any name.

    Raises:
        InputError: When a path begins with a home folder or a variable that there is not.
    """
    from omegaconf import open_dict, read_write

    changed = config.copy()
    launched = launch_folder()
    with read_write(changed), open_dict(changed):
        _localize(changed, None if launched == Path.cwd() else launched)
    return changed


def _localize(node: Any, base: Path | None, kind: PathKind | None = None, is_typed: bool = False) -> None:
    """Replaces the paths in a node.

    Args:
        node: A DictConfig or a ListConfig.
        base: Where relative paths start; None for the working directory.
        kind: What the items of a list are.
        is_typed: Whether the list stands in a dataclass.
    """
    from omegaconf import DictConfig, ListConfig, OmegaConf

    schema = OmegaConf.get_type(node)
    keys: list[Any] = list(node.keys()) if isinstance(node, DictConfig) else list(range(len(node)))
    for key in keys:
        if OmegaConf.is_missing(node, key) or OmegaConf.is_interpolation(node, key) or key == _VERBATIM:
            continue
        value = node[key]
        if isinstance(node, DictConfig):
            is_typed = is_dataclass(schema)
            kind = _kinds(schema).get(key) if is_dataclass(schema) else _kind_by_name(str(key))
        if isinstance(value, DictConfig | ListConfig):
            _localize(value, base, kind, is_typed)
        elif type(value) is str and (kind is not None or (not is_typed and value.startswith("~/"))):
            path = _local(value, kind, base)
            if path != value:
                node[key] = path


def _local(value: str, kind: PathKind | None, base: Path | None) -> str:
    path = expanded(value)
    if base is None or not path or kind is None:
        return path
    moved = os.path.normpath(base / path)
    return moved if kind is PathKind.output or Path(moved).exists() else path


@cache
def _kinds(schema: Any) -> dict[str, PathKind]:
    """Returns the fields of a dataclass that are paths, or lists of them."""
    marks = {name: _mark(hint) for name, hint in get_type_hints(schema, include_extras=True).items()}
    return {name: mark for name, mark in marks.items() if mark is not None}


def _mark(hint: Any) -> PathKind | None:
    marks = [mark for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, PathKind)]
    inner = [mark for argument in get_args(hint) if (mark := _mark(argument)) is not None]
    return next(iter([*marks, *inner]), None)


def _kind_by_name(key: str) -> PathKind | None:
    name = key.rpartition(".")[2]  # the settings of a stage have dotted keys
    if name.endswith("_dir"):
        return PathKind.output
    return PathKind.input if name == "path" or name.endswith("_path") else None
