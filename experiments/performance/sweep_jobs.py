"""Measures what a sweep costs besides the work of its jobs, for 20 and 200 jobs.

    python experiments/performance/sweep_jobs.py

The jobs draw samples for an audit, each with another seed. The sweep runs with everything to do, with every job
finished, and with jobs to run whose steps are made. The script prints the processor seconds of the second and the
third for each job, without those of a sweep of one job, and the ratio of 200 jobs to 20.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

SIZES = (20, 200)
SETTINGS = (
    "data.path=${resource:questions/human.jsonl}",
    "audit.num_questions=4",
    "extras.progress_bar=false",
)


def seconds(root: Path, number: int) -> float:
    """Runs a sweep of so many jobs and returns the processor seconds that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "medssr.commands.audit", "-m", f"seed=range({number})", *SETTINGS],
        check=True,
        capture_output=True,
        env=os.environ | {"MEDSSR_ROOT": str(root), "OMP_NUM_THREADS": "1"},
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def forget_jobs(root: Path) -> None:
    """Removes the records of the jobs; what their steps made stays."""
    for file in root.glob("logs/audit/sweeps/default/*/job.json"):
        file.unlink()


def main() -> None:
    """Measures and prints."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        seconds(root, max(SIZES))
        one = seconds(root, 1)
        finished = [(seconds(root, number) - one) / (number - 1) for number in SIZES]
        made: list[float] = []
        for number in SIZES:
            forget_jobs(root)
            made.append((seconds(root, number) - one) / (number - 1))
    for title, (few, many) in {"finished jobs": finished, "jobs of finished steps": made}.items():
        print(f"{title}: {few:.3f} s a job of {SIZES[0]}, {many:.3f} s a job of {SIZES[1]}, ratio {many / few:.2f}")
    print(f"a sweep of one finished job: {one:.1f} s")


if __name__ == "__main__":
    main()
