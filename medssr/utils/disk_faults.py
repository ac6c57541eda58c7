"""Tells faults of a disk (full, over a quota, read-only, broken) from other errors, whichever library raises them."""

from __future__ import annotations

import errno
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

# There is no room for what is written.
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FAULTS = _NO_ROOM | {errno.EROFS, errno.EIO, errno.ESTALE}
# How libraries that raise no OSError end its text: safetensors, datasets, pyarrow.
_NUMBER = re.compile(r"\b(?:os error|errno) (\d+)\b", re.IGNORECASE)
_PHRASES = {os.strerror(number).lower(): number for number in _FAULTS} | {
    # torch's for a file that has become shorter than what was written to it.
    "inline_container.cc": errno.ENOSPC,
    # SQLite's.
    "database or disk is full": errno.ENOSPC,
    "disk i/o error": errno.EIO,
    "attempt to write a readonly database": errno.EROFS,
}


def disk_fault(error: BaseException) -> OSError | None:
    """Returns the fault of a disk that an error stems from; None where it stems from something else.

    Example:
        >>> disk_fault(RuntimeError("I/O error: No space left on device (os error 28)"))
        OSError(28, 'No space left on device')
    """
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        if isinstance(each, OSError) and each.errno is not None:
            if each.errno in _FAULTS:
                return each
        elif (number := _number_in(str(each))) is not None:
            return OSError(number, os.strerror(number))
        each = each.__cause__ or each.__context__
    return None


def _number_in(text: str) -> int | None:
    numbers = [int(match[1]) for match in _NUMBER.finditer(text)]
    numbers += [number for phrase, number in _PHRASES.items() if phrase in text.lower()]
    return next((number for number in numbers if number in _FAULTS), None)


@contextmanager
def writes_to(path: Path) -> Iterator[None]:
    """Gives an error of the block for want of room the name of the file or folder that is written.

    The system names no file when a write fails, only when a file cannot be opened.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM and error.filename is None:
            error.filename = str(path)
        raise


_warned: set[str] = set()


@contextmanager
def only_watches(what: str, path: Path) -> Iterator[None]:
    """Lets no fault of the disk leave the block, which writes what only watches the work; warns of the first one.

    Args:
        what: What is written, in the plural; there is one warning for each in a process.
        path: The file or folder that is written.
    """
    try:
        yield
    except Exception as error:
        fault = disk_fault(error)
        if fault is None:
            raise
        if what not in _warned:
            _warned.add(what)
            log.warning("%s: %s, so %s are not written from now on; the work goes on", path, fault.strerror, what)
