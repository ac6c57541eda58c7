"""A line between the processes of one training: a signal that one of them gets, and who has left and why.

The first process has a TCP connection to each of the others and passes on what it hears. A connection that closes
without a farewell means that a process was killed, also where its peers wait for it in a collective call that would
never return. The line opens with the first training of a command and lasts as long as the command.
"""

from __future__ import annotations

import atexit
import json
import logging
import multiprocessing
import os
import secrets
import selectors
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from medssr.errors import InputError
from medssr.utils import stopping
from medssr.utils.processes import are_started_together

log = logging.getLogger(__name__)

# Seconds that a process has to unwind after another one has left; then it is ended where it stands.
GRACE_S = 15.0
_CONNECT_S = 60.0
# Seconds between looks at the launcher.
_LOOK_S = 1.0
_TOKEN_BYTES = 16
_RANK_DIGITS = 8
# Seconds after which the kernel asks a silent connection for a sign of life, and between further questions.
_KEEPALIVE_S = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}


class PeerLeft(SystemExit):
    """Another process of the training has left before its end, so this one ends, too.

    Attributes:
        rank: Who left.
        message: What to tell; empty where the other process has told it.
    """

    def __init__(self, rank: int, code: int | None, message: str) -> None:
        """Takes who left, with which exit code (None: it was killed), and its own message."""
        self.code: int
        super().__init__(1 if code is None else code)
        self.rank = rank
        self.message = message if rank > 0 else ""
        if code is None:
            self.message = (
                f"The process of rank {rank} is gone: it was killed or has crashed, perhaps for want of memory. "
                "All processes end; the same command goes on from the newest checkpoint."
            )


@dataclass(slots=True)
class _Line:
    """The line of this process.

    Attributes:
        rank: Of this process.
        sockets: By rank: of all others in the first process, and of the first process in the others.
        departure: The first process that left before the end.
        farewells: Who has said farewell, so that the end of the connection says nothing.
        announcements: The last one of the first process, by subject.
        is_cleaning_up: Whether this process ends by an error of its own.
    """

    rank: int
    sockets: dict[int, socket.socket]
    departure: PeerLeft | None = None
    farewells: set[int] = field(default_factory=set)
    announcements: dict[str, str] = field(default_factory=dict)
    news: threading.Condition = field(default_factory=threading.Condition)
    has_passed_signal: bool = False
    has_left: bool = False
    is_cleaning_up: bool = False
    _sending: threading.RLock = field(default_factory=threading.RLock)  # a signal may come while the main thread sends

    def send(self, message: dict[str, Any], beside: int | None = None) -> None:
        """Sends a message to all at the other ends, except `beside`."""
        data = json.dumps(message).encode() + b"\n"
        with self._sending:
            for rank, connection in list(self.sockets.items()):
                if rank != beside:
                    try:
                        connection.sendall(data)
                    except OSError:  # its end is noticed by whoever reads it
                        log.debug("rank %d cannot be reached", rank)

    def pass_signal(self, signum: int, sender: int | None) -> None:
        """Tells the others of the first signal."""
        if not self.has_passed_signal:
            self.has_passed_signal = True
            self.send({"signal": signum}, beside=sender)
            if sender is not None:
                stopping.notify(signum)

    def take(self, sender: int, message: dict[str, Any]) -> None:
        """Acts upon a message, and passes it on."""
        if "signal" in message:
            self.pass_signal(message["signal"], sender)
        elif "about" in message:
            with self.news:
                self.announcements[message["about"]] = message["said"]
                self.news.notify_all()
        else:
            self.farewells.add(message["left"])
            self.lose(message["left"], message["code"], message["message"])

    def lose(self, rank: int, code: int | None, message: str) -> None:
        """Ends this process if another one has left before the end, killed if it gave no code."""
        if self.rank == 0:
            self.send({"left": rank, "code": code, "message": message}, beside=rank)
        if code == 0 or self.departure is not None or self.has_left:
            return
        with self.news:
            self.departure = PeerLeft(rank, code, message)
            self.news.notify_all()
        # Who was ended by a signal has passed it on, so this process ends by itself if it can.
        if self.departure.code < 128 and not self.is_cleaning_up:
            stopping.notify(self.departure)
        deadline = threading.Timer(GRACE_S, self._end)
        deadline.daemon = True
        deadline.start()

    def tells(self, departure: PeerLeft) -> bool:
        """Returns whether it is this process that tells the user of the departure: the first one that is left."""
        return self.rank == (1 if departure.rank == 0 else 0)

    def _end(self) -> None:
        """Ends a process that waits in a call that does not return."""
        departure = self.departure
        assert departure is not None
        is_ending = departure.code > 128 and stopping.received() is not None
        if self.has_left or is_ending:
            return
        if departure.message and self.tells(departure):
            log.error("%s", departure.message)
        for child in multiprocessing.active_children():
            child.kill()
        sys.stderr.flush()
        os._exit(departure.code)


_line: _Line | None = None  # processes have one line


