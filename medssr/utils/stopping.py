"""Signals that ask a process to end: it ends at once, or at the end of a critical section.

The processes of one training end together (`medssr.training.joint_stop`), so a critical section has no deadline there.

SIGTERM, SIGINT (Ctrl-C), SIGHUP (a terminal that closes), SIGUSR1 and SIGUSR2 (as SLURM sends ahead of a time limit)
are treated alike. A handler that somebody else has set, such as a launcher that puts jobs back into the queue, stays in
charge of its signal, and a signal that is ignored, such as SIGHUP after `nohup`, stays ignored.

A second signal ends the process at once, also within a critical section and while it waits in a library: the
interpreter writes the number of a signal to a socket at once, where a thread of its own reads it, but calls a handler
only when the main thread comes back to Python code.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from types import FrameType
from typing import Any

from medssr.utils.interrupts import is_default

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
# Seconds that a signal waits for the end of an update; many schedulers kill ten seconds after SIGTERM.
PATIENCE_S = 7.0
# Seconds until a signal that came within a callback, such as a finaliser, ends the process after it.
_RETRY_S = 0.01
# Seconds in which the same request may come once more: a launcher repeats at once what a terminal has sent to all of
# its processes, and a terminal that closes sends SIGHUP by its shell and by the kernel.
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
class Arrivals:
    """Tells the second signal that asks this process to end from a first one that is repeated.

    Attributes:
        first: The first signal that came to this process itself.
        first_at: When it came, in seconds of the monotonic clock.
    """

    first: int | None = None
    first_at: float = 0.0

    def is_second(self, signum: int, has_launcher: bool) -> bool:
        """Takes note of a signal, and returns whether it should end the process at once.

        Args:
            signum: The signal.
            has_launcher: Whether a launcher may repeat any signal; else one who presses Ctrl-C twice means it.
        """
        if self.first is None:
            self.first, self.first_at = signum, time.monotonic()
            return False
        is_by_hand = signum == self.first == signal.SIGINT and not has_launcher
        return is_by_hand or time.monotonic() - self.first_at >= _REPEAT_S


@dataclass(slots=True)
class _State:
    """The state of signal handling in this process.

    Attributes:
        handlers: The handler of each signal while signals are caught; empty while they are not.
        received: The first signal that came, to this process or to one that it trains with.
        handled: The signals for which the interpreter has called the handler.
        arrived: The signals that the interpreter has written to the socket.
        is_held: Whether a signal has to wait.
        has_deadline: Whether it waits `PATIENCE_S` at most.
        notice: What another thread has for the main thread: a signal that another process got, or an exception.
        tell: Tells others of the first signal that came.
        has_peers: Whether the others are processes that train together, whose launcher may repeat a signal.
    """

    handlers: dict[int, _Handler] = field(default_factory=dict)
    received: int | None = None
    handled: Arrivals = field(default_factory=Arrivals)
    arrived: Arrivals = field(default_factory=Arrivals)
    is_held: bool = False
    has_deadline: bool = False
    notice: int | BaseException | None = None
    tell: Callable[[int], None] | None = None
    has_peers: bool = False


_state = _State()  # signals belong to the process, and so does the state


@contextmanager
def catch_signals(tell: Callable[[int], None] | None = None) -> Iterator[None]:
    """Makes signals raise `Stopped` in the block, or at its end where they were deferred.

    Args:
        tell: Is called with the first signal, in the main thread, before it ends the block; for the outermost block.
    """
    is_inner = bool(_state.handlers) or threading.current_thread() is not threading.main_thread()
    previous: dict[int, Any] = {} if is_inner else {signum: signal.getsignal(signum) for signum in SIGNALS}
    _state.handlers |= {
        signum: _on_signal if is_default(handler) else handler
        for signum, handler in previous.items()
        if handler is not None  # None: set by other than Python, so nothing that we could put back
    }
    take_back_signals()
    if tell is not None:
        assert not is_inner
        _state.tell = tell
    print_unraisable = sys.unraisablehook
    if not is_inner:
        sys.unraisablehook = partial(_raise_again, print_unraisable)
    try:
        with nullcontext() if is_inner else _watched():
            yield
            release()
    finally:
        _let_go()
        if not is_inner:
            sys.unraisablehook = print_unraisable
            for signum in _state.handlers:
                signal.signal(signum, previous[signum])
            _state.handlers, _state.received = {}, None
            _state.handled, _state.arrived = Arrivals(), Arrivals()
            if tell is not None:
                _state.tell = None


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


def undisturbed(action: Callable[[], None]) -> None:
    """Calls an action of well under a second that no signal interrupts, even while a signal ends the process.

    Raises:
        Stopped: After it, when a signal has come meanwhile, unless a critical section around it goes on.
    """
    was_held, before = _state.is_held, _state.received
    _state.is_held = True
    try:
        action()
    finally:
        _state.is_held = was_held
        if not was_held and before is None:
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
    _state.tell, _state.has_peers = tell, True
    signal.signal(signal.SIGALRM, _on_alarm)


def notify(notice: int | BaseException) -> None:
    """Makes the main thread treat a signal that another process got as its own, or raise an exception.

    Called by another thread. The main thread does so as soon as it runs Python code.
    """
    _state.notice = notice
    ident = threading.main_thread().ident
    assert ident is not None
    signal.pthread_kill(ident, signal.SIGALRM)


def arrive(signum: int) -> None:
    """Ends the process if a signal that has just come to it, maybe within a call that never returns, is the second one.

    Called by the thread that reads what the interpreter writes to the file descriptor for signals.
    """
    if _state.handlers.get(signum) is _on_signal and _state.arrived.is_second(signum, _state.has_peers):
        os._exit(128 + signum)


_END = b"\0"  # the number of no signal


@contextmanager
def _watched() -> Iterator[None]:
    """Calls `arrive` for each signal in the block."""
    source, sink = socket.socketpair()
    with sink, source:
        sink.setblocking(False)
        pid = os.getpid()
        before = signal.set_wakeup_fd(sink.fileno(), warn_on_full_buffer=False)
        thread = threading.Thread(target=_watch, args=(source,), daemon=True, name="signals")
        thread.start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            if os.getpid() == pid:  # a process that was forked shares the socket, and does not have the thread
                sink.setblocking(True)
                sink.send(_END)
                thread.join()  # ends at once


def _watch(source: socket.socket) -> None:
    with suppress(OSError):  # closed, where a signal came while the block was being left
        while (data := source.recv(1024)) and _END not in data:
            for signum in data:
                arrive(signum)


# A process that was forked has the descriptor of the one that it comes from, which would take its signals for its own.
os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))


def _on_signal(signum: int, frame: FrameType | None) -> None:
    if _state.handled.is_second(signum, _state.has_peers):
        signal.signal(signum, signal.SIG_DFL)
        os.kill(os.getpid(), signum)
    if _state.received is None:
        _receive(signum)


def _receive(signum: int) -> None:
    """Takes the first signal: ends the process, or lets it wait for the end of a critical section."""
    _state.received = signum
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
        _receive(notice)


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
