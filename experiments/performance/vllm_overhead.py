"""Measures what medssr adds to vLLM: pseudo-labelling's sampler relative to a bare LLM.generate.

    python experiments/performance/vllm_overhead.py [--num-questions 500] [--num-samples 16] [--num-rounds 3]

Both variants use the same running vLLM, with an empty prefix cache at the start. The bare variant gets all prompts
at once and asks for text; the other one uses the sampler of `medssr-pseudo-label`, which works in chunks, extracts the
answers and writes files. They take turns, and the best round of each counts. Needs vLLM: make setup-vllm.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-questions", type=int, default=500)
    parser.add_argument("--num-samples", type=int, default=16)
    parser.add_argument("--num-rounds", type=int, default=3)
    arguments = parser.parse_args()

    import hydra
    from omegaconf import OmegaConf

    from medssr.config import register
    from medssr.config.catalog import CONF_DIR
    from medssr.engines.sampled_answers import AnswerSampler
    from medssr.engines.types import Sampling
    from medssr.engines.vllm_process import preserve_process_state
    from medssr.models.policy import load_policy
    from medssr.questions import read_questions
    from medssr.utils.instantiate import instantiate

    register()
    with hydra.initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config: Any = OmegaConf.to_object(hydra.compose("pipeline", ["rollout=vllm", "paths.root_dir=/nowhere"]))
    policy = load_policy(config.model)
    labeling = config.labeling
    sampling = Sampling(labeling.temperature, labeling.max_new_tokens, has_logps=False)
    questions = [*read_questions(config.seed_questions.path), *read_questions(config.benchmark.path)][
        : arguments.num_questions
    ]
    prompts = policy.encode(questions, sampling.max_new_tokens, config.seed_questions.path)
    engine = instantiate(config.rollout, "rollout", policy=policy)
    engine.generate(prompts[:1], [[0]], sampling)  # starts it
    llm = engine._process.llm
    sampler = AnswerSampler(policy, engine, sampling, arguments.num_samples, 42, "votes", labeling.questions_per_chunk)

    def bare() -> int:
        from vllm import SamplingParams

        params = SamplingParams(
            n=arguments.num_samples,
            temperature=sampling.temperature,
            max_tokens=sampling.max_new_tokens,
            stop_token_ids=sorted(policy.eos_token_ids),
            seed=42,
        )
        # As in medssr's calls: on a CPU, compilation would cost the bare variant more than it gains.
        with preserve_process_state():
            outputs = llm.generate([{"prompt_token_ids": prompt} for prompt in prompts], params, use_tqdm=False)
        return sum(len(sample.token_ids) for output in outputs for sample in output.outputs)

    def through_medssr() -> int:
        with tempfile.TemporaryDirectory() as folder:
            rows = sampler.sample(questions, Path(folder), config.seed_questions.path)
            return sum(answer.num_tokens for row in rows for answer in row)

    variants = {"LLM.generate": bare, "medssr-pseudo-label": through_medssr}
    best = {name: (float("inf"), float("inf"), 0) for name in variants}
    for _ in range(arguments.num_rounds):
        for name, variant in variants.items():
            assert llm.reset_prefix_cache()
            best[name] = min(best[name], measured(variant))
    engine.close()
    print(f"{len(questions)} questions x {arguments.num_samples} samples, best of {arguments.num_rounds} rounds")
    print(f"{'':22}{'wall s':>9}{'CPU s':>9}{'tokens':>10}{'tokens/s':>10}{'wall ratio':>12}{'CPU ratio':>11}")
    bare_wall, bare_cpu, bare_tokens = best["LLM.generate"]
    for name, (wall, cpu, tokens) in best.items():
        token_ratio = tokens / bare_tokens  # the samples differ by chance, so ratios are per token
        ratios = f"{wall / bare_wall / token_ratio:12.3f}{cpu / bare_cpu / token_ratio:11.3f}"
        print(f"{name:22}{wall:9.1f}{cpu:9.1f}{tokens:10}{tokens / wall:10.0f}{ratios}")


def measured(variant: Callable[[], int]) -> tuple[float, float, int]:
    """Returns wall and CPU seconds of this process, and the number of sampled tokens."""
    wall, cpu = time.monotonic(), time.process_time()
    tokens = variant()
    return time.monotonic() - wall, time.process_time() - cpu, tokens


if __name__ == "__main__":
    main()
