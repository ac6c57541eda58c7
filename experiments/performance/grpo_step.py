"""Measures a whole GRPO step (rollout, reward, reference, update) of medssr relative to one of TRL's GRPOTrainer.

    pip install --editable '.[trl]'
    python experiments/performance/grpo_step.py [--rounds 3] [--case answers|endless|smollm2] [--trl-rows 32] [--memory]

Both train the same policy with the same prompts, rewards and settings on the same machine. They take turns of a few
steps from the same start. The first step of a turn is not counted; the figures are medians over all other steps.

--memory measures instead what the forward and backward passes of a micro-batch add to the process, at most, in one step
of each. Freed memory then returns to the system at once, which takes time: what the allocator keeps of an earlier,
larger pass would else be used again unseen.

answers: the tiny Qwen3 policy, 16 prompts x 8 completions; the built-in questions, with a reward for the right label;
    completions have up to 96 tokens (most have 20).
endless: the same with random rewards, and completions that all have 96 tokens, so that no group is dropped for zero
    reward variance and no padding is trimmed.
smollm2: SmolLM2-135M, 4 prompts x 8 completions of up to 24 tokens, random rewards; after make test-real, with
    .venv-real on PYTHONPATH.
"""

from __future__ import annotations

import argparse
import ctypes
import random
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from statistics import median
from typing import Any

import torch
from head_memory import memory
from trl_comparison import StepTimes, make_policy, remove_end_token, train_config, train_with_medssr, train_with_trl

from experiments.real_weights import as_base_model
from medssr.config import TrainConfig
from medssr.grpo.module import GRPOModule
from medssr.grpo.objective import MicroBatch
from medssr.models.policy import Policy
from medssr.questions import Question, read_questions
from medssr.rewards.label_match import LabelMatch
from medssr.rewards.scoring import Reward

# There is one question for every built-in fact; the policy answers those about common diseases with certainty.
QUESTIONS = Path(__file__).parents[2] / "medssr/resources/questions/evaluation.jsonl"
SETTINGS = (
    *("grpo.num_prompts_per_step=16", "grpo.num_generations=8", "grpo.max_new_tokens=96", "grpo.beta=0.02"),
    "grpo.micro_batch_tokens=6300",  # 64 completions of 96 tokens and their 8 prompts, as TRL with 64 rows
)
SMOLLM2 = (
    *("model=local", "model.gradient_checkpointing=false", "grpo.num_prompts_per_step=4", "grpo.num_generations=8"),
    *("grpo.max_new_tokens=24", "grpo.beta=0.02", "optim.optimizer.lr=1e-6"),
)
# The largest ratios that are aimed at, of times and of memory.
LIMITS = {"answers": 0.25, "endless": 0.45, "smollm2": 0.5}
MEMORY_LIMIT = 0.4
# Completions per forward pass that are tried for TRL; the fastest is compared.
TRL_ROWS = [16, 32, 64, 128]
# glibc's parameter of mallopt, and the size in bytes above which each allocation is mapped and unmapped by itself.
M_MMAP_THRESHOLD, MAPPED_FROM = -3, 1 << 20


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
    if name == "endless":
        remove_end_token(policy)
    return policy, {"random": RandomReward()}


class UpdateMemory:
    """The most memory that a micro-batch added, in MiB."""

    def __init__(self) -> None:
        self.added = 0.0

    def watch(self, begin: tuple[Any, str], end: tuple[Any, str]) -> None:
        """Wraps the method with which a micro-batch's update begins, and that with which it ends."""
        before = 0.0
        first, last = getattr(*begin), getattr(*end)

        @wraps(first)
        def beginning(*arguments: Any, **settings: Any) -> Any:
            nonlocal before
            before = memory("VmRSS")
            Path("/proc/self/clear_refs").write_text("5")  # resets the peak
            return first(*arguments, **settings)

        @wraps(last)
        def ending(*arguments: Any, **settings: Any) -> Any:
            result = last(*arguments, **settings)
            self.added = max(self.added, memory("VmHWM") - before)
            return result

        setattr(*begin, beginning)
        setattr(*end, ending)


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


def measure(name: str, arguments: argparse.Namespace) -> None:
    """Measures one case and prints it."""
    num_steps = 1 if arguments.memory else arguments.steps
    with tempfile.TemporaryDirectory() as folder:
        if name == "smollm2":
            as_base_model.main(Path(folder))
        settings = (*SMOLLM2, f"model.path={folder}") if name == "smollm2" else SETTINGS
        comparison = Comparison(name, train_config(*settings, f"grpo.num_steps={num_steps}"))
        if arguments.memory:
            comparison.compare_memory(arguments.trl_rows)
        else:
            comparison.compare_times(arguments.rounds, arguments.trl_rows)


