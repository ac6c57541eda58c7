"""Hydra's instantiate, with errors that name the configuration key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medssr.errors import InputError


def instantiate(node: Mapping[str, Any], key: str, **arguments: Any) -> Any:
    """Returns the object that a node with a `_target_` describes.

    Args:
        node: The configuration node.
        key: Its place in the configuration, for messages.
        arguments: Further arguments, not from the configuration; objects of any kind.

    Raises:
        InputError: When the target cannot be found or does not take these arguments.
    """
    import hydra.utils
    from hydra.errors import InstantiationException

    try:
        if not arguments:
            return hydra.utils.instantiate(dict(node), _convert_="all")
        # Not handed to Hydra, which would turn a dataclass among them into a dictionary.
        make = hydra.utils.instantiate(dict(node), _convert_="all", _partial_=True)
    except InstantiationException as error:
        if isinstance(error.__cause__, InputError):
            raise error.__cause__ from None
        raise InputError(f"{key}: {error}") from error
    return make(**arguments)
