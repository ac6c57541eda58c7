"""Compares votes of SmolLM2-135M by vLLM's build for CPUs with those by transformers (rollout=hf).

    PYTHONPATH=.venv-real:.venv-vllm:. python experiments/performance/vote_engines.py [--questions 4] [--votes 8]

Needs make test-real and make setup-vllm once. Both engines run in this process with the same float32 weights and number
of threads, take turns, and are started before. The figures are seconds of each for a thousand sampled tokens: samples,
and so their lengths, differ by chance. vLLM's prefix cache is emptied before each turn.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

import hydra
import torch
from omegaconf import OmegaConf

from experiments.real_weights import as_base_model
from medssr.config import EvaluateConfig, register
from medssr.config.catalog import CONF_DIR
from medssr.engines.types import Sampling
from medssr.models.policy import Policy, load_policy
from medssr.questions import read_questions
from medssr.utils.instantiate import instantiate

QUESTIONS = Path(__file__).parents[2] / "medssr/resources/questions/evaluation.jsonl"


def config_of(folder: str, engine: str) -> EvaluateConfig:
    """Returns the configuration of an evaluation with an engine."""
    settings = ["model=local", f"model.path={folder}", f"rollout={engine}", "paths.root_dir=/nowhere"]
    register("evaluate")
    with hydra.initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = OmegaConf.to_object(hydra.compose("evaluate", settings))
    assert isinstance(config, EvaluateConfig)
    return config


def turn(engine: Any, prompts: list[list[int]], num_votes: int, sampling: Sampling) -> tuple[float, float, int]:
    """Returns the seconds by the clock and of processors of some votes, and the number of their tokens."""
    seeds = [[number * num_votes + vote for vote in range(num_votes)] for number in range(len(prompts))]
    wall, cpu = time.perf_counter(), time.process_time()
    groups = engine.generate(prompts, seeds, sampling)
    num_tokens = sum(len(completion.token_ids) for group in groups for completion in group)
    return time.perf_counter() - wall, time.process_time() - cpu, num_tokens


def compare(policy: Policy, engines: dict[str, Any], arguments: argparse.Namespace) -> None:
    """Runs the engines in turns and prints the medians."""
    sampling = Sampling(1.0, arguments.tokens, has_logps=False)
    questions = list(read_questions(str(QUESTIONS)))[: arguments.questions]
    prompts = policy.encode(questions, arguments.tokens, str(QUESTIONS))
    for engine in engines.values():
        engine.generate(prompts[:1], [[0]], sampling)  # starts it
    rates: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for _ in range(arguments.rounds):
        assert engines["vllm"]._process.llm.reset_prefix_cache()
        for name, engine in engines.items():
            wall, cpu, num_tokens = turn(engine, prompts, arguments.votes, sampling)
            rates[name].append((1000 * wall / num_tokens, 1000 * cpu / num_tokens))
            print(f"{name}: {num_tokens} tokens in {wall:.1f} s, {cpu:.1f} s of processors", flush=True)
    walls, cpus = ({name: median(row[column] for row in rows) for name, rows in rates.items()} for column in (0, 1))
    print(f"{arguments.questions} questions x {arguments.votes} votes, {torch.get_num_threads()} threads")
    for name in rates:
        print(f"  {name}: {walls[name]:.1f} s by the clock, {cpus[name]:.1f} s of processors for 1,000 tokens")
    print(f"  vllm / hf: {walls['vllm'] / walls['hf']:.2f} by the clock, {cpus['vllm'] / cpus['hf']:.2f} of processors")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=4)
    parser.add_argument("--votes", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=24, help="the longest completion")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        as_base_model.main(Path(folder))
        policy = load_policy(config_of(folder, "hf").model)
        engines = {
            name: instantiate(config_of(folder, name).rollout, "rollout", policy=policy) for name in ("hf", "vllm")
        }
        try:
            compare(policy, engines, arguments)
        finally:
            for engine in engines.values():
                engine.close()


if __name__ == "__main__":
    main()
