"""Measures how long a ledger takes to open, and how much memory it keeps.

python experiments/performance/ledger_open.py [--num-replies 43000]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
import tracemalloc
from pathlib import Path

from medssr.llm.ledger import Ledger


def main() -> None:
    """Writes a ledger as large as that of the paper's run, opens it and reads from it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num-replies", type=int, default=43_000)
    count = parser.parse_args().num_replies
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "openai.jsonl"
        keys = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(count)]
        with path.open("w", encoding="utf-8") as stream:
            for number, key in enumerate(keys):
                stream.write(json.dumps({"event": "sent", "key": key, "attempt": 0, "time": 0.0}) + "\n")
                stream.write(json.dumps(reply(number, key)) + "\n")
        start = time.perf_counter()
        ledger = Ledger(path)
        open_seconds = time.perf_counter() - start
        start = time.perf_counter()
        assert all(ledger.find(key) is not None for key in keys[::10])
        find_seconds = (time.perf_counter() - start) / len(keys[::10])
        ledger.close()
        tracemalloc.start()
        reopened = Ledger(path)
        num_bytes, _ = tracemalloc.get_traced_memory()
        print(
            f"{len(reopened)} replies, {path.stat().st_size / 2**20:.0f} MiB on disk: opened in {open_seconds:.2f} s, "
            f"{1e6 * find_seconds:.0f} us to find one, {num_bytes / 2**20:.1f} MiB kept "
            f"({num_bytes / count:.0f} bytes per reply)"
        )


def reply(number: int, key: str) -> dict[str, object]:
    """Returns the ledger entry of a reply of typical length."""
    return {
        "event": "reply",
        "key": key,
        "purpose": ["synthesis", number, 0, 0],
        "model": "some-model",
        "prompt_sha256": key,
        "settings_sha256": key,
        "seed": number,
        "outcome": "answer",
        "text": "A question of the usual length. " * 30,
        "error": None,
        "prompt_tokens": 900,
        "completion_tokens": 250,
        "is_estimated": False,
        "dollars": 0.001,
        "num_attempts": 1,
        "failures": [],
        "latency_s": 1.5,
        "time": 0.0,
    }


if __name__ == "__main__":
    main()
