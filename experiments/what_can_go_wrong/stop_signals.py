"""Signals that ask the pipeline to end, in every step and while it starts, with one and with two trainers."""

from __future__ import annotations

import signal
from functools import partial

from interruptions import START, draw, interrupt
from small_pipeline import STEPS, Case, Setup

SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP]


def cases(setup: Setup) -> list[Case]:
    """Returns, for one and for two trainers, a chain in which each signal comes at the start and in three steps.

    The quick choice is one signal.
    """
    pipeline, rng = setup.pipeline, setup.rng
    if setup.is_quick:
        chain = [draw(rng, signal.SIGTERM, "train stage 1", 0)]
        return [partial(interrupt, "signals", "signals-quick", pipeline, chain, 1)]
    made: list[Case] = []
    for num_trainers in (1, 2):
        steps = [START] * len(SIGNALS) + sorted([*STEPS, *STEPS[3:7]], key=STEPS.index)
        chain = [
            # To a process, as `kill` and schedulers do, or to the group, as a terminal does.
            draw(rng, SIGNALS[index % len(SIGNALS)], step, rng.choice([0, None]))
            for index, step in enumerate(steps)
        ]
        made.append(partial(interrupt, "signals", f"signals-{num_trainers}", pipeline, chain, num_trainers))
    return made
