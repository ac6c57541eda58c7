"""Measures how labels scale with the number of vLLM servers, and what waiting for each chunk of questions costs.

    python experiments/performance/server_streams.py [--num-questions 1536] [--mean-s 0.6]

The servers are stand-ins in a process beside this one, on 127.0.0.1: each answers vLLM's requests for completions after
a delay with a long tail (lognormal, at most six times the median). The delay depends on the request's seed alone, so
all variants wait for the same delays. Client, prompts, extraction of answers and files are those of
`medssr-pseudo-label`. The variant "chunk by chunk" samples a chunk of 32 questions, as many as eight servers have under
way, and sends the next when the last of them is answered. Needs no GPU and no vLLM; it ends by itself after about ten
minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import random
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

NUM_SERVERS = (1, 2, 4, 8)
NUM_VOTES = 2
# Prompts that a server has under way.
NUM_PROMPTS = 4
QUESTIONS_PER_CHUNK = 32
# Of the lognormal distribution of delays; its mean is about 1.25 times its median.
SIGMA, LONGEST = 0.75, 6.0


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-questions", type=int, default=1536)
    parser.add_argument("--mean-s", type=float, default=0.6, help="mean delay of a prompt in seconds")
    arguments = parser.parse_args()

    here, there = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    servers = context.Process(target=_serve, args=(there, max(NUM_SERVERS), arguments.mean_s / 1.25), daemon=True)
    servers.start()
    try:
        measure(here, arguments.num_questions)
    finally:
        servers.terminate()
        servers.join()


def measure(servers: Connection, num_questions: int) -> None:
    """Prints the seconds of each variant, and their ratios."""
    import hydra
    from omegaconf import OmegaConf

    from medssr.config import register
    from medssr.config.catalog import CONF_DIR
    from medssr.engines.sampled_answers import AnswerSampler
    from medssr.engines.types import Sampling
    from medssr.engines.vllm_server_engine import VLLMServerEngine
    from medssr.models.policy import load_policy
    from medssr.questions import read_questions

    register()
    with hydra.initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config: Any = OmegaConf.to_object(hydra.compose("pipeline", ["paths.root_dir=/nowhere"]))
    policy = load_policy(config.model)
    built_in = list(read_questions(config.seed_questions.path))
    questions = [replace(built_in[number % len(built_in)], id=f"q{number}") for number in range(num_questions)]
    sampling = Sampling(1.0, 16, has_logps=False)
    servers.send([*policy.tokenizer("The answer is B.")["input_ids"], min(policy.eos_token_ids)])
    addresses: list[str] = servers.recv()

    def seconds(number: int, questions_per_call: int) -> float:
        room = NUM_VOTES * NUM_PROMPTS
        # The gap between the log-probs of stand-ins and policy says nothing.
        engine = VLLMServerEngine(policy, addresses[:number], None, room, 60.0, None, max_logp_gap=1e9, overlap=None)
        sampler = AnswerSampler(policy, engine, sampling, NUM_VOTES, 42, "votes", QUESTIONS_PER_CHUNK)
        with tempfile.TemporaryDirectory() as folder, closing(engine):
            engine.generate([[5]], [[1]], sampling)  # connects
            start = time.monotonic()
            for first in range(0, num_questions, questions_per_call):
                asked = questions[first : first + questions_per_call]
                num_labeled = sum(1 for _ in sampler.sample(asked, Path(folder) / str(first), "built-in"))
                assert num_labeled == len(asked)
            return time.monotonic() - start

    print(f"{num_questions} questions x {NUM_VOTES} votes, {NUM_PROMPTS} prompts under way a server")
    print(f"{'servers':>8}{'seconds':>10}{'of linear':>12}")
    measured = {number: seconds(number, num_questions) for number in NUM_SERVERS}
    for number, time_s in measured.items():
        print(f"{number:8}{time_s:10.1f}{measured[1] / number / time_s:12.2f}")
    most = max(NUM_SERVERS)
    chunkwise = seconds(most, QUESTIONS_PER_CHUNK)
    print(f"chunk by chunk on {most}: {chunkwise:.1f} s, {chunkwise / measured[most]:.1f} times as long")


def _serve(client: Connection, number: int, median_s: float) -> None:
    asyncio.run(_serve_until_ended(client, number, median_s, client.recv()))


async def _serve_until_ended(client: Connection, number: int, median_s: float, tokens: list[int]) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = next((int(line.split(":")[1]) for line in head.split("\r\n") if line.startswith("content-length")), 0)
        body = json.loads(await reader.readexactly(length) or b"{}")
        if "seed" in body:
            draw = random.Random(body["seed"]).lognormvariate(0.0, SIGMA)
            await asyncio.sleep(median_s * min(draw, LONGEST))
        one = {"token_ids": tokens, "logprobs": {"token_logprobs": [-1.0] * len(tokens)}}
        content = {
            "version": "0.32.0",
            "data": [{"id": "policy", "max_model_len": 512, "parent": None}],
            "choices": [{"index": index, **one} for index in range(body.get("n", 0))],
        }
        payload = json.dumps(content).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(payload) + payload)
        await writer.drain()
        writer.close()

    listening = [await asyncio.start_server(answer, "127.0.0.1", 0, backlog=512) for _ in range(number)]
    client.send([f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}" for server in listening])
    await asyncio.gather(*(server.serve_forever() for server in listening))


if __name__ == "__main__":
    main()
