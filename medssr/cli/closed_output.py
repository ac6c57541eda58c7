"""Ends a command quietly when nobody reads its output any more, as behind `| head`."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn, TextIO

from medssr.errors import USER_FAULT
from medssr.utils.disk_faults import disk_fault

# Exit code of a program that SIGPIPE ends, as shells show it.
NOBODY_READS = 128 + signal.SIGPIPE


@contextmanager
def ends_with_its_reader() -> Iterator[None]:
    """Ends the process with code 141 and no message when the reader of its output has left before all was written.

    Python ignores SIGPIPE, which would also end a command whose server or worker closes a connection. So a failed write
    counts only where standard output or standard error has lost its reader.
    """
    try:
        yield
        _flush()
    except (BrokenPipeError, SystemExit) as error:
        if not is_output_closed(error):
            _flush_at_exit()
            raise
        _discard(*filter(_has_no_reader, (sys.stdout, sys.stderr)))
        sys.exit(NOBODY_READS)


def show(text: str) -> None:
    """Prints a text to the end; where standard output is a file on a full disk, ends the process with a message."""
    try:
        print(text, flush=True)
    except OSError as error:
        _end_for_want_of_room(error)


def is_output_closed(error: BaseException) -> bool:
    """Returns whether an error means that nobody reads the command's output; rich raises SystemExit for it."""
    is_of_rich = isinstance(error, SystemExit) and isinstance(error.__context__, BrokenPipeError) and error.code == 1
    return is_of_rich or (isinstance(error, BrokenPipeError) and any(map(_has_no_reader, (sys.stdout, sys.stderr))))


def _flush() -> None:
    """Writes what is buffered, or ends the process as `show` does."""
    if sys.stdout is None:  # started with a closed output
        return
    try:
        sys.stdout.flush()
    except OSError as error:
        _end_for_want_of_room(error)


def _end_for_want_of_room(error: OSError) -> NoReturn:
    fault = disk_fault(error)
    if fault is None:
        raise error
    _discard(sys.stdout)
    with suppress(OSError, AttributeError):  # standard error may go there too, or nowhere
        sys.stderr.write(f"standard output: {fault.strerror}. Make room where it goes to, or send it elsewhere.\n")
    sys.exit(USER_FAULT)


def _flush_at_exit() -> None:
    """Writes what is buffered, so that a write that fails is noticed here and not when the interpreter ends."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        _discard(sys.stdout)


def _has_no_reader(stream: TextIO | None) -> bool:
    if stream is None:
        return False
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):  # a stream without a file, or a closed one
        return False
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))


def _discard(*streams: TextIO) -> None:
    """Sends what streams still hold nowhere; the interpreter would complain about it at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in streams:
        os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
