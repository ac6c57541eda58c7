"""Saves checkpoints every few training steps, in the background, and when a signal ends the process."""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor, wait
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException

from medssr.errors import InputError, first_line
from medssr.tracking.csv_logger import CSVMetrics
from medssr.training.checkpoints import checkpoint_folder, checkpoint_path, write_checkpoint
from medssr.training.joint_stop import agree_to_stop, tell_to_stop
from medssr.utils import stopping
from medssr.utils.peers import PeerLeft
from medssr.utils.processes import gather_objects
from medssr.utils.seeding import random_states, set_random_states
from medssr.utils.stopping import Stopped

log = logging.getLogger(__name__)

_REMEDY = "Make room and start the same command again: it resumes from there."


class BackgroundIO(TorchCheckpointIO):
    """Copies a checkpoint at once, and writes the copy in a thread while training goes on; one at most is under way.

    The memory of the copy, on the host, is kept for the next one: to fill new memory takes several times as long.
    Weights that share memory do so in the copy, so that the file has them once.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None
        self._kept: dict[tuple[int, int], Tensor] = {}  # bytes by address and number of those that they are a copy of

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Begins to write a checkpoint, once that before it is written.

        Raises:
            OSError: When writing that before it has failed.
        """
        self.finish()
        copies: dict[tuple[int, int], Tensor] = {}
        copy = self._copied(checkpoint, copies)
        self._kept = copies
        self._writing = self._thread.submit(write_checkpoint, Path(path), partial(write_whole, copy))

    def finish(self) -> bool:
        """Waits until the checkpoint that is being written has its name, and returns whether there was one.

        Raises:
            OSError: When writing has failed.
        """
        writing = self._writing
        if writing is None:
            return False
        wait([writing])  # a signal may end this, and then it is waited for once more
        self._writing = None
        writing.result()
        return True

    def is_writing(self) -> bool:
        """Returns whether a checkpoint is still being written."""
        return self._writing is not None and not self._writing.done()

    def teardown(self) -> None:
        """Ends the thread."""
        self._thread.shutdown()

    def _copied(self, value: Any, copies: dict[tuple[int, int], Tensor]) -> Any:
        """Returns a copy of a value whose tensors are on the CPU; `copies` collects their memory."""
        if isinstance(value, dict):
            return {key: self._copied(entry, copies) for key, entry in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self._copied(entry, copies) for entry in value)
        if not isinstance(value, Tensor):
            return deepcopy(value)
        storage = value.untyped_storage()
        key = storage.data_ptr(), storage.nbytes()
        if key not in copies:
            source = torch.empty(0, dtype=torch.uint8, device=value.device).set_(storage)
            kept = self._kept.get(key)
            if kept is None:
                kept = torch.empty(len(source), dtype=torch.uint8, pin_memory=value.is_cuda)
            copies[key] = kept.copy_(source)
        memory = copies[key].untyped_storage()
        return torch.empty(0, dtype=value.dtype).set_(memory, value.storage_offset(), value.shape, value.stride())


