"""Ends the processes of a training together: all know of a signal at the same points of a step, save, and leave.

A step has two parts. In the first (evaluation before the step, rollout, rewards) no process calls another, so a signal
ends it at once. The second (the update) is full of collective calls, so a signal waits for its end. Where a process
goes from the first part to the second, and at the end of the step, it tells the others whether it was asked to end, and
if any was, all end there with the state after the last finished step. With one process nothing here does anything.
"""

from __future__ import annotations

from typing import Any

import lightning as L

from medssr.utils import peers, stopping
from medssr.utils.processes import gather_objects, num_processes
from medssr.utils.stopping import Stopped


def agree_to_stop() -> None:
    """Ends all processes if one has got a signal; else makes signals wait until the next step begins.

    All processes call this at the same points of a step, before their first collective call in it, and at its end.

    Raises:
        Stopped: When any process has got a signal.
    """
    if num_processes() == 1:
        return
    stopping.hold()
    stopping.lift_deadline()
    signum = max(gather_objects(stopping.received() or 0))
    if signum:
        raise Stopped(signum, is_agreed=True)


def tell_to_stop(exit_: SystemExit) -> None:
    """Tells the others, which call `agree_to_stop` after their part of the rollout, that this process ends."""
    gather_objects(exit_.signum if isinstance(exit_, Stopped) else stopping.SIGNALS[0])


class JointStop(L.Callback):
    """Opens the line between the processes, and lets signals end a step that begins.

    It has to be the first callback of a trainer.
    """

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Opens the line, and takes the place of the watch of Lightning's launcher.

        That kills all processes without a word when one of them ends early.
        """
        peers.join(trainer.global_rank, trainer.world_size, gather_objects)
        launched: list[Any] = getattr(trainer.strategy.launcher, "procs", [])
        launched.clear()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Lets a process that ends by an error of its own clean up, whoever leaves meanwhile."""
        if not isinstance(exception, SystemExit):
            peers.clean_up_undisturbed()

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Lets signals end the process again."""
        stopping.release()
