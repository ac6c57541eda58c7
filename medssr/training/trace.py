"""Writes what the processor and the GPU did in a few updates as traces that chrome://tracing and Perfetto show."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from medssr.utils.processes import rank

log = logging.getLogger(__name__)

# The first update of a start, which also allocates and compiles, is left out where others follow.
_NUM_TRACED = 2


class UpdateTrace:
    """Traces the second and the third update of a start, or the first if it is the only one; all processes do.

    An update is the passes of reference and policy, the optimiser steps and the hand-over of weights. Rollouts are left
    out: with thousands of token steps, they would make files of gigabytes.

    Args:
        folder: Where the files go.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._num_begun = 0

    @contextmanager
    def update(self, step: int, *, is_last: bool) -> Iterator[None]:
        """Traces the block, if its turn has come, and writes `step_<step>_rank_<rank>.json.gz`.

        Args:
            step: The index of the training step.
            is_last: Whether the training ends with it.
        """
        self._num_begun += 1
        is_traced = 1 < self._num_begun <= 1 + _NUM_TRACED or (self._num_begun == 1 and is_last)
        if not is_traced:
            yield
            return

        import torch
        from torch.profiler import ProfilerActivity, profile

        activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])
        with profile(activities=activities, acc_events=True) as profiler:
            yield
        file = self._folder / f"step_{step:07d}_rank_{rank()}.json.gz"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            profiler.export_chrome_trace(str(file))
        except (OSError, RuntimeError) as error:  # a full disk; what only watches a training never ends it
            log.warning("%s: the trace could not be written (%s); training continues", file, error)
            with suppress(OSError):
                file.unlink()
            return
        log.info("trace of step %d: %s", step, file)
