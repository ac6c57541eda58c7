"""HTTP servers that answer as vLLM's do, without a model: for tests of what several servers are asked."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

CHANGES = (
    "/server_info",
    "/pause",
    "/collective_rpc",
    "/reset_prefix_cache",
    "/update_weight_version",
    "/weight_checker",
    "/weight_info",
    "/v1/load_lora_adapter",
    "/v1/unload_lora_adapter",
    "/resume",
)


@dataclass
class StandIn:
    """A server; what it does can be changed while it runs.

    Attributes:
        version: The version of vLLM that it claims to be.
        routes: The routes that it has.
        hanging: A route that never answers.
        failing: A route that answers with a server error.
        refusing: A route that refuses requests.
        is_lost: Whether it breaks all connections.
        before_answer: Called before each completion is answered.
        weight_version: What it calls its weights.
        takes_weights: Whether it reads the weights that it is told to read.
        checksums: The checksums of its weights.
        transfer: Its weight-transfer configuration.
        max_lora_rank: The limit of the rank of its adapters; None if it was started without --enable-lora.
        can_change_adapters: Whether it takes and drops adapters while it runs.
        adapters: The weights of each adapter that it has, by its name and those of its file.
        asked: The number of times that each prompt came.
        models: The number of times that completions of each model or adapter were asked for.
        requests: The routes of all requests.
    """

    version: str = "0.32.0"
    routes: tuple[str, ...] = ("/version", "/v1/models", "/v1/completions", *CHANGES)
    hanging: str = ""
    failing: str = ""
    refusing: str = ""
    is_lost: bool = False
    before_answer: Callable[[], Any] = bool
    weight_version: str = "default"
    takes_weights: bool = True
    checksums: dict[str, str] = field(default_factory=dict)
    transfer: dict[str, str] | None = None
    max_lora_rank: int | None = None
    can_change_adapters: bool = True
    adapters: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    asked: Counter[tuple[int, ...]] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    requests: list[str] = field(default_factory=list)
    may_end: threading.Event = field(default_factory=threading.Event)
    address: str = ""

    def num_asked(self, prompts: list[list[int]]) -> int:
        """Returns how many of these prompts came."""
        return sum(self.asked[tuple(prompt)] for prompt in prompts)

    def start_again(self) -> None:
        """Forgets what it was given."""
        self.weight_version = "default"
        self.checksums.clear()
        self.adapters.clear()

    def has(self, route: str, body: dict[str, Any]) -> bool:
        """Returns whether it has the route, and the model that completions are asked of."""
        return route in self.routes and body.get("model", "tiny") in ("tiny", *self.adapters)

    def answer(self, route: str, body: dict[str, Any]) -> dict[str, Any]:
        if route == "/v1/load_lora_adapter":
            self.adapters[body["lora_name"]] = load_file(Path(body["lora_path"]) / "adapter_model.safetensors")
        if route == "/v1/unload_lora_adapter":
            del self.adapters[body["lora_name"]]
        if route == "/v1/completions":
            self.models[body["model"]] += 1
            self.asked[tuple(body["prompt"])] += 1
            self.before_answer()
            one = {"token_ids": [7], "logprobs": {"token_logprobs": [-1.0]}}
            return {"choices": [{"index": index, **one} for index in range(body["n"])]}
        if route == "/update_weight_version":
            self.weight_version = body["new_version"]
        if route == "/collective_rpc" and self.takes_weights:
            self.load(load_file(Path(body["kwargs"]["weights_path"]) / "model.safetensors"))
        return {
            "version": self.version,
            "success": True,
            "data": [
                {"id": "tiny", "max_model_len": 512, "parent": None},
                *({"id": name, "max_model_len": None, "parent": "tiny"} for name in self.adapters),
            ],
            "weight_version": self.weight_version,
            "checksums": self.checksums,
            "vllm_config": {
                "model_config": {"dtype": "torch.float32", "quantization": None},
                "weight_transfer_config": self.transfer,
                "lora_config": None if self.max_lora_rank is None else {"max_lora_rank": self.max_lora_rank},
            },
            "vllm_env": {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": self.can_change_adapters},
        }

    def load(self, weights: dict[str, Tensor]) -> None:
        for name, weight in weights.items():
            digest = hashlib.sha256(weight.contiguous().view(-1).view(torch.uint8).numpy()).hexdigest()
            self.checksums[f"dp0:pp0:pcp0:tp0:{name}"] = digest


class _Server(http.server.ThreadingHTTPServer):
    request_queue_size = 256  # many prompts come at the same time
    daemon_threads = True


@contextmanager
def running(stand_in: StandIn) -> Iterator[StandIn]:
    """Runs a stand-in in threads, at a free port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            route = self.path.split("?")[0]
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
            stand_in.requests.append(route)
            if stand_in.is_lost:
                return
            if route == stand_in.hanging:
                stand_in.may_end.wait()
            status = 200 if stand_in.has(route, body) else 404
            status = 500 if route == stand_in.failing else 400 if route == stand_in.refusing else status
            content = json.dumps(stand_in.answer(route, body) if status == 200 else {}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815

        def handle(self):
            with suppress(OSError):  # the client has ended the request
                super().handle()

        def log_message(self, *_):
            pass

    with _Server(("127.0.0.1", 0), Handler) as server:
        stand_in.address = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield stand_in
        finally:
            stand_in.may_end.set()
            server.shutdown()
