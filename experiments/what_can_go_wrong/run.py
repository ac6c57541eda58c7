"""Does what an unlucky operator meets, and prints a table of what came of it.

    python experiments/what_can_go_wrong/run.py FOLDER [--only kills,signals] [--quick]

`FOLDER` must be empty or absent. Ends with code 1 if anything was silently wrong, showed a traceback, hung, or was
answered without a word that helps.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import broken_files
import damaged_outputs
import disks
import kills
import stop_signals
import stores
from forks import Forks
from outcomes import Outcome, table
from small_pipeline import Case, Setup, SmallPipeline

KINDS = {
    "kills": kills.cases,
    "signals": stop_signals.cases,
    "disks": disks.cases,
    "broken_files": broken_files.cases,
    "damaged_outputs": damaged_outputs.cases,
    "stores": stores.cases,
}


def main() -> int:
    """Runs the cases that the command line asks for and returns the exit code."""
    arguments = _parse()
    _stop_ignoring_signals()
    folder = Path(arguments.folder).resolve()
    if folder.exists() and any(folder.iterdir()):
        sys.exit(f"{folder}: is not empty; name a folder that is, or none.")
    pipeline, begin = SmallPipeline(folder), time.monotonic()
    with Forks(folder) as forks, ThreadPoolExecutor(arguments.workers) as pool:
        todo: list[Case] = []
        for kind in arguments.only:
            rng = random.Random(f"{arguments.seed} {kind}")
            todo += KINDS[kind](Setup(pipeline, forks, rng, arguments.quick))
        outcomes = [outcome for found in pool.map(_shown, todo) for outcome in found]
    print(f"\n{table(outcomes)}\n\n{time.monotonic() - begin:.0f} s")
    return 0 if all(outcome.is_good for outcome in outcomes) else 1


def _stop_ignoring_signals() -> None:
    """Lets commands be ended by signals that this script was told to ignore, as by nohup, and would hand on."""
    for signum in stop_signals.SIGNALS:
        if signal.getsignal(signum) is signal.SIG_IGN:
            signal.signal(signum, lambda *_: None)  # a program that is started gets the default in place of a function


def _parse() -> argparse.Namespace:
    """Returns the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(KINDS), help=",".join(KINDS))
    parser.add_argument("--quick", action="store_true", help="a few cases of each kind")
    parser.add_argument("--seed", type=int, default=1, help="draws other moments and places")
    parser.add_argument("--workers", type=int, default=2, help="cases at a time")
    arguments = parser.parse_args()
    if unknown := set(arguments.only) - set(KINDS):
        parser.error(f"--only: {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    return arguments


def _shown(case: Case) -> list[Outcome]:
    """Runs a case and prints what came of it."""
    outcomes = case()
    for outcome in outcomes:
        print(outcome.line(), flush=True)
    return outcomes


if __name__ == "__main__":
    sys.exit(main())
