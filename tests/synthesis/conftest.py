"""A server that speaks the chat-completions protocol, and clients of it."""

from __future__ import annotations

import pytest
from chat_server import KEY, NO_BUDGET, NO_PRICES, ServerReply, running_server

from medssr.synthesis.chat_client import ChatClient
from medssr.synthesis.chat_settings import ChatSettings


@pytest.fixture
def server():
    with running_server() as server:
        server.answer = lambda prompt, _: ServerReply(f"answer to {prompt}")
        yield server


@pytest.fixture
def make_client(server, tmp_path, monkeypatch):
    monkeypatch.setenv("TEST_API_KEY", KEY)
    clients = []

    def build(**changes) -> ChatClient:
        fields = {
            "base_url": server.url,
            "model": "tiny",
            "api_key_env": "TEST_API_KEY",
            "temperature": 0.7,
            "max_tokens": 256,
            "max_concurrency": 4,
            "timeout_s": 5.0,
            "max_retries": 3,
            "prices": NO_PRICES,
            "budget": NO_BUDGET,
            "ledger_dir": tmp_path,
        }
        clients.append(ChatClient(ChatSettings(**(fields | changes)), "chat.jsonl"))
        return clients[-1]

    yield build
    for client in clients:
        client.close()