class Comparison:
    """Runs both with one configuration, and prints how they compare."""

    def __init__(self, name: str, config: TrainConfig) -> None:
        self.name = name
        self.config = config
        self.questions: list[Question] = list(read_questions(str(QUESTIONS)))

    def ours(self, watch: Callable[[GRPOModule], None]) -> StepTimes:
        """Trains with medssr."""
        policy, rewards = case_of(self.name, self.config)
        with tempfile.TemporaryDirectory() as folder:
            return train_with_medssr(policy, self.questions, rewards, self.config, Path(folder), watch)

    def theirs(self, rows: int, watch: Callable[[Any], None] = lambda trainer: None) -> StepTimes:
        """Trains with TRL, with some completions in a pass."""
        policy, rewards = case_of(self.name, self.config)
        with tempfile.TemporaryDirectory() as folder:
            return train_with_trl(policy, self.questions, rewards, self.config, Path(folder), rows, watch)[0]

    def compare_times(self, num_rounds: int, trl_rows: list[int]) -> None:
        """Prints the medians of the steps' times."""
        seconds: defaultdict[str, list[float]] = defaultdict(list)
        cpu_seconds: defaultdict[str, list[float]] = defaultdict(list)
        breakdown = Breakdown()

        def record(framework: str, times: StepTimes) -> None:
            seconds[framework] += times.seconds[1:]
            cpu_seconds[framework] += times.cpu_seconds[1:]
            text = f"{self.name}, {framework}: {median(times.cpu_seconds[1:]):.2f} s of processors"
            print(text, file=sys.stderr, flush=True)

        if len(trl_rows) > 1:
            for rows in trl_rows:
                record(f"TRL, {rows} rows a pass", self.theirs(rows))
        fastest = min(trl_rows, key=lambda rows: median(cpu_seconds[f"TRL, {rows} rows a pass"] or [0.0]))
        for _ in range(num_rounds):
            record("medssr", self.ours(breakdown.watch))
            record("TRL", self.theirs(fastest))

        print(f"\n{self.name}: medians of {len(seconds['medssr'])} steps; threads: {torch.get_num_threads()}; ", end="")
        print(f"TRL with {fastest} completions a pass")
        for framework in seconds:
            wall, cpu = median(seconds[framework]), median(cpu_seconds[framework])
            print(f"  {framework:24s} {wall:6.2f} s, {cpu:6.2f} s of processors")
        ratios = [median(values["medssr"]) / median(values["TRL"]) for values in (seconds, cpu_seconds)]
        limit = LIMITS[self.name]
        print(f"  medssr / TRL: {ratios[0]:.2f} by the clock, {ratios[1]:.2f} of processors; at most {limit}")
        print(f"  a step of medssr in seconds: {breakdown.text(num_rounds * self.config.grpo.num_steps)}")

    def compare_memory(self, trl_rows: list[int]) -> None:
        """Prints the memory of the update of medssr, and of TRL with each number of completions in a pass."""
        assert ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, MAPPED_FROM) == 1, "glibc refused the setting"
        ours = UpdateMemory()
        rows: list[int] = []

        def watch(module: GRPOModule) -> None:
            inner = module.objective.loss

            @wraps(inner)
            def counting(micro_batch: MicroBatch) -> Any:
                rows.append(len(micro_batch.samples))
                return inner(micro_batch)

            module.objective.loss = counting  # type: ignore[method-assign]
            ours.watch((module.objective, "loss"), (module, "manual_backward"))

        self.ours(watch)
        print(f"{self.name}, medssr: {ours.added:.0f} MiB, passes of {rows} completions")
        for number in trl_rows:
            theirs = UpdateMemory()
            self.theirs(number, partial(_watch_theirs, theirs))
            print(f"{self.name}, TRL: {theirs.added:.0f} MiB, passes of {number} completions; ", end="")
            print(f"medssr / TRL: {ours.added / theirs.added:.2f}; at most {MEMORY_LIMIT}", flush=True)


def _watch_theirs(added: UpdateMemory, trainer: Any) -> None:
    added.watch((trainer, "compute_loss"), (trainer, "training_step"))


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument(
        "--trl-rows", type=int, nargs="+", default=TRL_ROWS, help="completions of a pass, to choose from"
    )
    parser.add_argument("--case", choices=list(LIMITS))
    parser.add_argument("--memory", action="store_true", help="measure memory rather than time")
    arguments = parser.parse_args()
    for name in [arguments.case] if arguments.case else ["answers", "endless"]:
        measure(name, arguments)


if __name__ == "__main__":
    main()
