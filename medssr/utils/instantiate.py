"""Hydra's instantiate, with errors that name the configuration key."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Mapping
from typing import Any

from medssr.errors import InputError
from medssr.utils.nearest import did_you_mean


def instantiate(node: Mapping[str, Any], key: str, **arguments: Any) -> Any:
    """Returns the object that a node with a `_target_` describes.

    Args:
        node: The configuration node.
        key: Its key in the configuration, for messages.
        arguments: Further arguments, not from the configuration; objects of any kind.

    Raises:
        InputError: When the target cannot be found or does not take these arguments.
    """
    import hydra.utils
    from hydra.errors import InstantiationException

    try:
        _check_arguments(node, key, arguments)
        if not arguments:
            return hydra.utils.instantiate(dict(node), _convert_="all")
        # Not handed to Hydra, which would turn a dataclass among them into a dictionary.
        make = hydra.utils.instantiate(dict(node), _convert_="all", _partial_=True)
    except InstantiationException as error:
        if isinstance(error.__cause__, InputError):
            raise error.__cause__ from None
        raise InputError(f"{key}: {_cause(error)}") from error
    return make(**arguments)


def target_of(name: str, key: str) -> Any:
    """Returns the class or function of a `_target_`.

    Args:
        name: Its name with that of its module.
        key: The key of its node in the configuration, for messages.

    Raises:
        InputError: When it cannot be imported.
    """
    try:
        return pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        problem = f"{name} cannot be imported ({error}). Is it spelt so, and is its folder in PYTHONPATH?"
        raise InputError(f"{key}._target_: {problem}") from error


def loads_model(node: Any, key: str) -> bool:
    """Returns whether the class of a node, or of a node within it, says by `loads_model = True` that it loads a model.

    Args:
        node: The configuration node.
        key: Its key in the configuration, for messages.

    Raises:
        InputError: When a class cannot be imported.
    """
    if isinstance(node, Mapping):
        if "_target_" in node and getattr(target_of(node["_target_"], key), "loads_model", False):
            return True
        return any(loads_model(value, f"{key}.{name}") for name, value in node.items())
    return isinstance(node, list) and any(loads_model(value, f"{key}.{index}") for index, value in enumerate(node))


def _check_arguments(node: Mapping[str, Any], key: str, arguments: Mapping[str, Any]) -> None:
    """Raises InputError where there is no such target, or it takes no argument of a name."""
    name = node["_target_"]
    target = target_of(name, key)
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):  # of some classes that are not written in Python
        return
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    names = [name for name in parameters if name not in arguments]
    for argument in node:
        if not argument.startswith("_") and argument not in names:
            raise InputError(f"{key}.{argument}: {name} takes no such argument.{did_you_mean(argument, names)}")


def _cause(error: BaseException) -> str:
    """Returns the type and the message of the error that caused an error of Hydra's."""
    cause = error.__cause__ or error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return f"{type(cause).__name__}: {' '.join(lines)}"
