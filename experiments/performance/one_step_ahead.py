"""Measures what sampling one step ahead (`rollout.overlap=one_step`) gains in time, and what it does to learning.

    python experiments/performance/one_step_ahead.py speed [--rounds 1] [--steps 6] [--delay 6]
    python experiments/performance/one_step_ahead.py learning [--seeds 1 2 3] [--steps 30]

speed: the tiny Qwen3 policy trains on 4 x 8 random completions of 16 tokens, from an engine that answers after a fixed
time and with an optimiser that takes as long. Both leave the processors alone, so the figures hardly depend on what
else runs. With and without overlap take turns; medians of all steps but the first two of a turn.

learning: GRPO on the questions about rare diseases of the built-in world with their true answers, 16 x 8 completions a
step; the engine samples with a copy of the weights in the same process. Both arms have importance weights. The figures
are greedy answers to the same questions after training, and the mean reward of the last ten steps.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path
from statistics import fmean, median
from typing import Any

import medssr
from medssr.cli.entry import composed
from medssr.commands.train import train as train_stage
from medssr.questions import Question, read_questions, write_questions

QUESTIONS = Path(medssr.__file__).parent / "resources/questions/evaluation.jsonl"
ENGINES = "ahead_engines"
AIM = 0.6
NUM_LAST_STEPS = 10
ARMS = {"in turns": "null", "one step ahead": "one_step"}


def train(
    folder: Path, questions: list[Question], num_steps: int, *overrides: str
) -> tuple[list[dict[str, str]], Path]:
    """Trains the tiny policy, and returns the rows of its metrics and the folder of the model."""
    path = folder / "questions.jsonl"
    write_questions(path, questions)
    settings = ["logger=csv", "extras.progress_bar=false", "trainer=cpu", f"data.path={path}"]
    settings += [f"paths.root_dir={folder}", f"grpo.num_steps={num_steps}", "grpo.tis_cap=2"]
    made = train_stage(composed("train", [*settings, *overrides]))
    with made.path("metrics.csv").open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream)), made.path("model")


def speed(num_rounds: int, num_steps: int, delay: float) -> None:
    """Measures the time of a step in both arms, and prints it."""
    questions = [question for question in read_questions(QUESTIONS) if question.answer in ("A", "B")]
    engine = [f"rollout._target_={ENGINES}.DelayedEngine", f"+rollout.seconds={delay}", "+rollout.num_tokens=16"]
    optimizer = [f"optim.optimizer._target_={ENGINES}.DelayedAdamW", f"+optim.optimizer.seconds={delay}"]
    times: dict[str, list[float]] = {name: [] for name in ARMS}
    for _ in range(num_rounds):
        for name, overlap in ARMS.items():
            with tempfile.TemporaryDirectory() as folder:
                settings = [*engine, *optimizer, "grpo.num_prompts_per_step=4", f"+rollout.overlap={overlap}"]
                rows, _ = train(Path(folder), questions, num_steps, *settings)
            times[name] += [float(row["time/step"]) for row in rows[2:]]
    in_turns, ahead = (median(values) for values in times.values())
    print(f"engine {delay} s, optimiser {delay} s; medians of {len(times['in turns'])} steps")
    print(f"in turns {in_turns:.2f} s, one step ahead {ahead:.2f} s: {ahead / in_turns:.2f} (aim {AIM})")


def learning(seeds: list[int], num_steps: int) -> None:
    """Trains both arms with each seed, and prints accuracies and their difference."""
    from medssr.statistics import paired_bootstrap_difference, wilson_interval

    questions = [question for question in read_questions(QUESTIONS) if question.is_rare]
    scores: dict[str, list[list[float]]] = {name: [] for name in ARMS}
    for seed in seeds:
        for name, overlap in ARMS.items():
            engine = [f"rollout._target_={ENGINES}.CopiedEngine", f"+rollout.overlap={overlap}", f"seed={seed}"]
            engine.append("grpo.num_prompts_per_step=16")
            with tempfile.TemporaryDirectory() as folder:
                rows, model = train(Path(folder), questions, num_steps, *engine)
                right = greedy_scores(model, questions)
            scores[name].append(right)
            interval = wilson_interval(sum(right), len(right))
            rewards = [float(row["train/reward"]) for row in rows[-NUM_LAST_STEPS:]]
            print(
                f"seed {seed}, {name}: accuracy {fmean(right):.3f} (95% {interval.low:.3f} to {interval.high:.3f}, "
                f"n {len(right)}), reward of the last steps {fmean(rewards):.3f}",
                flush=True,
            )
    means = {name: [fmean(column) for column in zip(*rows, strict=True)] for name, rows in scores.items()}
    difference = paired_bootstrap_difference(means["in turns"], means["one step ahead"], seed=0)
    print(
        f"one step ahead minus in turns: {difference.difference:+.3f} (95% {difference.low:+.3f} to "
        f"{difference.high:+.3f}; {len(seeds)} seeds, {difference.n} questions)"
    )


def greedy_scores(model: Path, questions: list[Question]) -> list[float]:
    """Returns for each question 1.0 if the model answers it rightly, else 0.0."""
    from medssr.answers import extract_choice
    from medssr.engines.hf_engine import HFEngine
    from medssr.engines.types import Sampling
    from medssr.models.policy import load_policy

    config: Any = composed("train", ["data.path=unused.jsonl", f"model.path={model}"])
    policy = load_policy(config.model)
    prompts = policy.encode(questions, config.grpo.max_new_tokens, str(QUESTIONS))
    greedy = Sampling(1.0, config.grpo.max_new_tokens, top_k=1, has_logps=False)
    answers = HFEngine(policy, 256).generate(prompts, [[0]] * len(prompts), greedy)
    return [
        float(extract_choice(completion.text, question.options).letter == question.answer)
        for question, (completion,) in zip(questions, answers, strict=True)
    ]


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["speed", "learning"])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--delay", type=float, default=6.0, help="seconds of engine and optimiser")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--steps", type=int)
    arguments = parser.parse_args()
    if arguments.part == "speed":
        speed(arguments.rounds, arguments.steps or 6, arguments.delay)
    else:
        learning(arguments.seeds, arguments.steps or 30)


if __name__ == "__main__":
    main()
