"""What Weights & Biases accepts: whether it is used at all, and the length and the characters of names and tags."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

log = logging.getLogger(__name__)

_TRUE = frozenset({"1", "true", "yes", "on"})
_HASH_DIGITS = 8
_MAX_TAG = 64
_MAX_NAME = 128
# The settings of `wandb.init` that are names, and the characters that W&B takes in none of them.
_NAMES: dict[str, str] = {"project": r"[/\\#?%:]+", "group": "", "job_type": "", "name": ""}


def is_wandb_disabled() -> bool:
    """Returns whether the environment turns W&B off: WANDB_MODE=disabled, or WANDB_DISABLED=true as of old."""
    return _mode() == "disabled" or os.environ.get("WANDB_DISABLED", "").strip().lower() in _TRUE


def is_wandb_offline() -> bool:
    """Returns whether the environment keeps runs on disk: WANDB_MODE=offline, or dryrun as of old."""
    return _mode() in ("offline", "dryrun")


def _mode() -> str:
    return os.environ.get("WANDB_MODE", "").strip().lower()


def within_limits(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Returns arguments of `wandb.init` with names and tags that W&B accepts; a warning names each that is changed."""
    accepted = dict(arguments)
    for key, refused in _NAMES.items():
        if accepted.get(key) is not None:
            accepted[key] = accepted_text(str(accepted[key]), _MAX_NAME, refused)
            _warn_of_change(f"logger.wandb.{key}", str(arguments[key]), accepted[key])
    if accepted.get("tags"):
        given = [str(tag) for tag in accepted["tags"] if str(tag).strip()]
        accepted["tags"] = [accepted_text(tag, _MAX_TAG) for tag in given]
        for tag, changed in zip(given, accepted["tags"], strict=True):
            _warn_of_change("logger.wandb.tags", tag, changed)
    return accepted


def accepted_text(text: str, limit: int = _MAX_NAME, refused: str = "") -> str:
    r"""Returns a text without refused characters and of at most `limit` characters.

    Where that loses something, a hash of the text ends it, so that different texts stay different.

    Args:
        text: A name or a tag.
        limit: The most characters.
        refused: A pattern of the characters that are not accepted, beside line ends and control characters.

    Example:
        >>> accepted_text("run 1"), accepted_text("a/b", refused="[/]"), accepted_text("x" * 20, 12)
        ('run 1', 'a-b~c14cddc0', 'xxx~d4fc1db6')
    """
    cleaned = re.sub(r"[\x00-\x1f\x7f]+", " ", text)
    cleaned = re.sub(refused, "-", cleaned) if refused else cleaned
    if cleaned == text and len(text) <= limit:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:_HASH_DIGITS]
    return f"{cleaned[: limit - _HASH_DIGITS - 1]}~{digest}"


@cache  # says it once, however many runs a command has
def _warn_of_change(setting: str, given: str, changed: str) -> None:
    if changed != given:
        log.warning("%s: Weights & Biases does not accept %r; it gets %r", setting, given, changed)
