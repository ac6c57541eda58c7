"""Measures the peak memory of medssr-synthesize as the number of questions grows; it should stay flat.

    python experiments/performance/synthesis_memory.py [OVERRIDE ...]
    python experiments/performance/synthesis_memory.py entities=orphanet entities.path=orphanet.jsonl

The script runs the command with 10,000 and with 100,000 questions, and prints its peak resident memory, its counts, and
the memory that each further draft added.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIZES = (10_000, 100_000)


def main() -> None:
    """Measures and prints."""
    measured = []
    for size in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            mebibytes = peak_memory(folder, size, sys.argv[1:])
            seconds = time.perf_counter() - start
            (manifest,) = Path(folder).glob("artifacts/synthesize/*/manifest.json")
            counts = json.loads(manifest.read_text(encoding="utf-8"))["counts"]
        num_drafts = counts["num_questions"] + counts["num_rejected"]
        measured.append((num_drafts, counts["num_questions"], mebibytes))
        print(
            f"{size:7d} slots: {mebibytes:6.1f} MiB at the peak, {seconds:6.1f} s, {num_drafts} drafts, "
            f"{counts['num_questions']} accepted, {counts['num_unfilled']} slots empty, rejected {counts['rejected']}"
        )
    (drafts, accepted, small), (more_drafts, more_accepted, large) = measured
    added = 2**20 * (large - small)
    print(
        f"x{more_drafts / drafts:.1f} drafts: x{large / small:.2f} memory; "
        f"{added / (more_drafts - drafts):.0f} bytes a draft, "
        f"{added / max(more_accepted - accepted, 1):.0f} bytes an accepted question"
    )


def peak_memory(folder: str, size: int, overrides: list[str]) -> float:
    """Returns the peak resident memory of the command in MiB."""
    command = [
        *(
            sys.executable,
            "-m",
            "medssr.commands.synthesize",
            f"synthesis.num_questions={size}",
            "extras.progress_bar=false",
        ),
        *(f"paths.root_dir={folder}", f"hydra.run.dir={folder}/run", *overrides),
    ]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, f"{' '.join(command)} failed"
    return usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