def write_whole(checkpoint: dict[str, Any], path: Path) -> None:
    """Writes a checkpoint directly to its file; Lightning's default holds a second copy of it in memory.

    Raises:
        OSError: When writing fails.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("wb") as stream:
            torch.save(checkpoint, stream)
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):  # torch raises a RuntimeError in place of it
            raise error.__context__ from error
        raise


@dataclass(frozen=True, slots=True)
class _Boundary:
    """The state at the end of a training step, except weights, optimiser and schedule.

    The rollout of the next step changes only this state. So until its update begins, a checkpoint of the end of the
    step can still be saved.
    """

    num_done: int
    loops: dict[str, Any]
    callbacks: dict[str, Any]
    random_states: list[dict[str, Any]]  # of each process


class StepCheckpoint(L.Callback):
    """Saves the whole training state every few steps, after the last, and when a signal ends the process.

    It has to be the last callback of a trainer, so that the state of the others after the step is in the checkpoint.
    Lightning stores no random states, so they are added here. A checkpoint of a whole model is written while the next
    steps train, and training waits for it only before the next one and at its end; processes that each write their
    shard of a model do so together, and wait.

    Args:
        directory: The artefact's folder; checkpoints go to `checkpoints/` in it.
        every_num_steps: Steps between checkpoints.
    """

    def __init__(self, directory: Path | str, every_num_steps: int) -> None:
        self._folder = checkpoint_folder(Path(directory))
        self._every_num_steps = every_num_steps
        self._boundary: _Boundary | None = None
        self._num_saved: int | None = None  # the step of the last checkpoint of this process, maybe still being written
        self._io = BackgroundIO()
        self._is_disk_failing = False  # so that a failing disk is logged once
        self._is_ending = False  # by a signal, which is answered once the state is saved
        self._loaded_random_states: list[dict[str, Any]] | None = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Sets a checkpoint IO that writes in the background."""
        trainer.strategy.checkpoint_io = self._io

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Replaces Lightning's signal handlers, which save in the middle of a step, and restores the random states."""
        stopping.take_back_signals()
        if self._loaded_random_states is not None and trainer.world_size == len(self._loaded_random_states):
            set_random_states(self._loaded_random_states[trainer.global_rank])
        self._loaded_random_states = None

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Saves every `every_num_steps` steps and after the last, and lets signals end the process, or all together."""
        stopping.lift_deadline()
        num_done = batch_idx + 1
        self._boundary = _Boundary(
            num_done,
            _loops(trainer),
            {callback.state_key: deepcopy(callback.state_dict()) for callback in _callbacks(trainer)},
            gather_objects(random_states()),
        )
        is_last = num_done == trainer.num_training_batches or trainer.should_stop
        if not self._io.is_writing():
            self._finish(trainer)  # so that a failure is told at the next step
        if is_last or num_done % self._every_num_steps == 0:
            self._save(trainer, num_done, is_last)
        if trainer.world_size == 1:
            stopping.release()
        else:  # `JointStop` lets signals end the processes again when the next step begins
            agree_to_stop()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Saves the state after the last finished step if a signal ends the process; all processes save together."""
        if not isinstance(exception, SystemExit) or isinstance(exception, PeerLeft) or self._boundary is None:
            self._finish(trainer, must_succeed=False)
            return
        is_agreed = isinstance(exception, Stopped) and exception.is_agreed
        # Within an update the weights are between two steps.
        if stopping.is_held() and not is_agreed:
            self._finish(trainer, must_succeed=False)
            log.warning("ended within an update; the newest checkpoint stays")
            return
        self._is_ending = True
        if not is_agreed:
            tell_to_stop(exception)
        self._finish(trainer)
        if self._num_saved != self._boundary.num_done:
            self._save(trainer, self._boundary.num_done, is_last=False)
        self._finish(trainer)
        trainer.strategy.barrier()  # no process ends before the checkpoint has its name

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Replaces the state that the next rollout may have changed by the state at the end of the step."""
        assert self._boundary is not None, "checkpoints are saved after a training step"
        checkpoint["loops"]["fit_loop"] = self._boundary.loops
        checkpoint["callbacks"] = self._boundary.callbacks
        checkpoint["num_done"] = self._boundary.num_done
        checkpoint["random_states"] = self._boundary.random_states

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keeps the random states, which `on_train_start` restores."""
        self._loaded_random_states = checkpoint["random_states"]

    def _save(self, trainer: L.Trainer, num_done: int, is_last: bool) -> None:
        """Writes metrics and checkpoint, or begins to; a failing disk stops training only after the last step."""
        self._finish(trainer)
        path = checkpoint_path(self._folder, num_done)
        has_shards = _writes_shards(trainer)
        try:
            for logger in trainer.loggers:
                if isinstance(logger, CSVMetrics):
                    logger.write()
            save = partial(trainer.save_checkpoint, weights_only=False)
            if not has_shards:
                save(path)
            elif trainer.is_global_zero:
                write_checkpoint(path, save)
            else:
                save(path.with_suffix(".tmp"))
        except CheckpointException as error:  # of a sharded one, on all processes
            cause = next(fault for fault, _ in error.failures.values())
            if not isinstance(cause, OSError | RuntimeError):  # the latter is torch's for a file that cannot be written
                raise
            raise InputError.at(path, f"{_problem(cause)}. {_REMEDY}") from error
        except OSError as error:
            self._tell(error, path, is_fatal=is_last or trainer.world_size > 1)
            return
        self._num_saved = num_done
        log.debug("checkpoint after step %d of %s", num_done, trainer.num_training_batches)
        if is_last or has_shards:
            self._finish(trainer, is_last=is_last)
            trainer.strategy.barrier()  # no process goes on, or ends, before the checkpoint has its name

    def _finish(self, trainer: L.Trainer, *, is_last: bool = False, must_succeed: bool = True) -> None:
        """Waits for the checkpoint that is being written; treats a failure as `_save` does, or only logs it."""
        try:
            if self._io.finish():
                self._is_disk_failing = False
        except OSError as error:
            path, self._num_saved = checkpoint_path(self._folder, self._num_saved or 0), None
            self._tell(error, path, is_fatal=must_succeed and (is_last or trainer.world_size > 1))

    def _tell(self, error: OSError, path: Path, *, is_fatal: bool) -> None:
        """Logs that a checkpoint could not be written, once, or raises InputError."""
        if is_fatal:
            raise InputError.at(path, f"{_problem(error)}. {_REMEDY}") from error
        if self._is_ending:
            log.warning("%s: %s. Training ends, and the same command goes on from there", path, _problem(error))
        elif not self._is_disk_failing:
            log.warning("%s: %s. Training continues, and the next checkpoint is tried again", path, _problem(error))
        self._is_disk_failing = True


def _problem(error: OSError | RuntimeError) -> str:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else first_line(error)
    return f"could not be written ({reason}); the checkpoint before it is whole"


def _writes_shards(trainer: L.Trainer) -> bool:
    """Returns whether each process writes its shard of a checkpoint; else the first one writes all of it."""
    strategy = trainer.strategy
    return isinstance(strategy, ModelParallelStrategy) and bool(strategy._save_distributed_checkpoint)


def _loops(trainer: L.Trainer) -> dict[str, Any]:
    """Returns the state of the training loop, changed such that a longer training can resume after the last step."""
    loops = deepcopy(trainer.fit_loop.state_dict())
    loops["epoch_loop.batch_progress"]["is_last_batch"] = False
    return loops


def _callbacks(trainer: L.Trainer) -> list[L.Callback]:
    return [callback for callback in trainer.callbacks if callback.state_dict()]  # type: ignore[attr-defined]
