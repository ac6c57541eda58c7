"""A client of one vLLM server: checks it, requests completions, and changes its weights."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, IncompleteRead
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from medssr.engines.types import Sampling
from medssr.engines.vllm_installation import OLDEST_VERSION, is_too_old
from medssr.errors import InputError

# Time-out in seconds of connecting, and of requests that a healthy server answers immediately.
_QUICK_S = 10.0
# Bytes of a response that are read at a time.
_READ_BYTES = 2**16
# Number of stop strings that a server takes.
_MAX_STOP_STRINGS = 4
# Routes that a server has only with VLLM_SERVER_DEV_MODE=1 (or VLLM_ALLOW_RUNTIME_LORA_UPDATING=1, the last two), with
# descriptions for messages.
_PARTS = {
    "/server_info": "describing its settings",
    "/pause": "pausing (waiting for running completions)",
    "/collective_rpc": "reading the new weights",
    "/init_weight_transfer_engine": "joining the transfer of weights",
    "/shutdown_weight_transfer_engine": "leaving the transfer of weights",
    "/start_weight_update": "preparing for new weights",
    "/update_weights": "receiving the new weights",
    "/finish_weight_update": "putting the new weights in place",
    "/reset_prefix_cache": "emptying its prefix cache",
    "/update_weight_version": "naming the version of its weights",
    "/weight_info": "telling the version of its weights",
    "/weight_checker": "computing checksums of its weights",
    "/get_world_size": "telling its number of processes",
    "/resume": "resuming",
    "/v1/load_lora_adapter": "loading the adapters",
    "/v1/unload_lora_adapter": "removing earlier adapters",
}


class ServerDownError(Exception):
    """A server does not answer, answers with a server error, or has other weights than it should have."""


@dataclass(frozen=True, slots=True)
class ServerWeights:
    """How a server holds its weights.

    Attributes:
        dtype: The dtype of its weights, such as "bfloat16".
        is_quantized: Whether it holds them in another format, which checksums cannot be predicted for.
        transfer: The transport of its weight-transfer configuration, such as "nccl"; None if it has none.
        max_lora_rank: Limit of the rank of adapters that it can be given while it runs; None if it takes none.
    """

    dtype: str
    is_quantized: bool
    transfer: str | None
    max_lora_rank: int | None


class VLLMServer:
    """A client of one vLLM server; thread-safe. Each request has a connection of its own.

    Args:
        address: For example `http://localhost:8000`.
        model: Name of the model on the server; None for the first that it serves.
        timeout_s: Time-out in seconds of the completions of one prompt, and of each part of a weight update.

    Raises:
        InputError: When the address is not a URL.
    """

    def __init__(self, address: str, model: str | None, timeout_s: float) -> None:
        if not address.startswith(("http://", "https://")):
            raise InputError(f"rollout.addresses: {address}; an address begins with http:// or https://.")
        self.address = address.rstrip("/").removesuffix("/v1")
        self._url = urlsplit(self.address)
        self._model = model
        self._timeout_s = timeout_s
        self._sockets: set[socket.socket] = set()  # of the requests under way
        self._lock = threading.Lock()

    @property
    def host(self) -> str:
        """The name or number of its machine."""
        return self._url.hostname or ""

    def abort(self) -> None:
        """Ends the requests under way: each raises ServerDownError, and the server stops to work on it."""
        with self._lock:
            for connected in self._sockets:
                with suppress(OSError):  # its request has just ended
                    connected.shutdown(socket.SHUT_RDWR)

    def check(self) -> int:
        """Checks the server, and returns its maximum number of tokens of prompt and completion.

        Raises:
            ServerDownError: When it does not answer.
            InputError: When it is not a vLLM server, too old, or serves another model.
        """
        version = str(self._request("GET", "/version", timeout_s=_QUICK_S)["version"])
        if is_too_old(version):
            oldest = ".".join(map(str, OLDEST_VERSION))
            raise InputError(
                f"rollout.addresses: {self.address} runs vLLM {version}; {oldest} or newer is needed: pip install "
                f"'vllm>={oldest}' there."
            )
        served = {card["id"]: card for card in self._request("GET", "/v1/models", timeout_s=_QUICK_S)["data"]}
        if self._model is None:
            self._model = next(iter(served))
        if self._model not in served:
            names = ", ".join(served)
            raise InputError(
                f"rollout.model: {self.address} serves {names}, not {self._model}. Give that name, or none, or start "
                "the server with --served-model-name."
            )
        card = served[self._model]
        return int(served[card["parent"] if card.get("parent") in served else self._model]["max_model_len"])

    def complete(
        self,
        prompt: list[int],
        num_samples: int,
        seed: int,
        sampling: Sampling,
        eos_ids: Sequence[int],
        stop: Sequence[str],
        adapters: str | None,
    ) -> list[tuple[list[int], list[float]]]:
        """Returns token ids and log-probs of each sample; log-probs are empty if the sampling does not need them.

        `adapters` is the name of the adapters to sample with; None to sample with the model alone.

        Raises:
            ServerDownError: When it does not answer in time, fails, or does not have the adapters.
            InputError: When it refuses the request.
        """
        body = {
            "model": self._model if adapters is None else adapters,
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
        choices = sorted(self._choices(body, adapters), key=lambda choice: choice["index"])
        return [
            (choice["token_ids"], choice["logprobs"]["token_logprobs"] if sampling.has_logps else [])
            for choice in choices
        ]

    def score_next(self, prompt: list[int], token_ids: Sequence[int], adapters: str | None) -> list[float]:
        """Returns the log-prob of each of some tokens as the next one behind a prompt; nothing is sampled.

        `adapters` is the name of the adapters to score with; None to score with the model alone.

        Raises:
            ServerDownError: When it does not answer in time, fails, or does not have the adapters.
            InputError: When it refuses the request.
        """
        body = {
            "model": self._model if adapters is None else adapters,
            "prompt": prompt,
            "temperature": 0,
            "max_tokens": 1,  # vLLM gives log-probs for tokens that it generates
            "logprobs": len(token_ids),
            "logprob_token_ids": list(token_ids),
            "return_tokens_as_token_ids": True,
        }
        (choice,) = self._choices(body, adapters)
        (logps,) = choice["logprobs"]["top_logprobs"]
        return [float(logps[f"token_id:{token}"]) for token in token_ids]

    def _choices(self, body: Mapping[str, Any], adapters: str | None) -> list[dict[str, Any]]:
        """Returns the completions of a request, which may name adapters."""
        lost = None if adapters is None else f"it does not have the adapters {adapters} that it was given"
        choices: list[dict[str, Any]] = self._request("POST", "/v1/completions", body, if_missing=lost)["choices"]
        return choices

    # The methods below are parts of a weight update; see `weight_update.py` for their order. All raise ServerDownError
    # when the server fails or does not answer in time, and InputError when it has no such route.

    def describe_weights(self) -> ServerWeights:
        """Returns how the server holds its weights."""
        info = self._request("GET", "/server_info?config_format=json")
        config, can_change_adapters = info["vllm_config"], info["vllm_env"]["VLLM_ALLOW_RUNTIME_LORA_UPDATING"]
        model, transfer, lora = (config[name] for name in ("model_config", "weight_transfer_config", "lora_config"))
        return ServerWeights(
            model["dtype"].removeprefix("torch."),
            model["quantization"] is not None,
            None if transfer is None else transfer["backend"],
            lora["max_lora_rank"] if can_change_adapters and lora is not None else None,
        )

    def num_workers(self) -> int:
        """Returns the number of processes that hold parts or copies of the server's weights."""
        return int(self._request("GET", "/get_world_size", timeout_s=_QUICK_S)["world_size"])

    def pause(self) -> None:
        """Returns once running completions have ended; later ones wait for `resume`."""
        self._request("POST", "/pause?mode=wait")

    def resume(self) -> None:
        """Lets the server work on completions again."""
        self._request("POST", "/resume", timeout_s=min(self._timeout_s, _QUICK_S))

    def reload_weights(self, folder: Path) -> None:
        """Makes the server read the safetensors of a folder."""
        kwargs = {"weights_path": str(folder)}
        body = {"method": "reload_weights", "kwargs": kwargs, "timeout": self._timeout_s}
        self._request("POST", "/collective_rpc", body)

    def adapters(self) -> list[str]:
        """Returns the names of the adapters that requests can name."""
        cards = self._request("GET", "/v1/models", timeout_s=_QUICK_S)["data"]
        return [card["id"] for card in cards if card.get("parent") is not None]

    def load_adapters(self, name: str, folder: Path) -> None:
        """Makes the server read adapters from a folder, for requests that name them.

        The folder has to stay: a server whose cache is full drops adapters, and reads them again when they are named.

        Raises:
            InputError: When it does not see the folder, or does not take adapters of these layers.
        """
        # Without `load_inplace`, with which the server would read the files again at each step.
        body = {"lora_name": name, "lora_path": str(folder)}
        status, answer = self._exchange("POST", "/v1/load_lora_adapter", body, self._timeout_s)
        if status == 404 and b"No adapter found" in answer:
            raise InputError(
                f"rollout.weights_dir: {self.address} does not find the adapters in {folder}; give a folder that the "
                "servers see under the same path (/dev/shm/NAME on the same machine, else on a shared disk)."
            )
        if status == 500 and b"target modules" in answer:
            raise InputError(
                f"lora.target_modules: {self.address} does not take these adapters: {_excerpt(answer)}. Adapt other "
                "layers, or take rollout=hf."
            )
        self._check_status("/v1/load_lora_adapter", status, answer)

    def unload_adapters(self, name: str) -> None:
        """Makes the server forget the adapters of a name."""
        status, answer = self._exchange("POST", "/v1/unload_lora_adapter", {"lora_name": name}, _QUICK_S)
        self._check_status("/v1/unload_lora_adapter", status, answer)

    def let_read_weights(self) -> None:
        """Lets a server that was started with random weights read others from files later."""
        overrides = {"load_config": {"load_format": "auto"}}
        self._request("POST", "/collective_rpc", {"method": "update_config", "kwargs": {"overrides": overrides}})

    def join_transfer(self, init_info: Mapping[str, Any]) -> None:
        """Makes the server join a group of processes that weights are broadcast in; returns once all have joined."""
        self._request("POST", "/init_weight_transfer_engine", {"init_info": dict(init_info)})

    def leave_transfer(self) -> None:
        """Makes the server leave its group."""
        self._request("POST", "/shutdown_weight_transfer_engine")

    def start_update(self) -> None:
        """Prepares the server's weights for being received in parts."""
        self._request("POST", "/start_weight_update")

    def receive_weights(self, update_info: Mapping[str, Any]) -> None:
        """Returns once the server has received the weights that `update_info` lists."""
        self._request("POST", "/update_weights", {"update_info": dict(update_info)})

    def finish_update(self) -> None:
        """Puts the received weights in place."""
        self._request("POST", "/finish_weight_update")

    def reset_prefix_cache(self) -> None:
        """Removes what was computed with earlier weights."""
        if not self._request("POST", "/reset_prefix_cache")["success"]:
            raise ServerDownError("its prefix cache of the old weights could not be emptied")

    def set_weight_version(self, version: str) -> None:
        """Gives the server's weights a name; a server that is started again has another."""
        self._request("POST", "/update_weight_version", {"new_version": version})

    def weight_version(self) -> str:
        """Returns the name of the server's weights."""
        return str(self._request("GET", "/weight_info")["weight_version"])

    def weight_checksums(self) -> dict[str, str]:
        """Returns the SHA-256 of each weight in the server's memory, by the process that holds it and the name."""
        checksums: dict[str, str] = self._request("POST", "/weight_checker", {"action": "checksum"})["checksums"]
        return checksums

    def _request(
        self,
        method: str,
        path: str,
        body: Any = None,
        timeout_s: float | None = None,
        if_missing: str | None = None,
    ) -> Any:
        """Returns the decoded response; `if_missing` is why a server counts as down that lacks what a request names."""
        status, answer = self._exchange(method, path, body, self._timeout_s if timeout_s is None else timeout_s)
        if status == 404 and if_missing is not None:
            raise ServerDownError(if_missing)
        self._check_status(path.split("?")[0], status, answer)
        return json.loads(answer) if answer else None

    def _check_status(self, route: str, status: int, answer: bytes) -> None:
        """Raises what the status of a response means, unless it is that of success."""
        if status >= 500:
            raise ServerDownError(f"{_PARTS.get(route, route)} failed with {status}: {_excerpt(answer)}")
        if status == 404 and route in _PARTS:
            raise InputError(
                f"rollout.addresses: {self.address} takes no new weights (it has no {route}), so nothing can be "
                "trained with it; start it with VLLM_SERVER_DEV_MODE=1."
            )
        if route == "/version" and status != 200:
            raise InputError(
                f"rollout.addresses: {self.address} is no vLLM server: it answers {route} with {status}. Give the "
                "address and port that `vllm serve` names."
            )
        if status >= 400:
            raise InputError(f"rollout.addresses: {self.address} refuses {route} with {status}: {_excerpt(answer)}")

    def _exchange(self, method: str, path: str, body: Any, timeout_s: float) -> tuple[int, bytes]:
        """Returns status and body of the response."""
        route = path.split("?")[0]
        part = _PARTS.get(route, route)
        kind = HTTPSConnection if self._url.scheme == "https" else HTTPConnection
        connection = kind(self._url.netloc, timeout=min(timeout_s, _QUICK_S))
        try:
            connection.connect()
        except OSError as error:
            raise ServerDownError(f"it cannot be reached ({error})") from error
        connected: socket.socket = connection.sock
        with self._lock:
            self._sockets.add(connected)
        try:
            deadline = time.monotonic() + timeout_s
            connected.settimeout(timeout_s)
            content = None if body is None else json.dumps(body)
            headers = {} if body is None else {"Content-Type": "application/json"}
            connection.request(method, self._url.path + path, content, headers)
            response = connection.getresponse()
            return response.status, _read(response, connected, deadline)
        except TimeoutError as error:
            raise ServerDownError(f"{part} was not done within {timeout_s:g} s") from error
        except (OSError, HTTPException) as error:
            raise ServerDownError(f"the connection broke during {part} ({error})") from error
        finally:
            with self._lock:
                self._sockets.discard(connected)
            connection.close()


def _read(response: HTTPResponse, connected: socket.socket, deadline: float) -> bytes:
    """Returns the body of a response; raises TimeoutError after the deadline, also if the body trickles in."""
    parts = []
    while part := response.read1(_READ_BYTES):
        parts.append(part)
        if response.isclosed():  # and with it, where the server asked for that, the connection
            break
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        connected.settimeout(left_s)
    if response.length:
        raise IncompleteRead(b"".join(parts), response.length)
    return b"".join(parts)


def _excerpt(answer: bytes) -> str:
    """Returns the beginning of a response, for a message."""
    return " ".join(answer[:300].decode(errors="replace").split())
