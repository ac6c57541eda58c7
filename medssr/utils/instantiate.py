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
        arguments: Further arguments, not from the configuration.

    Raises:
        InputError: When the target cannot be found or does not take these arguments.
    """
    import hydra.utils
    from hydra.errors import InstantiationException

    try:
        return hydra.utils.instantiate(dict(node), **arguments, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, InputError):
            raise error.__cause__ from None
        raise InputError(f"{key}: {error}") from error