def join(rank: int, num_processes: int, share: Callable[[Any], list[Any]]) -> None:
    """Opens the line if it is not open; all processes call this together, in their main threads.

    Args:
        rank: Of this process.
        num_processes: The number of all; nothing is opened for one.
        share: Returns what each process gives, in the order of their ranks.

    Raises:
        InputError: When the first process cannot be reached.
    """
    global _line
    if num_processes == 1 or _line is not None:
        return
    host = os.environ.get("MASTER_ADDR", "127.0.0.1")
    has_both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if has_both else socket.AF_INET
    with socket.create_server(("", 0), family=family, backlog=num_processes, dualstack_ipv6=has_both) as server:
        port, token = share((server.getsockname()[1], secrets.token_hex(_TOKEN_BYTES)))[0]
        try:
            sockets = _accept(server, num_processes - 1, token) if rank == 0 else {0: _connect(host, port, token, rank)}
        except OSError as error:
            raise InputError(
                f"The processes of this training cannot reach each other at {host}, port {port} ({error}); MASTER_ADDR "
                "must name the first node, and ports must be open between the nodes."
            ) from error
    _line = _Line(rank, sockets)
    stopping.share_signals(partial(_line.pass_signal, sender=None))
    wakeup, to_wake = socket.socketpair()
    to_wake.setblocking(False)
    # The interpreter writes the number of a signal there at once, also while the main thread waits in a library.
    signal.set_wakeup_fd(to_wake.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_listen, args=(_line, wakeup, to_wake), daemon=True, name="peers").start()
    atexit.register(_leave_at_exit, _line)


def end_with_launcher() -> None:
    """Ends this process if the main process has started it and dies before the line between them is open."""
    if os.environ.get("LOCAL_RANK", "0") == "0" or are_started_together():
        return
    parent = os.getppid()

    def watch() -> None:
        while _line is None:
            if os.getppid() != parent:
                log.error("the main process is gone, so this one ends, too")
                os._exit(1)
            time.sleep(_LOOK_S)

    threading.Thread(target=watch, daemon=True, name="launcher").start()


def is_joined() -> bool:
    """Returns whether the line is open."""
    return _line is not None


def departure(wait_s: float = 0.0) -> PeerLeft | None:
    """Returns who left before the end, after waiting for such news; None if nobody did.

    A library that waits for a process may notice that it is gone before the line does.
    """
    line = _line
    if line is None:
        return None
    with line.news:
        line.news.wait_for(lambda: line.departure is not None, wait_s)
        return line.departure


def message_to_show(departure: PeerLeft) -> str:
    """Returns what this process tells the user of a departure; empty where it is for another process to tell."""
    return departure.message if _line is None or _line.tells(departure) else ""


def clean_up_undisturbed() -> None:
    """Lets this process, which ends by an error of its own, close what it has opened while others leave."""
    if _line is not None:
        _line.is_cleaning_up = True


def leave(code: int, message: str = "") -> bool:
    """Says farewell and closes the line; returns whether the first process will show the message.

    Args:
        code: The exit code; 0 at the end of a command.
        message: What the user should read.
    """
    global _line
    line, _line = _line, None
    if line is None:
        return False
    line.has_left = True
    line.send({"left": line.rank, "code": code, "message": message})
    signal.set_wakeup_fd(-1)
    return line.rank != 0


def announce(about: str, said: str) -> None:
    """Tells the other processes something, if this is the first of several."""
    if _line is not None and _line.rank == 0:
        _line.send({"about": about, "said": said})


def wait_for(about: str, *said: str) -> str:
    """Returns what the first process has announced about a subject, once it is one of the given words."""
    line = _line
    assert line is not None
    with line.news:
        # However long the first process works. It ends, since its departure raises PeerLeft in the main thread.
        line.news.wait_for(lambda: line.announcements.get(about) in said)
        return line.announcements[about]


def _accept(server: socket.socket, number: int, token: str) -> dict[int, socket.socket]:
    """Returns the connections of the other processes by their ranks; strangers are turned away."""
    server.settimeout(_CONNECT_S)
    sockets: dict[int, socket.socket] = {}
    while len(sockets) < number:
        connection, _ = server.accept()
        connection.settimeout(_CONNECT_S)
        hello = connection.recv(2 * _TOKEN_BYTES + _RANK_DIGITS, socket.MSG_WAITALL).decode("ascii", "replace")
        if hello.startswith(token):
            sockets[int(hello.removeprefix(token))] = _watched(connection)
        else:
            connection.close()
    return sockets


def _connect(host: str, port: int, token: str, rank: int) -> socket.socket:
    connection = socket.create_connection((host, port), timeout=_CONNECT_S)
    connection.sendall(f"{token}{rank:0{_RANK_DIGITS}}".encode())
    return _watched(connection)


def _watched(connection: socket.socket) -> socket.socket:
    """Returns the connection, which the kernel closes if the other machine is gone."""
    connection.settimeout(None)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE_S.items():
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return connection


def _listen(line: _Line, wakeup: socket.socket, to_wake: socket.socket) -> None:
    """Takes messages and signals as long as the process lives."""
    buffers = dict.fromkeys(line.sockets, b"")
    with selectors.DefaultSelector() as selector, to_wake:
        selector.register(wakeup, selectors.EVENT_READ)
        for rank, connection in line.sockets.items():
            selector.register(connection, selectors.EVENT_READ, rank)
        while True:  # also without peers: the interpreter writes signals to `to_wake` until the process leaves
            for key, _ in selector.select():
                source: Any = key.fileobj
                data = _received(source)
                if key.data is None:
                    for signum in data:
                        if signum in stopping.SIGNALS:
                            stopping.arrive(signum)
                            line.pass_signal(signum, sender=None)
                elif data:
                    *messages, buffers[key.data] = (buffers[key.data] + data).split(b"\n")
                    for message in messages:
                        line.take(key.data, json.loads(message))
                else:
                    selector.unregister(source)
                    del line.sockets[key.data]
                    if key.data not in line.farewells:
                        line.lose(key.data, None, "")


def _received(source: socket.socket) -> bytes:
    try:
        return source.recv(65536)
    except OSError:  # reset: as good as closed
        return b""


def _leave_at_exit(line: _Line) -> None:
    """Says farewell for programs that end without `leave`."""
    if _line is line:
        leave(0 if getattr(sys, "last_value", None) is None else 1)
