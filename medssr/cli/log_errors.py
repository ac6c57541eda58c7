"""Lets log lines that cannot be written end no command and print no traceback, whoever logs them."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress

from medssr.utils.disk_faults import disk_fault

_show_error = logging.Handler.handleError
_warned: set[str] = set()


def let_log_lines_fail() -> None:
    """Makes a full disk a single warning for each log file, and drops lines that nobody reads.

    It holds for all handlers of the process: Hydra logs to standard output, Weights & Biases to a file of its own.
    """
    logging.Handler.handleError = _handle  # type: ignore[method-assign, assignment]


def _handle(handler: logging.Handler, record: logging.LogRecord) -> None:
    error = sys.exc_info()[1]
    fault = None if error is None else disk_fault(error)
    if fault is not None:
        file = str(getattr(handler, "baseFilename", "a log"))
        if file not in _warned:
            _warned.add(file)
            with suppress(OSError, AttributeError):  # standard error may go to the same disk, or nowhere
                sys.stderr.write(f"{file}: {fault.strerror}, so lines are missing from this log; make room there.\n")
    elif not isinstance(error, BrokenPipeError):  # that its reader has left is noticed when the output is flushed
        _show_error(handler, record)
