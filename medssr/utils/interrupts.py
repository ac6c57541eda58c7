"""Ends a command with one line when Ctrl-C comes while `medssr.utils.stopping` does not catch signals.

That is while Python imports the command, while Hydra composes its configuration, between two jobs of a sweep, and when
all is done. A command imports this module before any other, so it imports next to nothing itself.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

CODE = 128 + signal.SIGINT
# Words of a command line in which the program stands: flags of Python, `-m` and the module come before settings.
_NUM_WORDS = 5


def end_at_once() -> None:
    """Makes Ctrl-C end this process at once, if it is a command of medssr and not a program that imports one."""
    if _is_command(sys.orig_argv) and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


@contextmanager
def ended_by_exception() -> Iterator[None]:
    """Makes Ctrl-C raise `SystemExit` in the block, so that what is open there is closed.

    Not before and after it: modules that are half imported, and the interpreter at its end, may drop an exception.
    """
    is_ours = signal.getsignal(signal.SIGINT) is _end
    if is_ours:
        signal.signal(signal.SIGINT, _raise)
    try:
        yield
    finally:
        if is_ours:
            signal.signal(signal.SIGINT, _end)


def is_default(handler: object) -> bool:
    """Returns whether a handler of a signal is Python's or of this module, and not what somebody else has set."""
    return handler in (signal.SIG_DFL, signal.default_int_handler, _end, _raise)


def _is_command(words: list[str]) -> bool:
    names = [os.path.basename(word) for word in words[1:_NUM_WORDS]]  # noqa: PTH119, pathlib takes time to import
    return names[:1] == ["medssr"] or any(name.startswith(("medssr-", "medssr.commands.")) for name in names)


def _end(signum: int, frame: FrameType | None) -> NoReturn:
    _tell()
    os._exit(CODE)


def _raise(signum: int, frame: FrameType | None) -> NoReturn:
    _tell()
    raise SystemExit(CODE)


def _tell() -> None:
    with suppress(OSError):  # nobody reads it
        os.write(2, b"ended by SIGINT\n")
