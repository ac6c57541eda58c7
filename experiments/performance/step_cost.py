"""Compares the predicted and the seen seconds of a step of SmolLM2-135M on this machine's CPU, by part.

    PYTHONPATH=.venv-real:.:experiments/performance python experiments/performance/step_cost.py [--tokens 24]

The speed of the machine and the steps are measured in one run with one thread, both in processor time, so that other
work on the machine disturbs neither much. A step has 4 prompts x 8 completions, random rewards, a reference policy, and
no activation checkpointing. What --info cannot know, the mean length of completions and the fraction of groups with
signal, is given to the prediction as it was. Exit code 1 if the step is predicted with an error above 25%.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import wraps
from hashlib import sha256
from pathlib import Path
from statistics import fmean
from typing import Any

import hydra
import torch
from omegaconf import OmegaConf

from experiments.real_weights import as_base_model
from medssr.commands.doctor.measure import measure_hardware
from medssr.commands.train import train
from medssr.config import TrainConfig, register
from medssr.config.catalog import CONF_DIR
from medssr.engines.hf_engine import HFEngine
from medssr.engines.types import Completion
from medssr.grpo.module import GRPOModule
from medssr.grpo.objective import Objective
from medssr.models.hardware import write_hardware
from medssr.training.forecast import Forecast, forecast

QUESTIONS = Path(__file__).parents[2] / "medssr/resources/questions/human.jsonl"
MAX_ERROR = 0.25


class RandomReward:
    """A reward that is 0 or 1 by the bits of a completion."""

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def __call__(self, question: Any, completion: Completion, choice: Any) -> float:
        """Returns 0.0 or 1.0."""
        return float(sha256(str(completion.token_ids).encode()).digest()[0] % 2)


class Clock:
    """Processor time of each part of each step."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []

    def watch(self) -> None:
        """Wraps the methods that make up a step."""
        self._time(HFEngine, "generate", "rollout")
        self._time(Objective, "compute_ref_and_old_logps", "reference")
        self._time(Objective, "loss", "update")
        self._time(GRPOModule, "manual_backward", "update")
        self._time(torch.optim.AdamW, "step", "optimiser")
        self._time(GRPOModule, "training_step", "step")

    def _time(self, owner: type, method: str, name: str) -> None:
        inner: Callable[..., Any] = getattr(owner, method)

        @wraps(inner)
        def outer(*arguments: Any, **settings: Any) -> Any:
            if name == "step":
                self.steps.append(defaultdict(float))
            start = time.process_time()
            result = inner(*arguments, **settings)
            if self.steps:
                self.steps[-1][name] += time.process_time() - start
            return result

        setattr(owner, method, outer)


def composed(root: str, model: Path, arguments: argparse.Namespace) -> TrainConfig:
    """Returns the configuration of the training."""
    register("train")
    settings = [
        *(f"paths.root_dir={root}", f"data.path={QUESTIONS}", "trainer=cpu", "logger=csv", "extras.progress_bar=false"),
        *("model=local", f"model.path={model}", "model.gradient_checkpointing=false", "extras.num_threads=1"),
        *("~reward.label_match", "+reward.random={_target_:step_cost.RandomReward,weight:1.0}"),
        *("grpo.num_prompts_per_step=4", "grpo.num_generations=8", f"grpo.num_steps={arguments.steps}"),
        *(f"grpo.max_new_tokens={arguments.tokens}", "optim.optimizer.lr=1e-6", "~callbacks.checkpoint"),
    ]
    with hydra.initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = OmegaConf.to_object(hydra.compose("train", settings))
    assert isinstance(config, TrainConfig)
    return config


def main() -> int:
    """Measures, prints, and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--model", type=Path, help="SmolLM2 as a folder; else it is read from the GGUF file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as root:
        model = arguments.model or Path(root) / "model"
        if arguments.model is None:
            as_base_model.main(model)
        config = composed(root, model, arguments)
        hardware = measure_hardware(time.process_time)
        write_hardware(hardware, Path(config.paths.artifact_dir))
        clock = Clock()
        clock.watch()
        with train(config).path("metrics.csv").open(encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))[1:]
        seen_work = {
            "completion_tokens": round(fmean(float(row["train/completion_tokens"]) for row in rows)),
            "signal_share": fmean(float(row["train/frac_nonzero_std"]) for row in rows),
        }
        config.extras.forecast = replace(config.extras.forecast, **seen_work)
        expected = forecast(config, config.grpo)
        assert isinstance(expected, Forecast), expected
    seen = {name: fmean(step[name] for step in clock.steps[1:]) for name in clock.steps[-1]}
    predicted = asdict(expected.seconds) | {"step": expected.seconds.total}
    print(
        f"{hardware.name}: {hardware.float32_flops / 1e9:.0f} GFLOP/s in float32, "
        f"{hardware.bytes_per_second / 1e9:.1f} GB/s; processor time, mean of {len(clock.steps) - 1} steps after the "
        f"first; completions of {seen_work['completion_tokens']} tokens, "
        f"{seen_work['signal_share']:.0%} of groups with signal\n\n"
        "| part | predicted, s | seen, s | error |\n|---|---|---|---|"
    )
    for name, seconds in seen.items():
        print(f"| {name} | {predicted[name]:.2f} | {seconds:.2f} | {predicted[name] / seconds - 1:+.0%} |")
    return 0 if abs(predicted["step"] / seen["step"] - 1) <= MAX_ERROR else 1


if __name__ == "__main__":
    sys.exit(main())
