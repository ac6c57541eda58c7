"""One vLLM server behind its OpenAI-compatible address: what it serves, its completions, and new weights for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medssr.errors import InputError
from medssr.rollout.types import Sampling
from medssr.rollout.vllm_requests import OLDEST_VERSION, is_too_old

if TYPE_CHECKING:
    import httpx

# Seconds for what a server answers at once when it is well.
_QUICK_S = 10.0


class ServerDownError(Exception):
    """A server does not answer, or says that it is at fault."""


class VLLMServer:
    """A server's address with what can be asked there. Used by many threads at a time.

    Args:
        address: For example `http://localhost:8000`.
        model: Name of the model there; None for the first that it serves.
        timeout_s: Seconds for the completions of one prompt, and for each part of a change of weights.
    """

    def __init__(self, address: str, model: str | None, timeout_s: float) -> None:
        import httpx

        self.address = address.rstrip("/").removesuffix("/v1")
        self._model = model
        self._timeout_s = timeout_s
        self._http = httpx.Client(base_url=self.address, limits=httpx.Limits(max_connections=None))

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def check(self) -> int:
        """Returns the longest prompt with its completion that the server takes, in tokens.

        Raises:
            ServerDownError: When it does not answer.
            InputError: When it is no vLLM, too old, or serves another model.
        """
        version = str(self._get("/version")["version"])
        if is_too_old(version):
            oldest = ".".join(map(str, OLDEST_VERSION))
            raise InputError(f"rollout.addresses: {self.address} runs vLLM {version}; {oldest} or newer is needed.")
        served = {card["id"]: card for card in self._get("/v1/models")["data"]}
        if self._model is None:
            self._model = next(iter(served))
        if self._model not in served:
            raise InputError(f"rollout.model: {self.address} serves {', '.join(served)}, not {self._model}.")
        return int(served[self._model]["max_model_len"])

    def complete(
        self, prompt: list[int], num_samples: int, seed: int, sampling: Sampling, eos_ids: Sequence[int]
    ) -> list[tuple[list[int], list[float]]]:
        """Returns tokens and log-probs of each sample; no log-probs where the sampling does not ask for them.

        Raises:
            ServerDownError: When it does not answer in time, or fails.
            InputError: When it refuses the request.
        """
        request = {
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
            "logprobs": 0 if sampling.has_logps else None,
            "return_token_ids": True,
        }
        choices = sorted(self._post("/v1/completions", json=request)["choices"], key=lambda choice: choice["index"])
        return [
            (choice["token_ids"], choice["logprobs"]["token_logprobs"] if sampling.has_logps else [])
            for choice in choices
        ]

    def load_weights(self, folder: Path) -> None:
        """Makes the server read new weights, and forget what it computed with those before.

        Raises:
            ServerDownError: When it does not answer in time, or fails.
            InputError: When it does not take new weights.
        """
        self._post("/pause", params={"mode": "wait"})
        reload = {"method": "reload_weights", "kwargs": {"weights_path": str(folder)}, "timeout": self._timeout_s}
        self._post("/collective_rpc", json=reload)
        self._post("/reset_prefix_cache")
        self._post("/resume")

    def _get(self, path: str) -> Any:
        return self._answer("GET", path, _QUICK_S)

    def _post(self, path: str, **content: Any) -> Any:
        return self._answer("POST", path, self._timeout_s, **content)

    def _answer(self, method: str, path: str, timeout_s: float, **content: Any) -> Any:
        import httpx

        timeout = httpx.Timeout(timeout_s, connect=min(timeout_s, _QUICK_S))
        try:
            response = self._http.request(method, path, timeout=timeout, **content)
        except httpx.ConnectError as error:
            raise ServerDownError(f"it cannot be reached ({error})") from error
        except httpx.TimeoutException as error:
            raise ServerDownError(f"{path} had no answer within {timeout_s:g} s") from error
        except httpx.RequestError as error:
            raise ServerDownError(f"the connection broke during {path} ({error or type(error).__name__})") from error
        if response.status_code >= 500:
            raise ServerDownError(f"{path} failed with {response.status_code}: {_start(response)}")
        if response.status_code == 404 and path in ("/pause", "/collective_rpc", "/reset_prefix_cache", "/resume"):
            raise InputError(
                f"rollout.addresses: {self.address} takes no new weights, so nothing can be trained with it; start it "
                "with VLLM_SERVER_DEV_MODE=1."
            )
        if response.status_code >= 400:
            raise InputError(
                f"rollout.addresses: {self.address} refuses {path} with {response.status_code}: {_start(response)}"
            )
        return response.json() if response.content else None


def _start(response: httpx.Response) -> str:
    return " ".join(response.text[:300].split())
