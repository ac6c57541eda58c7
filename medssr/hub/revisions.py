"""The commit of a model on the hub, so that a result names the very weights and not a branch that moves on."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from pathlib import Path

from medssr.config import ModelConfig

log = logging.getLogger(__name__)

_COMMIT = re.compile(r"[0-9a-f]{40}")
_TIMEOUT_S = 10.0
# Every model has it, so the cache knows the commit of each revision that was loaded by it.
_FILE = "config.json"


def at_commit(model: ModelConfig) -> ModelConfig:
    """Returns a model with the commit of its revision on the hub; unchanged for a folder, or where none is known.

    The hub is asked; where it does not answer, or in offline mode, the commit is that of the copy in the cache, which
    is then loaded.
    """
    if Path(model.path).exists() or (model.revision and _COMMIT.fullmatch(model.revision)):
        return model
    commit = _asked_hub(model) or _cached(model)
    return model if commit is None else replace(model, revision=commit)


def _asked_hub(model: ModelConfig) -> str | None:
    from huggingface_hub import HfApi, constants
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # exported by name at run time

    if constants.HF_HUB_OFFLINE:
        return None
    try:
        return HfApi().model_info(model.path, revision=model.revision, timeout=_TIMEOUT_S).sha
    except (httpx.HTTPError, OSError, ValueError) as error:
        log.warning("%s: the hub does not say which commit this is (%s)", model.path, str(error).strip() or repr(error))
        return None


def _cached(model: ModelConfig) -> str | None:
    """Returns the commit of the copy in the cache: the name of the folder of its files."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        file = try_to_load_from_cache(model.path, _FILE, revision=model.revision)
    except HFValidationError:  # neither a folder nor a name on the hub; loading it says so
        return None
    return Path(file).parent.name if isinstance(file, str) else None
