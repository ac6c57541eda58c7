"""Compares steps with a checkpoint after each that is written in the background, or before the next one begins.

    python experiments/performance/background_checkpoints.py [--weights 135000000] [--pairs 4] [--step-s 10]

The state is that of a training of SmolLM2-135M with AdamW: 1.6 GB. A step multiplies matrices with one thread. The two
ways take turns; the file is synced to disk in both.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median

import torch

from medssr.training.checkpoints import checkpoint_path, write_checkpoint
from medssr.training.step_checkpoint import BackgroundIO, write_whole


def work(matrix: torch.Tensor, seconds: float) -> None:
    """Multiplies matrices for some seconds of this thread's processor time, which waiting does not count to."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        matrix @ matrix


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=int, default=135_000_000)
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--step-s", type=float, default=10.0, help="processor time of a step")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    state = {f"{kind}.{part}": torch.randn(arguments.weights // 30) for kind in "wmv" for part in range(30)}
    matrix = torch.randn(512, 512)
    waits: dict[str, list[float]] = {"at once": [], "in the background": []}
    steps: dict[str, list[float]] = {"at once": [], "in the background": []}
    background = BackgroundIO()
    with tempfile.TemporaryDirectory(dir=".") as folder:
        for number in range(2 * arguments.pairs + 2):
            path = checkpoint_path(Path(folder), number)
            way = ("at once", "in the background")[number % 2]
            begin = time.monotonic()
            if way == "at once":
                write_checkpoint(path, partial(write_whole, state))
            else:
                background.save_checkpoint(state, path)
            saved = time.monotonic()
            work(matrix, arguments.step_s)
            background.finish()
            if number > 1:  # the first pair fills the memory of the copy
                waits[way].append(saved - begin)
                steps[way].append(time.monotonic() - begin)
    background.teardown()
    for way, seconds in steps.items():
        print(f"{way}: waits {median(waits[way]):.2f} s, step and checkpoint {median(seconds):.2f} s", end="")
        print(f" ({', '.join(f'{value:.1f}' for value in seconds)})")
    print(f"in the background / at once: {median(steps['in the background']) / median(steps['at once']):.2f}")


if __name__ == "__main__":
    main()
