"""Simulates how even the loads of several processes are, with the lengths that a real training has logged.

    python experiments/performance/balance.py [--processes 8] [--draws 50] [--completions FOLDER]

The lengths are those of a step of 128 prompts x 8 completions by the tiny policy, which this script trains for a step
at a temperature of 2: most completions have about 20 tokens, some up to 256. `--completions` takes the folder of any
run instead (callbacks.completions.num_groups at least the prompts of a step). A draw chooses which groups have signal.
Loads are tokens of the update: a prompt counts once for each process that has completions of it.

The figures are the tokens of the slowest process, relative to the mean without any repetition: as the completions were
rolled out, with groups that stay whole, and as `medssr.grpo.balance` shares them out, with the prompts that it repeats.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import medssr
from medssr.grpo.balance import GroupTokens, num_tokens, share_out

RESOURCES = Path(medssr.__file__).parent / "resources"
# The aim, by prompts of a step.
AIMS = {128: 1.1, 32: 1.2}
SIGNAL = (0.3, 0.5, 1.0)


def train_a_step(folder: Path) -> Path:
    """Trains the tiny policy for a step, and returns the folder with its completions."""
    settings = {
        "trainer": "cpu",
        "logger": "csv",
        "extras.progress_bar": "false",
        "data.path": RESOURCES / "questions/human.jsonl",
        "paths.root_dir": folder,
        "grpo.num_steps": 1,
        "grpo.num_prompts_per_step": 128,
        "grpo.temperature": 2,
        "grpo.max_new_tokens": 256,
        "callbacks.completions.num_groups": 128,
    }
    overrides = [f"{name}={value}" for name, value in settings.items()]
    subprocess.run([sys.executable, "-m", "medssr.commands.train", *overrides], check=True, stdout=subprocess.DEVNULL)
    (completions,) = folder.glob("artifacts/train/*/completions")
    return completions


def read_groups(completions: Path, tokenizer_folder: str) -> list[GroupTokens]:
    """Returns the lengths of the groups in tables of completions."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    lengths: dict[tuple[str, str], list[int]] = {}
    for path in sorted(completions.glob("step_*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            lengths.setdefault((path.name, row["prompt"]), []).append(row["num_tokens"])
    return [
        GroupTokens(len(tokenizer(prompt, add_special_tokens=False)["input_ids"]), tuple(row))
        for (_, prompt), row in lengths.items()
    ]


def simulate(groups: Sequence[GroupTokens], num_prompts: int, signal: float, processes: int, draw: int) -> list[float]:
    """Returns the three ratios of a step, the number of prompts that are repeated, and the seconds of sharing out."""
    chance = random.Random(f"{draw} {num_prompts} {signal}")
    step = chance.sample(list(groups), num_prompts)
    kept = sorted(chance.sample(range(num_prompts), max(1, round(signal * num_prompts))))
    trained = [step[number] for number in kept]
    whole = [GroupTokens(group.count(range(len(group.completions))), (0,)) for group in trained]

    start = time.perf_counter()
    shares = share_out(trained, processes)
    seconds = time.perf_counter() - start
    mean = sum(group.shared for group in whole) / processes
    rolled_out = [
        sum(whole[at].shared for at, number in enumerate(kept) if number % processes == process)
        for process in range(processes)
    ]
    loads = [
        rolled_out,
        [num_tokens(whole, share) for share in share_out(whole, processes)],
        [num_tokens(trained, share) for share in shares],
    ]
    repeated = sum(len({group for group, _ in share}) for share in shares) - len(trained)
    return [*(max(load) / mean for load in loads), repeated, seconds]


def main() -> None:
    """Simulates and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--draws", type=int, default=50)
    parser.add_argument("--completions", type=Path, help="the folder completions/ of a run")
    parser.add_argument(
        "--tokenizer", default=str(RESOURCES / "policies/tiny_qwen3"), help="the folder of its tokenizer"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        groups = read_groups(arguments.completions or train_a_step(Path(folder)), arguments.tokenizer)
    completions = [length for group in groups for length in group.completions]
    print(
        f"{len(groups)} groups; prompts of {fmean(group.shared for group in groups):.0f} tokens, completions of "
        f"{min(completions)} to {max(completions)}, mean {fmean(completions):.0f}; {arguments.draws} draws"
    )
    print("slowest process / mean: mean of the draws (largest of them)")
    for num_prompts, aim in AIMS.items():
        for signal in SIGNAL:
            draws = [
                simulate(groups, num_prompts, signal, arguments.processes, draw) for draw in range(arguments.draws)
            ]
            rolled_out, whole, balanced, repeated, seconds = zip(*draws, strict=True)
            figures = [f"{fmean(ratios):.2f} ({max(ratios):.2f})" for ratios in (rolled_out, whole, balanced)]
            print(f"{num_prompts} prompts, {signal:.0%} with signal: as rolled out {figures[0]}, ", end="")
            print(f"whole groups {figures[1]}, shared out {figures[2]}, aim {aim}; ", end="")
            print(f"prompts repeated {fmean(repeated):.1f}; {fmean(seconds):.3f} s")


if __name__ == "__main__":
    main()
