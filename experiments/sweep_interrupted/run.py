"""Compares a sweep of twelve jobs that is killed twice and restarted with one that runs undisturbed.

    python experiments/sweep_interrupted/run.py FOLDER

Prints the states of the jobs after each kill, how many steps each sweep made, and whether the results are equal.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

SWEEP = [
    "grpo.num_steps=1,2",
    "synthesis.rare_share=0.2,0.5,0.8",
    "seed=1,2",
    "synthesis.num_questions=24",
    "labeling.num_votes=2",
    "labeling.min_agreement=0.0",
    "labeling.max_new_tokens=32",
    "grpo.num_prompts_per_step=2",
    "grpo.num_generations=2",
    "grpo.max_new_tokens=32",
    "protocol.num_samples=1",
    "protocol.max_new_tokens=32",
    "schedule=selfsup_only",
    "trainer=cpu",
    "logger=csv",
    "extras.progress_bar=false",
    "extras.num_threads=1",
    "study=interrupted",
]
NUM_JOBS = 12
# Number of finished jobs at which the sweep is killed: once early, once late.
KILLED_AFTER = (3, 8)


def start(root: Path, benchmark: Path, log: Path) -> subprocess.Popen[bytes]:
    """Starts the sweep and returns its process, which leads the process group of its jobs."""
    environment = os.environ | {"MEDSSR_ROOT": str(root), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "medssr.commands.pipeline", "-m", *SWEEP, f"benchmark.path={benchmark}"]
    with log.open("ab") as stream:
        return subprocess.Popen(command, stdout=stream, stderr=stream, env=environment, start_new_session=True)


def states(root: Path) -> Counter[str]:
    """Returns the number of jobs in each state."""
    files = root.glob("logs/pipeline/sweeps/interrupted/*/job.json")
    return Counter(json.loads(file.read_text(encoding="utf-8"))["state"] for file in files)


def kill_after(root: Path, benchmark: Path, log: Path, num_done: int) -> None:
    """Runs the sweep, and kills it once `num_done` jobs are done and the next one is running."""
    process = start(root, benchmark, log)
    while process.poll() is None and not (states(root)["done"] >= num_done and states(root)["running"]):
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    print(f"killed: {dict(states(root))}", flush=True)


def results(root: Path) -> dict[str, str]:
    """Returns the results of each job, without the paths of its artefacts."""
    contents = {}
    for file in sorted(root.glob("logs/pipeline/sweeps/interrupted/*/results.json")):
        content = json.loads(file.read_text(encoding="utf-8"))
        for name in ("artifacts", "training"):
            del content[name]
        contents[file.parent.name] = json.dumps(content)
    return contents


def small_benchmark(root: Path) -> Path:
    """Writes every eighth built-in question, rare and common, and returns the file."""
    import medssr

    lines = (Path(medssr.__file__).parent / "resources/questions/evaluation.jsonl").read_text(encoding="utf-8")
    file = root / "benchmark.jsonl"
    file.write_text("".join(lines.splitlines(keepends=True)[::8]), encoding="utf-8")
    return file


def main() -> None:
    """Runs both sweeps in the folder that the command line names, and compares them."""
    folder = Path(sys.argv[1]).resolve()
    whole, killed = folder / "undisturbed", folder / "killed"
    for root in (whole, killed):
        root.mkdir(parents=True)
    benchmark, begin = small_benchmark(folder), time.monotonic()
    assert start(whole, benchmark, folder / "undisturbed.log").wait() == 0
    print(f"undisturbed: {dict(states(whole))}, {time.monotonic() - begin:.0f} s", flush=True)
    log = folder / "killed.log"
    for num_done in KILLED_AFTER:
        kill_after(killed, benchmark, log, num_done)
    assert start(killed, benchmark, log).wait() == 0
    print(f"restarted: {dict(states(killed))}, {time.monotonic() - begin:.0f} s", flush=True)
    manifests = {
        root: sorted(path.parent.name for path in root.glob("artifacts/*/*/manifest.json")) for root in (whole, killed)
    }
    print(f"steps made: {len(manifests[whole])} undisturbed, {len(manifests[killed])} killed, the same: ", end="")
    print(manifests[whole] == manifests[killed])
    assert len(results(killed)) == NUM_JOBS
    print(f"results of {NUM_JOBS} jobs the same: {results(whole) == results(killed)}")
    compare = [sys.executable, "-m", "medssr.commands.compare", str(killed / "logs/pipeline/sweeps/interrupted")]
    subprocess.run([*compare, f"output_dir={folder}/report"], check=True, stdout=subprocess.DEVNULL)
    print(f"comparison: {folder}/report/index.html, {time.monotonic() - begin:.0f} s in all")


if __name__ == "__main__":
    main()
