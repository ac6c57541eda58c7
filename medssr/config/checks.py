"""Checks of configured values."""

from __future__ import annotations

from medssr.errors import InputError


def require(is_met: bool, field: str, message: str) -> None:
    """Raises InputError with the field's full name where a condition is not met."""
    if not is_met:
        raise InputError(f"{field}: {message}")
