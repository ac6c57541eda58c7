"""Runs a pipeline, interrupts it again and again at moments found by its progress, and compares what it ends with."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from commands import LIMIT_S, Command, Ended, bad_end
from comparison import contents, differences
from outcomes import Outcome, Verdict
from small_pipeline import SmallPipeline

# Seconds between two looks at a folder.
_LOOK_AGAIN_S = 0.002
# The moment before a step has begun: the command starts, imports and composes its configuration.
START = "start"
# In the path of each of medssr's files that a traceback names.
_PACKAGE = "/medssr/"


@dataclass(frozen=True, slots=True)
class Interruption:
    """A signal at a moment of a step.

    Attributes:
        signum: The signal.
        step: The step of the pipeline, or START.
        num_changes: The number of changes in the step's folder after which it is sent; it is sent when the step has
            finished with fewer.
        delay_s: Seconds from then until it is sent.
        rank: The trainer whose process gets it; None: the whole group of processes gets it.
    """

    signum: signal.Signals
    step: str
    num_changes: int
    delay_s: float
    rank: int | None

    def __str__(self) -> str:
        to = "the group" if self.rank is None else f"the process of rank {self.rank}"
        when = f"after change {self.num_changes} and {self.delay_s:.2f} s"
        return f"{self.signum.name} to {to} in {self.step} {when}"


def draw(rng: random.Random, signum: signal.Signals, step: str, rank: int | None) -> Interruption:
    """Returns an interruption at a drawn moment of a step; a step makes five to fifteen changes."""
    if step == START:
        return Interruption(signum, step, 0, rng.uniform(0.05, 1.0), rank)
    return Interruption(signum, step, rng.randint(1, 8), rng.choice([0.0, rng.uniform(0.0, 0.15)]), rank)


def interrupt(
    kind: str, name: str, pipeline: SmallPipeline, interruptions: Sequence[Interruption], num_trainers: int
) -> list[Outcome]:
    """Returns what came of a pipeline that is interrupted several times and then goes on to its end.

    An interruption has survived if the run in which all of them came has the bytes of an undisturbed one.

    Args:
        kind: "kills" or "signals".
        name: The name of the folder.
        pipeline: The pipeline.
        interruptions: In the order of the steps.
        num_trainers: 1 or 2.
    """
    expected = pipeline.undisturbed(num_trainers)
    root = pipeline.folder / name
    overrides = pipeline.overrides(root, num_trainers)
    outcomes: list[Outcome] = []
    came: list[tuple[str, str]] = []  # the cases that need the final comparison, with their command lines
    for interruption in interruptions:
        folder = root if interruption.step == START else root / expected.folder(interruption.step)
        command = Command("pipeline", overrides, root)
        is_sent = _send(command, interruption, folder)
        ended = command.end()
        case = f"{num_trainers} trainers, {interruption}" if num_trainers > 1 else f"1 trainer, {interruption}"
        is_of_python = interruption.step == START and ended.has_traceback and _PACKAGE not in ended.output
        if is_of_python and ended.code == -signal.SIGINT:
            outcomes.append(Outcome(kind, case, Verdict.SKIPPED, "Python had not begun to import the command"))
        elif ended.code == 0 and not is_sent:
            outcomes.append(Outcome(kind, case, Verdict.SKIPPED, "all was done before it came"))
        elif ended.code == 0 and interruption.step == "report":  # it came when the last file was written
            came.append((f"{case}, after the end", ended.command))
        elif (bad := _bad_interruption(ended, interruption, is_sent)) is not None:
            outcomes.append(Outcome(kind, case, *bad, ended.command))
        else:
            came.append((case, ended.command))
    ended = Command("pipeline", overrides, root).end()
    verdict, detail = _final(ended, root, expected.contents)
    return outcomes + [Outcome(kind, case, verdict, detail, line) for case, line in came]


def _send(command: Command, interruption: Interruption, folder: Path) -> bool:
    """Sends a signal at its moment; returns False when the command has ended before."""
    if interruption.step != START and not _wait_for_changes(command, folder, interruption.num_changes):
        return False
    time.sleep(interruption.delay_s)
    if not command.is_running:
        return False
    if interruption.rank is None:
        command.send(interruption.signum)
    else:  # before the first training there is the first process only
        command.send(interruption.signum, command.trainer(interruption.rank) or command.process.pid)
    return True


def _wait_for_changes(command: Command, folder: Path, num_changes: int) -> bool:
    """Waits for a number of changes in a folder, at most until its step has finished; returns whether that came."""
    seen, count, deadline = _state(folder), 0, time.monotonic() + LIMIT_S
    while command.is_running and time.monotonic() < deadline:
        now = _state(folder)
        if now != seen:
            seen, count = now, count + 1
            if count == num_changes or (folder / "manifest.json").exists():
                return True
        time.sleep(_LOOK_AGAIN_S)
    return False


def _state(folder: Path) -> frozenset[tuple[Path, int]]:
    """Returns the files of a folder with their sizes."""
    sizes = set()
    for path in folder.rglob("*"):
        try:
            sizes.add((path, path.stat().st_size))
        except FileNotFoundError:  # renamed meanwhile
            continue
    return frozenset(sizes)


def _bad_interruption(ended: Ended, interruption: Interruption, is_sent: bool) -> tuple[Verdict, str] | None:
    """Returns what is wrong with the end of an interrupted command; None if nothing is."""
    signum = interruption.signum
    promised = [128 + signum] if is_sent else []
    if is_sent and (signum == signal.SIGKILL or interruption.step == START):
        promised.append(-signum)  # nothing catches it, or nothing does yet
    if signum == signal.SIGKILL and interruption.rank:
        promised.append(1)  # the first process ends with a message, since another one is gone
    return bad_end(ended, *promised)


def _final(ended: Ended, root: Path, expected: dict[str, str]) -> tuple[Verdict, str]:
    """Returns the verdict on a run that has gone on to its end."""
    if (bad := bad_end(ended, 0)) is not None:
        return bad[0], f"started again: {bad[1]}"
    found = differences(contents(root), expected)
    return (Verdict.SILENTLY_WRONG, "; ".join(found)[:500]) if found else (Verdict.SURVIVED, "")
