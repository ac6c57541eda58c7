"""Measures what synthesis adds to its API calls, relative to a bare loop of the same HTTP calls.

    python experiments/performance/chat_overhead.py [--num-questions 2000] [--answer-after-ms 0]

A server in a separate process answers at once or after a delay; during a delay, the work of synthesis costs no wall
time. Each variant is measured with a quarter of the questions and with all of them; the difference excludes what is
done once (imports, the index, the first connections). The script prints milliseconds per question.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

MAX_CONCURRENCY = 16
NUM_ROUNDS = 3
WORDS = [f"{first}{second}{last}" for first in "bdfgklmnprst" for second in "aeiou" for last in ("rin", "tosis", "lum")]


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num-questions", type=int, default=2000)
    parser.add_argument("--answer-after-ms", type=float, default=0.0, help="delay of the server before an answer")
    arguments = parser.parse_args()
    num_questions = arguments.num_questions
    receiver, sender = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(
        target=serve, args=(sender, arguments.answer_after_ms), daemon=True
    )
    server.start()
    url = f"http://127.0.0.1:{receiver.recv()}/v1"
    os.environ["MEDSSR_OVERHEAD_KEY"] = "none"
    variants: dict[str, Callable[[str, int], None]] = {
        "bare loop of HTTP calls": bare_loop,
        "client with ledger": client,
        "medssr-synthesize": synthesize_all,
    }
    figures = per_question({name: partial(variant, url) for name, variant in variants.items()}, num_questions)
    bare = figures["bare loop of HTTP calls"]
    print(f"{'':26}{'wall ms':>10}{'CPU ms':>10}{'added wall':>12}{'added CPU':>12}")
    for name, (wall, cpu) in figures.items():
        print(f"{name:26}{wall:10.2f}{cpu:10.2f}{wall - bare[0]:12.2f}{cpu - bare[1]:12.2f}")
    server.terminate()


def per_question(variants: dict[str, Callable[[int], None]], num_questions: int) -> dict[str, tuple[float, float]]:
    """Returns wall and CPU milliseconds of this process per question, by name of the variant."""
    sizes = (num_questions // 4, num_questions)
    best = {(name, size): (float("inf"), float("inf")) for name in variants for size in sizes}
    # The variants take turns and the best round counts, so that other load on the machine affects all of them alike.
    for _ in range(NUM_ROUNDS):
        for name, size in best:
            wall, cpu = time.perf_counter(), time.process_time()
            variants[name](size)
            taken = (time.perf_counter() - wall, time.process_time() - cpu)
            best[name, size] = (min(best[name, size][0], taken[0]), min(best[name, size][1], taken[1]))
    per = 1000 / (sizes[1] - sizes[0])
    differences = {name: zip(best[name, sizes[1]], best[name, sizes[0]], strict=True) for name in variants}
    walls_and_cpus = {name: [per * (large - small) for large, small in pairs] for name, pairs in differences.items()}
    return {name: (wall, cpu) for name, (wall, cpu) in walls_and_cpus.items()}


def prompt_of(number: int) -> str:
    """Returns a prompt of the length that synthesis uses."""
    return f"{number} " + "x" * 3000


def bare_loop(url: str, count: int) -> None:
    """Makes the calls and decodes the answers."""
    from urllib3 import connection_from_url

    connection = connection_from_url(url, maxsize=MAX_CONCURRENCY, block=True, timeout=60)
    headers = {"Content-Type": "application/json"}

    def call(number: int) -> Any:
        message = {"role": "user", "content": prompt_of(number)}
        body = {"model": "fast", "messages": [message], "temperature": 1.0, "max_tokens": 1024, "seed": number}
        answer = connection.urlopen("POST", "/v1/chat/completions", body=json.dumps(body).encode(), headers=headers)
        return json.loads(answer.data)

    with ThreadPoolExecutor(MAX_CONCURRENCY) as pool:
        assert len(list(pool.map(call, range(count)))) == count


def client(url: str, count: int) -> None:
    """Makes the calls through the client, with a fresh ledger."""
    from medssr.llm.budget import Budget, Prices
    from medssr.llm.chat_client import ChatClient
    from medssr.llm.chat_settings import ChatSettings

    with tempfile.TemporaryDirectory() as folder:
        settings = ChatSettings(
            base_url=url,
            model="fast",
            api_key_env=None,
            extra_body={},
            temperature=1.0,
            max_tokens=1024,
            max_concurrency=MAX_CONCURRENCY,
            timeout_s=60,
            max_retries=2,
            prices=Prices(1.0, 1.0),
            budget=Budget(1000.0, None),
            ledger_dir=folder,
        )
        chat_client = ChatClient(settings, "chat.jsonl")
        numbers = range(count)
        replies = chat_client.ask_all(
            lambda number: chat_client.ask(["test", number], [{"role": "user", "content": prompt_of(number)}], number),
            numbers,
        )
        assert sum(reply.is_answered for _, reply in replies) == count
        chat_client.close()


def synthesize_all(url: str, count: int) -> None:
    """Runs the whole synthesis step: draws, passages, prompts, calls, filters and files."""
    import hydra
    from omegaconf import OmegaConf

    from medssr.commands.synthesize import synthesize
    from medssr.config import register
    from medssr.config.catalog import CONF_DIR

    register()
    with tempfile.TemporaryDirectory() as folder:
        overrides = [
            *("generator=openai", "generator.model=fast", f"generator.base_url={url}", "generator.api_key_env=null"),
            *(f"generator.max_concurrency={MAX_CONCURRENCY}", f"synthesis.num_questions={count}"),
            *(f"paths.root_dir={folder}", "extras.progress_bar=false"),
        ]
        with hydra.initialize_config_dir(str(CONF_DIR), version_base="1.3"):
            config: Any = OmegaConf.to_object(hydra.compose("synthesize", overrides))
        artifact = synthesize(config)
        assert artifact.manifest["counts"]["num_questions"] >= 0.99 * count, artifact.manifest["counts"]
        assert Path(artifact.directory).is_dir()


def serve(port: Connection, answer_after_ms: float) -> None:
    """Answers every request with a question of random words; ends with the process that started it."""
    rng = random.Random(0)

    def answer(body: bytes) -> bytes:
        prompt = json.loads(body)["messages"][0]["content"]
        disease = prompt.partition("about a rare disease, ")[2].partition(". It must test")[0]
        stem = f"A patient with {disease} has {', '.join(rng.sample(WORDS, 25))}. Which of these explains it best?"
        content = json.dumps({"question": stem, "options": dict(zip("ABCD", rng.sample(WORDS, 4), strict=True))})
        choice = {"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
        return json.dumps({"choices": [choice], "usage": {"prompt_tokens": 900, "completion_tokens": 90}}).encode()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
                body = answer(await reader.readexactly(int(length.split(b":")[1])))
                if answer_after_ms:
                    await asyncio.sleep(answer_after_ms / 1000)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def listen() -> None:
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(listen())


if __name__ == "__main__":
    main()
