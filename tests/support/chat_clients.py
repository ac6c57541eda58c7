"""The client that tests ask with, and the ledger that it writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from medssr.llm.budget import Prices
from medssr.llm.chat_client import ChatClient

PRICES = Prices(prompt=1e6, completion=2e6)  # one and two dollars a token


def ask(client: ChatClient, number: int = 0, **arguments: Any):
    messages = [{"role": "user", "content": f"prompt {number}"}]
    reply = client.ask(["test", number], messages, seed=5, **arguments)
    if reply.outcome == "answer":
        client.note_use(reply)
    return reply


def records(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / "chat.jsonl").read_text().splitlines()]
