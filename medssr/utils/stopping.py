"""Signals that ask a process to end: it ends at once, or at the end of a critical section.

The processes of one training end together (`medssr.training.joint_stop`), so a critical section has no deadline there.

SIGTERM, SIGINT (Ctrl-C), SIGUSR1 and SIGUSR2 (as SLURM sends ahead of a time limit) are treated alike. A handler that
somebody else has set, such as a launcher that puts jobs back into the queue, stays in charge of its signal.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
# Seconds that a signal waits for the end of an update; many schedulers kill ten seconds after SIGTERM.
PATIENCE_S = 7.0
# Seconds until a signal that came within a callback, such as a finaliser, ends the process after it.
_RETRY_S = 0.01
# Seconds in which the launcher of several processes may repeat a signal.
_REPEAT_S = 1.0

_Handler = Callable[[int, FrameType | None], Any] | int


class Stopped(SystemExit):
    """A signal ends the process, with code 128 + its number: 143 for SIGTERM, 130 for Ctrl-C, 138 for SIGUSR1."""

    def __init__(self, signum: int, is_agreed: bool = False) -> None:
        """Takes the signal, and whether all processes of a training end at this point of a step."""
        self.code: int
        super().__init__(128 + signum)
        self.signum = signum
        self.signal_name = signal.Signals(signum).name
        self.is_agreed = is_agreed

    def __reduce__(self) -> tuple[type[Stopped], tuple[int, bool]]:
        """Returns how another process makes it again: a pool of processes hands it on."""
        return type(self), (self.signum, self.is_agreed)


@dataclass(slots=True)
class _State:
    """The state of signal handling in this process.

    Attributes:
        handlers: The handler of each signal while signals are caught; empty while they are not.
        received: The first signal that came.
        received_at: When it came, in seconds of the monotonic clock.
        is_held: Whether a signal has to wait.
        has_deadline: Whether it waits `PATIENCE_S` at most.
        notice: What another thread has for the main thread: a signal that another process got, or an exception.
        tell: Tells others of the first signal that came.
    """

    handlers: dict[int, _Handler] = field(default_factory=dict)
    received: int | None = None
    received_at: float = 0.0
    is_held: bool = False
    has_deadline: bool = False
    notice: int | BaseException | None = None
    tell: Callable[[int], None] | None = None


_state = _State()  # signals belong to the process, and so does the state


@contextmanager
def catch_signals() -> Iterator[None]:
    """Makes signals raise `Stopped` in the block, or at its end where they were deferred."""
    is_inner = bool(_state.handlers) or threading.current_thread() is not threading.main_thread()
    previous: dict[int, Any] = {} if is_inner else {signum: signal.getsignal(signum) for signum in SIGNALS}
    defaults = (signal.SIG_DFL, signal.default_int_handler)
    _state.handlers |= {
        signum: _on_signal if handler in defaults else handler
        for signum, handler in previous.items()
        if handler is not None  # None: set by other than Python, so nothing that we could put back
    }
    take_back_signals()
    print_unraisable = sys.unraisablehook
    if not is_inner:
        sys.unraisablehook = partial(_raise_again, print_unraisable)
    try:
        yield
        release()
    finally:
        _let_go()
        if not is_inner:
            sys.unraisablehook = print_unraisable
            for signum in _state.handlers:
                signal.signal(signum, previous[signum])
            _state.handlers, _state.received = {}, None


def take_back_signals() -> None:
    """Sets the handlers of `catch_signals` again after a library has replaced them."""
    for signum, handler in _state.handlers.items():
        signal.signal(signum, handler)


def hold() -> None:
    """Defers signals until `release()`, for at most `PATIENCE_S`, so that a critical section completes.

    Raises:
        Stopped: When a signal has come before.
    """
    if not _state.is_held:
        _raise_received()
        _state.is_held = _state.has_deadline = True


def lift_deadline() -> None:
    """Defers signals until `release()` however long it takes."""
    _disarm()
    _state.has_deadline = False


def release() -> None:
    """Lets signals end the process again.

    Raises:
        Stopped: When one has come meanwhile.
    """
    _let_go()
    _raise_received()


def is_held() -> bool:
    """Returns whether signals wait, or one has ended the process that had waited for too long."""
    return _state.is_held


def received() -> int | None:
    """Returns the signal that came; None if none did."""
    return _state.received


def share_signals(tell: Callable[[int], None]) -> None:
    """Tells others of the signal that ends this process, and lets other threads call `notify`.

    Args:
        tell: Is called with the signal, in the main thread.
    """
    _state.tell = tell
    signal.signal(signal.SIGALRM, _on_alarm)


def notify(notice: int | BaseException) -> None:
    """Makes the main thread treat a signal that another process got as its own, or raise an exception.

    Called by another thread. The main thread does so as soon as it runs Python code.
    """
    _state.notice = notice
    ident = threading.main_thread().ident
    assert ident is not None
    signal.pthread_kill(ident, signal.SIGALRM)


def _on_signal(signum: int, frame: FrameType | None) -> None:
    if _state.received is not None:
        # torchrun repeats at once what a terminal has sent to all; who presses Ctrl-C again does not want to wait.
        is_repeated = _state.tell is not None and time.monotonic() - _state.received_at < _REPEAT_S
        if signum == signal.SIGINT and not is_repeated:
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)
        return
    _state.received, _state.received_at = signum, time.monotonic()
    if _state.tell is not None:
        _state.tell(signum)
    if not _state.is_held:
        _raise_received()
    elif _state.has_deadline:
        signal.signal(signal.SIGALRM, _on_alarm)
        signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)


def _raise_again(print_unraisable: Callable[[Any], Any], unraisable: Any) -> None:
    """Ends the process soon after Python has dropped a `Stopped`, as it does with all that a finaliser raises."""
    if isinstance(unraisable.exc_value, Stopped):
        signal.signal(signal.SIGALRM, _on_alarm)
        signal.setitimer(signal.ITIMER_REAL, _RETRY_S)
    else:
        print_unraisable(unraisable)


def _on_alarm(signum: int, frame: FrameType | None) -> None:
    """Takes a notice of another thread, or ends the waiting for the end of a critical section."""
    notice, _state.notice = _state.notice, None
    if isinstance(notice, BaseException):
        raise notice
    if notice is None:
        _raise_received()
    elif _state.received is None:
        _on_signal(notice, frame)


def _raise_received() -> None:
    if _state.received is not None:
        signal.setitimer(signal.ITIMER_REAL, 0)  # it is raised here; a timer would raise it again during the cleanup
        raise Stopped(_state.received)


def _let_go() -> None:
    _disarm()
    _state.is_held = _state.has_deadline = False


def _disarm() -> None:
    if _state.is_held:
        signal.setitimer(signal.ITIMER_REAL, 0)
