"""Measures a whole GRPO step (rollout, reward, reference, update) of medssr relative to one of TRL's GRPOTrainer.

    pip install --editable '.[trl]'
    python experiments/performance/grpo_step.py [--rounds 3] [--steps 3] [--case answers|endless] [--trl-rows 32]

Both train the same tiny Qwen3 policy with the same prompts, rewards and settings on the same machine; a step has 16
prompts x 8 completions. They take turns of a few steps from the same start. The first step of a turn is not counted;
the figures are medians over all other steps.

answers: the built-in questions, with a reward for the right label; completions have up to 96 tokens (most have 20).
endless: random rewards, and completions that all have 96 tokens, so that no group is dropped for zero reward variance
    and no padding is trimmed.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from statistics import median
from typing import Any

import torch
from trl_comparison import make_policy, remove_end_token, train_config, train_with_medssr, train_with_trl

from medssr.config import TrainConfig
from medssr.grpo.module import GRPOModule
from medssr.models.policy import Policy
from medssr.questions import Question, read_questions
from medssr.rewards.label_match import LabelMatch
from medssr.rewards.scoring import Reward

# There is one question for every built-in fact; the policy answers those about common diseases with certainty.
QUESTIONS = Path(__file__).parents[2] / "medssr/resources/questions/evaluation.jsonl"
SETTINGS = ("grpo.num_prompts_per_step=16", "grpo.num_generations=8", "grpo.max_new_tokens=96", "grpo.beta=0.02")
LIMITS = {"answers": 0.5, "endless": 0.75}
# Completions per forward pass that are tried for TRL; the fastest is compared. medssr splits by its default.
TRL_ROWS = [16, 32, 64, 128]


class RandomReward:
    """A reward that is 0 or 1 at random."""

    weight = 1.0

    def __init__(self) -> None:
        self._random = random.Random(0)

    def __call__(self, *_: Any) -> float:
        """Returns 0.0 or 1.0."""
        return float(self._random.random() < 0.5)


def case_of(name: str, config: TrainConfig) -> tuple[Policy, dict[str, Reward]]:
    """Returns the untrained policy and the rewards of a case."""
    policy = make_policy(config)
    if name == "answers":
        return policy, {"label_match": LabelMatch(1.0)}
    remove_end_token(policy)
    return policy, {"random": RandomReward()}


class Breakdown:
    """Seconds that the parts of medssr's training steps take, by name of the part."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def watch(self, module: GRPOModule) -> None:
        """Wraps methods of the module and its parts so that their time is recorded."""
        engine, objective = module.rollouts.engine, module.objective
        self._time(engine, "generate", "rollout")
        self._time(objective, "compute_ref_and_old_logps", "reference")
        self._time(objective, "loss", "forward")
        self._time(module, "manual_backward", "backward")
        self._time(module, "training_step", "step")
        module.configure_optimizers = self._with_timed_optimizer(module.configure_optimizers)  # type: ignore[method-assign]

    def _with_timed_optimizer(self, make: Callable[[], Any]) -> Callable[[], Any]:
        @wraps(make)
        def configure() -> Any:
            made = make()
            self._time(made["optimizer"], "step", "optimiser")
            return made

        return configure

    def _time(self, owner: Any, method: str, name: str) -> None:
        inner = getattr(owner, method)

        @wraps(inner)
        def outer(*arguments: Any, **settings: Any) -> Any:
            start = time.perf_counter()
            result = inner(*arguments, **settings)
            self.seconds[name] += time.perf_counter() - start
            return result

        setattr(owner, method, outer)

    def text(self, num_steps: int) -> str:
        """Returns the seconds per step of each part; the rest is rewards, advantages, batching and metrics."""
        parts = {name: seconds / num_steps for name, seconds in self.seconds.items()}
        step = parts.pop("step")
        parts["rest"] = step - sum(parts.values())
        return ", ".join(f"{name} {seconds:.3f}" for name, seconds in parts.items())


def measure(name: str, num_rounds: int, num_steps: int, trl_rows: list[int]) -> None:
    """Measures one case and prints it."""
    config = train_config(*SETTINGS, f"grpo.num_steps={num_steps}")
    questions: list[Question] = list(read_questions(str(QUESTIONS)))
    seconds: defaultdict[str, list[float]] = defaultdict(list)
    cpu_seconds: defaultdict[str, list[float]] = defaultdict(list)
    breakdown = Breakdown()

    def turn(framework: str, run: Callable[[Policy, dict[str, Reward], Path], Any]) -> None:
        policy, rewards = case_of(name, config)
        with tempfile.TemporaryDirectory() as folder:
            times = run(policy, rewards, Path(folder))
        seconds[framework] += times.seconds[1:]
        cpu_seconds[framework] += times.cpu_seconds[1:]
        print(f"{name}, {framework}: {median(times.cpu_seconds[1:]):.2f} s of processors", file=sys.stderr, flush=True)

    def ours(policy: Policy, rewards: dict[str, Reward], folder: Path) -> Any:
        return train_with_medssr(policy, questions, rewards, config, folder, breakdown.watch)

    def theirs(rows: int) -> Callable[[Policy, dict[str, Reward], Path], Any]:
        return lambda policy, rewards, folder: train_with_trl(policy, questions, rewards, config, folder, rows)[0]

    if len(trl_rows) > 1:
        for rows in trl_rows:
            turn(f"TRL, {rows} rows a pass", theirs(rows))
    fastest = min(trl_rows, key=lambda rows: median(cpu_seconds[f"TRL, {rows} rows a pass"] or [0.0]))
    for _ in range(num_rounds):
        turn("medssr", ours)
        turn("TRL", theirs(fastest))

    print(f"\n{name}: medians of {len(seconds['medssr'])} steps; threads: {torch.get_num_threads()}; ", end="")
    print(f"TRL with {fastest} completions a pass")
    for framework in seconds:
        wall, cpu = median(seconds[framework]), median(cpu_seconds[framework])
        print(f"  {framework:24s} {wall:6.2f} s, {cpu:6.2f} s of processors")
    ratios = [median(values["medssr"]) / median(values["TRL"]) for values in (seconds, cpu_seconds)]
    print(f"  medssr / TRL: {ratios[0]:.2f} by the clock, {ratios[1]:.2f} of processors; at most {LIMITS[name]}")
    print(f"  a step of medssr in seconds: {breakdown.text(num_rounds * num_steps)}")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument(
        "--trl-rows", type=int, nargs="+", default=TRL_ROWS, help="completions of a pass, to choose from"
    )
    parser.add_argument("--case", choices=list(LIMITS))
    arguments = parser.parse_args()
    for name in [arguments.case] if arguments.case else list(LIMITS):
        measure(name, arguments.rounds, arguments.steps, arguments.trl_rows)


if __name__ == "__main__":
    main()
