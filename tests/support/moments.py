"""A callback at which a training waits at a chosen moment, so that a test can end it there."""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
from pathlib import Path

import lightning as L

from medssr.errors import InputError
from medssr.utils import stopping


class Moment(L.Callback):
    """Does something once, at a moment of a training step.

    Args:
        directory: The artefact's folder.
        at: The moment: rollout, sampling (within vLLM's own step, while some completions are finished and others are
            not), update or checkpoint; None for never.
        does: What happens: the process waits for a signal, is killed, raises an InputError (fault) or another error
            (bug), or its disk is full.
        step: The training step.
        ranks: The processes that do it; the others go on.
    """

    def __init__(
        self, directory: Path, at: str | None, does: str = "wait", step: int = 2, ranks: list[int] | None = None
    ) -> None:
        self._at, self._does, self._step, self._ranks = at, does, step, ranks or [0, 1]
        self._now = -1

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self._now = batch_idx
        self._reach("rollout", trainer)
        if self._at == "sampling" and self._now == self._step:
            self._watch_vllm(trainer)

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self._reach("update", trainer)

    def on_save_checkpoint(self, trainer, pl_module, checkpoint):
        self._reach("checkpoint", trainer)

    def _watch_vllm(self, trainer):
        """Has vLLM come to the moment with its next step after the first completions of the training step."""
        from medssr.engines.vllm_engine import VLLMEngine

        stream = VLLMEngine.stream

        def watched(engine, *request):
            answers = stream(engine, *request)
            yield next(answers)
            vllm = engine._process.llm.llm_engine
            take_step = vllm.step
            vllm.step = lambda: self._reach("sampling", trainer) or take_step()
            yield from answers

        VLLMEngine.stream = watched

    def _reach(self, moment, trainer):
        if moment != self._at or self._now != self._step:
            return
        self._at = None
        sys.stderr.write(f"rank {trainer.global_rank} at {moment}, pid {os.getpid()}\n")
        sys.stderr.flush()
        if trainer.global_rank not in self._ranks:
            return
        if self._does == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self._does == "fault":
            raise InputError("the fault of this test")
        if self._does == "bug":
            raise RuntimeError("the bug of this test")
        if self._does == "full":
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
            return
        while stopping.received() is None:
            threading.Event().wait(0.01)
