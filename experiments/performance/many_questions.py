"""Measures start and peak memory of votes, evaluation, training and comparison with 20,000 and 200,000 questions.

    python experiments/performance/many_questions.py [COMMAND ...] [--sizes 2000 20000]

Completions come at once from `instant_engine.py`, so the figures are of the work around them. Each question has about
500 bytes. The script prints the seconds until the first file is written, those of the whole command, its peak
memory, and the memory that each further question added.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
SIZES = (20_000, 200_000)
NUM_WORDS = 60  # of a stem
LOOK_S = 0.05  # between two looks for the first file
ENGINE = ("rollout._target_=instant_engine.InstantEngine", "~rollout.max_batch_size")
QUIET = "extras.progress_bar=false"
# The first file that a command writes, and its settings.
COMMANDS = {
    "pseudo_label": ("answers/0000000.jsonl", ("data.path=questions.jsonl", "labeling.num_votes=4", QUIET, *ENGINE)),
    "evaluate": (
        "**/0000000.jsonl",
        ("benchmark.path=questions.jsonl", "protocol.num_samples=1", "protocol.second_pass=false", QUIET, *ENGINE),
    ),
    "train": (
        "metrics.csv",
        ("data.path=questions.jsonl", "grpo.num_steps=2", "grpo.beta=0", "logger=csv", QUIET, *ENGINE),
    ),
    "compare": ("*", ("runs=[artifacts/evaluate]",)),
}


@dataclass(frozen=True, slots=True)
class Measured:
    """What one run of a command took.

    Attributes:
        start_s: Seconds until its first piece of work was done; NaN where it has none.
        start_cpu_s: Processor seconds until then, which other work on the machine changes less.
        seconds: Seconds of the whole command.
        peak_bytes: Peak resident memory.
    """

    start_s: float
    start_cpu_s: float
    seconds: float
    peak_bytes: int


def questions(number: int) -> Iterator[str]:
    """Yields lines of a question file."""
    draw = random.Random(0)
    words = [f"{first}{second}{third}" for first in "bdkt" for second in "aeiou" for third in ("r", "n", "st", "l")]
    for index in range(number):
        stem = f"Patient {index}: " + " ".join(draw.choice(words) for _ in range(NUM_WORDS)) + "?"
        options = {letter: f"{draw.choice(words)} {draw.choice(words)} {index}" for letter in "ABCD"}
        yield json.dumps({"id": f"q{index}", "stem": stem, "options": options, "answer": draw.choice("ABCD")}) + "\n"


def measure(command: str, folder: Path) -> Measured:
    """Runs a command in a folder with questions and a model, and measures it."""
    pattern, settings = COMMANDS[command]
    environment = os.environ | {"MEDSSR_ROOT": str(folder), "PYTHONPATH": str(HERE)}
    arguments = [sys.executable, "-m", f"medssr.commands.{command}", *settings]
    begin, start_s, start_cpu_s = time.perf_counter(), float("nan"), float("nan")
    with (folder / f"{command}.log").open("w") as log:
        process = subprocess.Popen(arguments, stderr=log, stdout=log, env=environment, cwd=folder)
        while (ended := os.wait4(process.pid, os.WNOHANG))[0] == 0:
            if math.isnan(start_s) and any(folder.glob(f"artifacts/{command}/*/{pattern}")):
                start_s, start_cpu_s = time.perf_counter() - begin, cpu_seconds(process.pid)
            time.sleep(LOOK_S)
    if ended[1]:
        raise SystemExit((folder / f"{command}.log").read_text(encoding="utf-8"))
    return Measured(start_s, start_cpu_s, time.perf_counter() - begin, 1024 * ended[2].ru_maxrss)


def cpu_seconds(pid: int) -> float:
    """Returns the processor seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime and stime


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commands", nargs="*", default=list(COMMANDS), help=", ".join(COMMANDS))
    parser.add_argument("--sizes", type=int, nargs=2, default=SIZES, help="numbers of questions")
    arguments = parser.parse_args()
    commands, sizes = arguments.commands, arguments.sizes
    measured: dict[str, list[Measured]] = {command: [] for command in commands}
    for number in sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "questions.jsonl").write_text("".join(questions(number)), encoding="utf-8")
            for command in commands:
                run = measure(command, folder)
                measured[command].append(run)
                print(
                    f"{command:12} {number:7,} questions: first file after {run.start_s:5.1f} s "
                    f"({run.start_cpu_s:.1f} s of processor time), "
                    f"{run.seconds:6.1f} s in all, {run.peak_bytes / 2**20:6.0f} MiB at the peak",
                    flush=True,
                )
    for command, (small, large) in measured.items():
        added = (large.peak_bytes - small.peak_bytes) / (sizes[1] - sizes[0])
        print(f"{command:12} {added:6.0f} bytes a further question")


if __name__ == "__main__":
    main()
