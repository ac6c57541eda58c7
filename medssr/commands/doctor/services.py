"""Checks services: W&B, the hub, chat services and their keys, vLLM; and the files that settings name."""

from __future__ import annotations

import netrc
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from medssr.commands.doctor.findings import Finding, fine, lacking
from medssr.errors import InputError
from medssr.tracking.wandb_limits import is_wandb_disabled, is_wandb_offline

_TIMEOUT_S = 3.0
_WANDB_HOST = "api.wandb.ai"
_MODEL_FILE = "config.json"  # each model has this file


def check_wandb(node: Mapping[str, Any] | None) -> Finding:
    """Checks that there is a key if runs are sent to Weights & Biases immediately.

    Args:
        node: The configuration `logger.wandb`; None if there is none.
    """
    if is_wandb_disabled():
        return fine("W&B", "disabled by the environment; nothing is logged there")
    if node is None or node.get("offline", False) or is_wandb_offline():
        return fine("W&B", "nothing is sent; `wandb sync` sends it later" if node is not None else "not used")
    if os.environ.get("WANDB_API_KEY"):
        return fine("W&B", "key in WANDB_API_KEY")
    if _has_netrc_entry(os.environ.get("WANDB_BASE_URL", _WANDB_HOST)):
        return fine("W&B", "key in ~/.netrc")
    remedy = "run `wandb login`, set WANDB_API_KEY, or leave logger.wandb.offline=true."
    return lacking("W&B", "no key", remedy)


def _has_netrc_entry(address: str) -> bool:
    file = Path(os.environ.get("NETRC", Path.home() / ".netrc"))
    if not file.is_file():
        return False
    try:
        return address.split("//")[-1].strip("/") in netrc.netrc(file).hosts
    except netrc.NetrcParseError:
        return False


def check_hub(name: str, revision: str | None) -> Finding:
    """Checks that a model is available in a folder, in the cache or on the hub.

    Args:
        name: A folder or a name on the hub.
        revision: Branch, tag or commit; None for the newest.
    """
    if Path(name).is_dir():
        return fine("model", f"the folder {name}")
    from huggingface_hub import constants, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        cached = try_to_load_from_cache(name, _MODEL_FILE, revision=revision)
    except HFValidationError:
        return lacking("model", f"{name} is neither a folder nor a name on a hub", "check model.path.")
    if isinstance(cached, str):
        return fine("model", f"{name} in {constants.HF_HUB_CACHE}")
    local = "or copy it here and set model=local model.path=FOLDER."
    if constants.is_offline_mode():
        return lacking("model", f"{name} is not in the cache, and HF_HUB_OFFLINE is set", f"unset it, {local}")
    return _asked_hub(name, revision, local)


def _asked_hub(name: str, revision: str | None, local: str) -> Finding:
    import urllib3
    from huggingface_hub import constants, get_token

    endpoint = constants.ENDPOINT
    address = f"{endpoint}/{name}/resolve/{revision or constants.DEFAULT_REVISION}/{_MODEL_FILE}"
    token = get_token()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        retries = urllib3.Retry(0, redirect=3)
        answer = urllib3.request("HEAD", address, headers=headers, timeout=_TIMEOUT_S, retries=retries)
    except urllib3.exceptions.HTTPError as error:
        observation = f"{endpoint} cannot be reached ({type(error).__name__})"
        return lacking("model", observation, f"check network and proxy (HF_ENDPOINT names a mirror), {local}")
    if answer.status < 400:
        return fine("model", f"{name} on {endpoint}")
    if answer.status in (401, 403):
        access = "the token has no access to it" if token else "no token"
        remedy = f"accept the model's licence on {endpoint}/{name} and set HF_TOKEN, {local}"
        return lacking("model", f"{name} is gated or private, or does not exist; {access}", remedy)
    observation = f"{endpoint} has no {name} (status {answer.status})"
    return lacking("model", observation, f"check model.path and model.revision, {local}")


def check_vllm(is_needed: bool) -> Finding:
    """Checks that vLLM is installed in a supported version, without loading it.

    Args:
        is_needed: Whether the command samples with it.
    """
    if not is_needed:
        return fine("vLLM", "not used")
    from medssr.engines.vllm_installation import check_installation

    try:
        check_installation()
    except InputError as error:
        problem, _, remedy = str(error).removeprefix("rollout: ").partition(". ")
        return lacking("vLLM", problem, remedy or "pip install --editable '.[vllm]'.")
    return fine("vLLM", "installed")


def check_servers(addresses: Iterable[str]) -> Iterator[Finding]:
    """Checks that each vLLM server answers; yields one result per server.

    Args:
        addresses: Addresses of the servers, such as http://localhost:8000.
    """
    import urllib3

    remedy = "start it (conf/rollout/vllm_server.yaml has the command), or remove it from rollout.addresses."
    for address in addresses:
        try:
            answer = urllib3.request(
                "GET", f"{address}/health", timeout=_TIMEOUT_S, retries=False, preload_content=False
            )
            answer.close()  # its body may never end
            status = answer.status
        except urllib3.exceptions.HTTPError as error:
            yield lacking("server", f"{address} cannot be reached ({type(error).__name__})", remedy)
            continue
        yield (
            fine("server", address)
            if status < 400
            else lacking("server", f"{address} answers with status {status}", remedy)
        )


def check_keys(config: Any) -> Iterator[Finding]:
    """Checks that the environment variables with keys of chat services are set; yields one result per variable.

    Args:
        config: A configuration as plain values; a field `api_key_env` names such a variable.
    """
    if isinstance(config, Mapping):
        for key, value in config.items():
            if key == "api_key_env" and isinstance(value, str):
                if os.environ.get(value):
                    yield fine("key", f"{value} is set")
                else:
                    yield lacking("key", f"{value} is not set", f"set it, or {key}=null for a server without one.")
            else:
                yield from check_keys(value)


def check_files(config: Any, key: str = "") -> Iterator[Finding]:
    """Yields a result for each file that a configuration names but that does not exist.

    Args:
        config: A configuration as plain values. A field whose name ends in `path` counts if it looks like a file.
        key: The full key of `config`.
    """
    if isinstance(config, Mapping):
        for name, value in config.items():
            yield from check_files(value, f"{key}.{name}" if key else str(name))
    elif isinstance(config, str) and key.endswith("path") and key != "model.path":
        is_file = Path(config).suffix in (".jsonl", ".json", ".txt", ".xml", ".csv") or Path(config).is_absolute()
        if is_file and not Path(config).exists():
            yield lacking("file", f"{key}: there is no {config}", f"give another file by {key}=FILE.")
