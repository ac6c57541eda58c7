"""Trains the same policy with medssr and with TRL's GRPOTrainer, and compares accuracy before and after.

    python -m experiments.trl_parity.run --questions QUESTIONS.jsonl [--steps 60] [--seeds 1 2 3]

QUESTIONS.jsonl is the output of medssr-pseudo-label. The script prints a table, and writes one JSON line per run.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from pathlib import Path
from statistics import fmean, stdev

from experiments.performance.trl_comparison import make_policy, train_config, train_with_medssr, train_with_trl
from medssr.benchmarks.reader import load_benchmark
from medssr.engines.hf_engine import HFEngine
from medssr.engines.sampled_answers import AnswerSampler
from medssr.engines.types import Sampling
from medssr.evaluation.scoring import COMMON, RARE, Prediction, score
from medssr.models.policy import Policy
from medssr.questions import Question, read_questions
from medssr.rewards.label_match import LabelMatch

ROOT = Path(__file__).parents[2]
BENCHMARK = ROOT / "medssr/resources/questions/evaluation.jsonl"
SETTINGS = ("grpo.num_prompts_per_step=16", "grpo.num_generations=8")
NUM_SAMPLES = 4
# The reward is averaged over this many steps at the end of training.
NUM_LAST_STEPS = 10


def accuracies(policy: Policy, questions: list[Question], folder: Path) -> dict[str, float]:
    """Returns the accuracy on rare and on common questions."""
    sampler = AnswerSampler(policy, HFEngine(policy, 256), Sampling(1.0, 64), NUM_SAMPLES, 0, "evaluation", 64)
    policy.model.eval()
    answers = sampler.sample(questions, folder / "answers", BENCHMARK)
    predictions = [
        Prediction(question.id, [item.letter for item in row], [item.reason for item in row])
        for question, row in zip(questions, answers, strict=True)
    ]
    slices = score(questions, predictions).slices
    return {name: slices[name].accuracy.value for name in (RARE, COMMON)}


def train(framework: str, seed: int, num_steps: int, questions: list[Question], trl_rows: int) -> dict[str, float]:
    """Trains with one framework; returns accuracies, the mean reward of the last steps, and CPU seconds.

    `framework="start"` evaluates the policy before training.
    """
    benchmark = list(load_benchmark(BENCHMARK))
    config = train_config(*SETTINGS, f"grpo.num_steps={num_steps}", f"seed={seed}")
    policy = make_policy(config)
    rewards = {"label_match": LabelMatch(1.0)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if framework == "start":
            return accuracies(policy, benchmark, folder)
        if framework == "medssr":
            times = train_with_medssr(policy, questions, rewards, config, folder)
            with (folder / "metrics.csv").open(encoding="utf-8") as stream:
                logged_rewards = [float(row["train/reward"]) for row in csv.DictReader(stream)]
        else:
            times, rows = train_with_trl(policy, questions, rewards, config, folder, trl_rows)
            logged_rewards = [float(row["reward"]) for row in rows]
        assert len(logged_rewards) == num_steps
        scores = accuracies(policy, benchmark, folder)
    return scores | {"reward": fmean(logged_rewards[-NUM_LAST_STEPS:]), "seconds": sum(times.cpu_seconds)}


def main() -> None:
    """Trains, scores and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", required=True, help="labelled questions")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--trl-rows", type=int, default=16, help="completions in one forward pass of TRL")
    parser.add_argument("--output", default=str(Path(__file__).parent / "result.jsonl"))
    arguments = parser.parse_args()
    questions = list(read_questions(arguments.questions))
    results: dict[str, list[dict[str, float]]] = {"start": [], "medssr": [], "TRL": []}
    with Path(arguments.output).open("w", encoding="utf-8") as stream:
        for seed in arguments.seeds:
            for framework, rows in results.items():
                if framework == "start" and rows:
                    continue  # every seed starts from the same weights
                rows.append(train(framework, seed, arguments.steps, questions, arguments.trl_rows))
                stream.write(json.dumps({"side": framework, "seed": seed, "steps": arguments.steps} | rows[-1]) + "\n")
                stream.flush()
    print("| | " + " | ".join(results["medssr"][0]) + " |")
    for framework, rows in results.items():
        cells = [_mean_and_deviation([row[name] for row in rows]) for name in rows[0]]
        print(f"| {framework} | " + " | ".join(cells) + " |")
    for name in (RARE, COMMON, "reward"):
        gaps = [ours[name] - theirs[name] for ours, theirs in zip(results["medssr"], results["TRL"], strict=True)]
        print(f"medssr - TRL, {name}: {_mean_and_deviation(gaps)}, by seed {[round(gap, 3) for gap in gaps]}")


def _mean_and_deviation(values: list[float]) -> str:
    return f"{fmean(values):.3f}" + (f" sd {stdev(values):.3f}" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
