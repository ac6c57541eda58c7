"""A callback that kills its process without warning, at any function call of a training."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import lightning as L


class Kill(L.Callback):
    """Counts function calls while training and kills the process at one of them.

    Args:
        directory: The artefact's folder, where the number of calls is written at the end of training.
        at_call: The call to die at; None to live.
        function: Counts calls of functions of this name only; None for any.
    """

    def __init__(self, directory: Path, at_call: int | None, function: str | None = None) -> None:
        self._file, self._at_call, self._function = Path(directory) / "num_calls", at_call, function
        self._num_calls = 0

    def on_train_start(self, trainer, pl_module):
        sys.setprofile(self._count)
        if self._function is not None:  # in threads as well, such as that which writes checkpoints
            threading.setprofile(self._count)

    def on_train_end(self, trainer, pl_module):
        sys.setprofile(None)
        threading.setprofile(None)
        self._file.write_text(str(self._num_calls))

    def _count(self, frame, event, argument):
        if event not in ("call", "c_call"):
            return
        name = frame.f_code.co_name if event == "call" else argument.__name__
        if self._function is None or name == self._function:
            self._num_calls += 1
            if self._num_calls == self._at_call:
                os.kill(os.getpid(), signal.SIGKILL)
