"""A server that speaks the chat-completions protocol, and clients of it."""

from __future__ import annotations

import pytest
from support.chat_server import CLIENT_FIELDS, KEY, ServerReply, running_server

from medssr.llm.chat_client import ChatClient
from medssr.llm.chat_settings import ChatSettings


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
        fields = CLIENT_FIELDS | {"base_url": server.url, "ledger_dir": tmp_path}
        clients.append(ChatClient(ChatSettings(**(fields | changes)), "chat.jsonl"))
        return clients[-1]

    yield build
    for client in clients:
        client.close()
