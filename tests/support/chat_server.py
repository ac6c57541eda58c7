"""A real server on this machine that speaks the chat-completions protocol and answers as a test wants."""

from __future__ import annotations

import json
import random
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from medssr.llm.budget import Budget, Prices

KEY = "sk-very-secret"
OPTIONS = {"A": "liver", "B": "heart", "C": "kidney", "D": "lung"}
NO_BUDGET = Budget(dollars=None, tokens=None)
NO_PRICES = Prices(prompt=None, completion=None)
# What a client of the server is made with, beside its address and the folder of its ledger.
CLIENT_FIELDS = {
    "model": "tiny",
    "api_key_env": "TEST_API_KEY",
    "temperature": 0.7,
    "max_tokens": 256,
    "extra_body": {},
    "max_concurrency": 4,
    "timeout_s": 5.0,
    "max_retries": 3,
    "prices": NO_PRICES,
    "budget": NO_BUDGET,
}


@dataclass
class ServerReply:
    """What the server sends back to one call."""

    text: Any = None
    status: int = 200
    finish: str = "stop"
    refusal: str | None = None
    message: dict[str, Any] = field(default_factory=dict)  # further fields of the message: reasoning, tool_calls ...
    error: Any = None
    usage: dict[str, int] | None = field(default_factory=lambda: {"prompt_tokens": 11, "completion_tokens": 7})
    headers: dict[str, str] = field(default_factory=lambda: {"retry-after-ms": "1"})
    body: bytes | None = None
    drops_connection: bool = False

    def encoded(self) -> bytes:
        if self.body is not None:
            return self.body
        if self.status != 200:
            error = self.error or {"message": f"fault with key {KEY}", "type": "fault", "code": None, "param": None}
            return json.dumps({"error": error}).encode()
        message = {"role": "assistant", "content": self.text, "refusal": self.refusal} | self.message
        choice = {"index": 0, "message": message, "finish_reason": self.finish}
        return json.dumps({"id": "x", "object": "chat.completion", "choices": [choice], "usage": self.usage}).encode()


def question_text(prompt: str) -> str:
    return json.dumps({"question": f"Which organ is meant by {prompt}?", "options": OPTIONS})


def varied_question_text(prompt: str) -> str:
    """A question unlike that of any other prompt, about the prompt's disease where it names one."""
    rng = random.Random(prompt)
    disease = re.search(r"about a rare disease, (.+?)\. It must", prompt)
    words = [*(["".join(rng.sample("bdfgklmnprstaeiou", 6)) for _ in range(12)])]
    stem = f"A patient with {disease[1] if disease else words[0]} has {' '.join(words)}. Which organ is affected?"
    return json.dumps({"question": stem, "options": OPTIONS})


def refuse(
    name: str, message: str = "Unsupported parameter: '{name}' is not supported with this model."
) -> ServerReply:
    """How OpenAI's API says that a model does not take a parameter."""
    error = {"message": message.format(name=name), "type": "invalid_request_error"}
    return ServerReply(status=400, error=error | {"param": name, "code": "unsupported_parameter"})


def reasoning_only(finish: str, name: str = "reasoning_content", text: str = "Let me think.") -> ServerReply:
    """What servers of reasoning models send when there is no answer beside the reasoning."""
    return ServerReply(None, finish=finish, message={name: text})


def tool_call() -> ServerReply:
    """What a model sends that calls a tool, although it was given none."""
    call = {"id": "1", "type": "function", "function": {"name": "search", "arguments": "{}"}}
    return ServerReply(None, finish="tool_calls", message={"tool_calls": [call]})


class ChatServer:
    """Answers by a function of the last message and of how many calls that message had before."""

    def __init__(self) -> None:
        self.answer: Callable[[str, int], ServerReply] = lambda prompt, _: ServerReply(question_text(prompt))
        self.calls: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                server.handle(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Listener(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False
            request_queue_size = 128

        self.http = Listener(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        call = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        prompt = call["messages"][-1]["content"]
        with self._lock:
            before = sum(other["messages"][-1]["content"] == prompt for other in self.calls)
            self.calls.append(call)
            self.keys.append(handler.headers["Authorization"])
        reply = self.answer(prompt, before)
        if reply.drops_connection:
            handler.close_connection = True
            return
        body = reply.encoded()
        try:
            handler.send_response(reply.status)
            handler.send_header("Content-Type", "application/json")
            handler.send_header("Content-Length", str(len(body)))
            for name, value in reply.headers.items():
                handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(body)
        except ConnectionError:
            pass  # The client has given up waiting, as the test of time-outs wants.


@contextmanager
def running_server() -> Iterator[ChatServer]:
    server = ChatServer()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.http.shutdown()
    server.http.server_close()
    thread.join()
