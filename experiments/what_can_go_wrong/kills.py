"""Kills (SIGKILL) in every step of the pipeline, with one and with two trainers, of the group and of one process."""

from __future__ import annotations

import signal
from functools import partial

from interruptions import draw, interrupt
from small_pipeline import STEPS, Case, Setup

# The steps of a chain; those that write most come twice.
_TWICE = ("pseudo_label", "train stage 1", "train stage 2")
_CHAIN = sorted([*STEPS, *_TWICE], key=STEPS.index)


def cases(setup: Setup) -> list[Case]:
    """Returns four chains of eleven kills, or one kill."""
    pipeline, rng = setup.pipeline, setup.rng
    if setup.is_quick:
        chain = [draw(rng, signal.SIGKILL, "train stage 1", None)]
        return [partial(interrupt, "kills", "kills-quick", pipeline, chain, 1)]
    made: list[Case] = []
    for num_trainers in (2, 1):
        for is_group in (True, False):
            # Of two trainers, the first and the second get it in turn.
            ranks = [None if is_group else index % num_trainers for index in range(len(_CHAIN))]
            chain = [draw(rng, signal.SIGKILL, step, rank) for step, rank in zip(_CHAIN, ranks, strict=True)]
            name = f"kills-{num_trainers}-{'group' if is_group else 'process'}"
            made.append(partial(interrupt, "kills", name, pipeline, chain, num_trainers))
    return made
