"""A client of one vLLM server: checks it, requests completions, and loads new weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medssr.engines.types import Sampling
from medssr.engines.vllm_process import OLDEST_VERSION, is_too_old
from medssr.errors import InputError

# Time-out in seconds of requests that a healthy server answers immediately.
_QUICK_S = 10.0
# Number of stop strings that a server takes.
_MAX_STOP_STRINGS = 4
# Routes that a server has only with VLLM_SERVER_DEV_MODE=1.
_PAUSE, _RELOAD, _RESET, _RESUME = "/pause?mode=wait", "/collective_rpc", "/reset_prefix_cache", "/resume"
# Descriptions of the parts of a weight update, for messages.
_PARTS = {
    _PAUSE: "pausing (waiting for running completions)",
    _RELOAD: "reading the new weights",
    _RESET: "emptying its prefix cache",
    _RESUME: "resuming",
}


class ServerDownError(Exception):
    """A server does not answer, or answers with a server error."""


class VLLMServer:
    """A client of one vLLM server; thread-safe.

    Args:
        address: For example `http://localhost:8000`.
        model: Name of the model on the server; None for the first that it serves.
        timeout_s: Time-out in seconds of the completions of one prompt, and of each part of a weight update.
        max_connections: Maximum number of simultaneous requests.

    Raises:
        InputError: When the address is not a URL.
    """

    def __init__(self, address: str, model: str | None, timeout_s: float, max_connections: int) -> None:
        from urllib3 import PoolManager

        if not address.startswith(("http://", "https://")):
            raise InputError(f"rollout.addresses: {address}; an address begins with http:// or https://.")
        self.address = address.rstrip("/").removesuffix("/v1")
        self._model = model
        self._timeout_s = timeout_s
        self._http = PoolManager(maxsize=max_connections, block=True)

    def close(self) -> None:
        """Closes the connections."""
        self._http.clear()

    def check(self) -> int:
        """Checks the server, and returns its maximum number of tokens of prompt and completion.

        Raises:
            ServerDownError: When it does not answer.
            InputError: When it is not a vLLM server, too old, or serves another model.
        """
        version = str(self._request("GET", "/version", _QUICK_S)["version"])
        if is_too_old(version):
            oldest = ".".join(map(str, OLDEST_VERSION))
            raise InputError(
                f"rollout.addresses: {self.address} runs vLLM {version}; {oldest} or newer is needed: pip install "
                f"'vllm>={oldest}' there."
            )
        served = {card["id"]: card for card in self._request("GET", "/v1/models", _QUICK_S)["data"]}
        if self._model is None:
            self._model = next(iter(served))
        if self._model not in served:
            names = ", ".join(served)
            raise InputError(
                f"rollout.model: {self.address} serves {names}, not {self._model}. Give that name, or none, or start "
                "the server with --served-model-name."
            )
        return int(served[self._model]["max_model_len"])

    def complete(
        self,
        prompt: list[int],
        num_samples: int,
        seed: int,
        sampling: Sampling,
        eos_ids: Sequence[int],
        stop: Sequence[str],
    ) -> list[tuple[list[int], list[float]]]:
        """Returns token ids and log-probs of each sample; log-probs are empty if the sampling does not need them.

        Raises:
            ServerDownError: When it does not answer in time, or fails.
            InputError: When it refuses the request.
        """
        body = {
            "model": self._model,
            "prompt": prompt,
            "n": num_samples,
            "seed": seed,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "max_tokens": sampling.max_new_tokens,
            "ignore_eos": True,
            "stop_token_ids": list(eos_ids),
            # The rest saves no time, but `read_completions` finds it too.
            "stop": list(stop[:_MAX_STOP_STRINGS]),
            "logprobs": 0 if sampling.has_logps else None,
            "return_token_ids": True,
        }
        answer = self._request("POST", "/v1/completions", self._timeout_s, json=body)
        choices = sorted(answer["choices"], key=lambda choice: choice["index"])
        return [
            (choice["token_ids"], choice["logprobs"]["token_logprobs"] if sampling.has_logps else [])
            for choice in choices
        ]

    def load_weights(self, folder: Path) -> None:
        """Makes the server read new weights and empty its prefix cache.

        Raises:
            ServerDownError: When a part of the update fails or times out; the message names the part.
            InputError: When the server does not support weight updates.
        """
        self._change(_PAUSE)
        reload = {"method": "reload_weights", "kwargs": {"weights_path": str(folder)}, "timeout": self._timeout_s}
        self._change(_RELOAD, json=reload)
        if not self._change(_RESET)["success"]:
            raise ServerDownError("its prefix cache of the old weights could not be emptied")
        self._change(_RESUME)

    def _change(self, path: str, **content: Any) -> Any:
        return self._request("POST", path, self._timeout_s, **content)

    def _request(self, method: str, path: str, timeout_s: float, **content: Any) -> Any:
        status, body = self._exchange(method, path, timeout_s, **content)
        excerpt = " ".join(body[:300].decode(errors="replace").split())
        part = _PARTS.get(path, path)
        if status >= 500:
            raise ServerDownError(f"{part} failed with {status}: {excerpt}")
        if status == 404 and path in _PARTS:
            raise InputError(
                f"rollout.addresses: {self.address} takes no new weights (it has no {path}), so nothing can be trained "
                "with it; start it with VLLM_SERVER_DEV_MODE=1."
            )
        if path == "/version" and status != 200:
            raise InputError(
                f"rollout.addresses: {self.address} is no vLLM server: it answers {path} with {status}. Give the "
                "address and port that `vllm serve` names."
            )
        if status >= 400:
            raise InputError(f"rollout.addresses: {self.address} refuses {path} with {status}: {excerpt}")
        return json.loads(body) if body else None

    def _exchange(self, method: str, path: str, timeout_s: float, **content: Any) -> tuple[int, bytes]:
        """Returns status and body of the response."""
        from urllib3 import Timeout, exceptions

        timeout = Timeout(connect=min(timeout_s, _QUICK_S), read=timeout_s)
        part = _PARTS.get(path, path)
        # A server may close an idle connection just as it is used again, so there is a second attempt.
        for is_last in (False, True):
            try:
                response = self._http.request(
                    method, self.address + path, timeout=timeout, retries=False, redirect=False, **content
                )
            except exceptions.ProtocolError as error:
                if is_last:
                    raise ServerDownError(f"the connection broke during {part} ({error})") from error
            except (exceptions.NewConnectionError, exceptions.ConnectTimeoutError, exceptions.SSLError) as error:
                raise ServerDownError(f"it cannot be reached ({error})") from error
            except exceptions.TimeoutError as error:
                raise ServerDownError(f"{part} was not done within {timeout_s:g} s") from error
            else:
                return response.status, response.data
        raise AssertionError
