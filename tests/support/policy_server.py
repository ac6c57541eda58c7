"""A server on this machine that answers chat completions with a policy, greedily, by transformers' own generation."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch

from medssr.models.policy import Policy


@dataclass
class PolicyServer:
    """What is asked, and the policy that answers.

    Attributes:
        policy: The policy.
        tokenizer: Its chat template makes the prompts.
        calls: The bodies of all calls.
        url: The address of the API.
    """

    policy: Policy
    tokenizer: Any
    calls: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, call: dict[str, Any]) -> dict[str, Any]:
        with self._lock:  # a model that several threads share
            self.calls.append(call)
            return self._answer(call)

    @torch.inference_mode()
    def _answer(self, call: dict[str, Any]) -> dict[str, Any]:
        assert call.get("temperature") == 0, "this server is greedy"
        prompt = self.tokenizer.apply_chat_template(
            call["messages"], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        limit = call.get("max_tokens") or call["max_completion_tokens"]
        generated = self.policy.model.generate(
            **prompt, do_sample=False, max_new_tokens=limit, eos_token_id=sorted(self.policy.eos_token_ids)
        )
        token_ids = generated[0, prompt["input_ids"].shape[1] :].tolist()
        text = self.tokenizer.decode(token_ids, skip_special_tokens=True)
        ends = [text.find(stop) for stop in call.get("stop") or [] if stop in text]
        is_finished = token_ids[-1] in self.policy.eos_token_ids or bool(ends)
        message = {"role": "assistant", "content": text[: min(ends)] if ends else text}
        num_prompt = prompt["input_ids"].shape[1]
        usage = {"prompt_tokens": num_prompt, "completion_tokens": len(token_ids)}
        return {
            "id": f"call-{len(self.calls)}",
            "object": "chat.completion",
            "created": 1,
            "model": call["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop" if is_finished else "length"}],
            "usage": usage | {"total_tokens": num_prompt + len(token_ids)},
        }


@contextmanager
def running_policy(policy: Policy, tokenizer: Any) -> Iterator[PolicyServer]:
    """Yields a server of a policy that listens on loopback."""
    served = PolicyServer(policy, tokenizer)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            call = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body = json.dumps(served.answer(call)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Listener(ThreadingHTTPServer):
        request_queue_size = 128  # of connections that come at once; beyond it they are reset

    server = Listener(("127.0.0.1", 0), Handler)
    served.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
