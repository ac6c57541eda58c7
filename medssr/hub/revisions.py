"""The commit of a model on the hub, so that a result names the very weights and not a branch that moves on."""

from __future__ import annotations

import json
import logging
import os
import re
from dataclasses import replace
from pathlib import Path

from medssr.config import ModelConfig
from medssr.errors import InputError

log = logging.getLogger(__name__)

_COMMIT = re.compile(r"[0-9a-f]{40}")
_TIMEOUT_S = 10.0
# Every model has it.
_FILE = "config.json"
# The commits that this process and those that started it have found, by name and revision, as JSON. The processes of a
# training begin the command anew, perhaps hours after the first one, and wait for its artefacts, which are known by
# these commits; so they must not find others.
_FOUND = "MEDSSR_HUB_COMMITS"


def at_commit(model: ModelConfig) -> ModelConfig:
    """Returns a model with the commit of its revision on the hub; unchanged for a folder, or where none is known.

    The hub is asked; where it does not answer, or in offline mode, the commit is that of the copy in the cache, which
    is then loaded. A process asks once for each revision.

    Raises:
        InputError: When the model is no folder, the hub does not answer, and the cache has no copy.
    """
    if not _is_branch(model):
        return model
    commits = json.loads(os.environ.get(_FOUND, "{}"))
    name = f"{model.path}@{model.revision or ''}"
    if name not in commits:
        commits[name] = _commit_of(model)
        os.environ[_FOUND] = json.dumps(commits)
    return model if commits[name] is None else replace(model, revision=commits[name])


def at_cached_commit(model: ModelConfig) -> ModelConfig:
    """Returns a model with the commit of the copy in the cache, without a question to the hub; else unchanged."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    if not _is_branch(model):
        return model
    try:
        file = try_to_load_from_cache(model.path, _FILE, revision=model.revision)
    except HFValidationError:  # neither a folder nor a name on the hub; loading it says so
        return model
    return replace(model, revision=_commit_in(file)) if isinstance(file, str) else model


def _is_branch(model: ModelConfig) -> bool:
    return not Path(model.path).exists() and not (model.revision and _COMMIT.fullmatch(model.revision))


def _commit_of(model: ModelConfig) -> str | None:
    """Returns the commit of a branch or tag; the cache then knows it, too, for when the hub does not answer."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # exported by name at run time

    log.info("%s: there is no such folder here; asking the hub for a model of this name", model.path)
    client = logging.getLogger("huggingface_hub")
    level = client.level
    client.setLevel(logging.ERROR)  # each of its retries is a warning
    try:
        return _commit_in(hf_hub_download(model.path, _FILE, revision=model.revision, etag_timeout=_TIMEOUT_S))
    except LocalEntryNotFoundError as error:
        raise InputError(
            f"model.path: {model.path}: there is no such folder here, the hub does not answer, and its cache on this "
            "machine has no model of this name. Give the folder of a model, or fill the cache where there is a network."
        ) from error
    except (httpx.HTTPError, OSError, ValueError) as error:
        log.warning("%s: the hub does not say which commit this is (%s)", model.path, str(error).strip() or repr(error))
        return None
    finally:
        client.setLevel(level)


def _commit_in(file: str) -> str:
    """Returns the commit that a file of the cache is of: the name of the folder of its files."""
    return Path(file).parent.name
