"""A process in which a user-defined reward runs; it can be killed even if the reward holds the GIL."""

from __future__ import annotations

import faulthandler
import math
import multiprocessing
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from medssr.errors import InputError
from medssr.rewards.groups import GroupInput, GroupResult, group_result_of
from medssr.rewards.scoring import (
    FaultKind,
    RewardResult,
    RewardTraits,
    ScoredInput,
    failed,
    location_of,
    raised,
    result_of,
    traits_of,
    with_location,
)
from medssr.utils.instantiate import instantiate
from medssr.utils.stopping import SIGNALS

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

# Time-out of starting a reward, which may load a model.
_MAX_START_S = 600.0
# Extra time in which a process that exceeds the time-out writes its traceback and exits.
_GRACE_S = 2.0
# A process that scores quickly gets as many inputs in a message as take it this long, and at most so many.
_MESSAGE_S = 0.02
_MAX_INPUTS = 64
# Processes are started, looked at and killed by one thread at a time, so that none is waited for by two threads.
_process_lock = threading.Lock()


class Identity(NamedTuple):
    """What a process says of its reward: weight, traits, and the class with its file and line."""

    weight: float
    traits: RewardTraits
    location: str


class Outcome(NamedTuple):
    """The result of one input, and whether its process was killed or died over it."""

    result: RewardResult | GroupResult
    has_killed: bool


class RewardWorker:
    """One process of a reward, which is replaced if it hangs or dies. One thread uses it, but any may `end` it.

    Args:
        name: The name of the reward in the configuration.
        node: The configuration of the reward, with a `_target_`.
        timeout_s: Time-out in seconds for one input.
        trace: A file for the traceback of a process that hangs.

    Attributes:
        batch_size: The number of inputs to give it in a message.
    """

    def __init__(self, name: str, node: Mapping[str, Any], timeout_s: float, trace: Path) -> None:
        self._name = name
        self._node = dict(node)
        self._timeout_s = timeout_s
        self._trace = trace
        self._process: Any = None
        self._connection: Connection | None = None
        self._location = ""
        self._has_ended = False
        self.batch_size = 1

    def launch(self) -> None:
        """Starts the process, unless the worker has been ended."""
        # Not forked: forking a process with threads and a GPU context may hang.
        context = multiprocessing.get_context("spawn")
        self._connection, remote = context.Pipe()
        self._trace.write_bytes(b"")
        process = context.Process(
            target=_serve,
            args=(remote, self._name, self._node, self._timeout_s, str(self._trace)),
            name=f"reward.{self._name}",
            daemon=True,
        )
        with _process_lock:
            if not self._has_ended:
                process.start()
                self._process = process
        remote.close()

    def identify(self) -> Identity:
        """Waits until the process has created the reward, and returns what it is.

        Raises:
            InputError: When the reward cannot be created.
        """
        answer = self._receive(_MAX_START_S)
        if not isinstance(answer, Identity):
            self._discard()
            raise InputError(f"reward.{self._name}: {answer or 'its process ended while it was started.'}")
        self._location = answer.location
        return answer

    def score(self, inputs: Sequence[ScoredInput | GroupInput]) -> Iterator[Outcome]:
        """Yields the outcome of each input in turn; ends early behind one that has killed the process."""
        if not self._is_running():
            self._discard()
            self.launch()
            try:
                self.identify()
            except InputError as error:
                yield Outcome(failed(FaultKind.died, str(error), self._location), has_killed=True)
                return
        assert self._connection is not None
        start = time.monotonic()
        with suppress(BrokenPipeError, ConnectionResetError):
            self._connection.send(list(inputs))
        for _ in inputs:
            result = self._receive(self._timeout_s + _GRACE_S)
            if not isinstance(result, RewardResult | GroupResult):
                yield Outcome(self._discard_hanging(), has_killed=True)
                return
            yield Outcome(result, has_killed=False)
        seconds_per_input = (time.monotonic() - start) / len(inputs)
        self.batch_size = max(1, min(_MAX_INPUTS, int(_MESSAGE_S / max(seconds_per_input, 1e-9))))

    def end(self) -> None:
        """Kills the process for good; its thread, if it waits for it, goes on with a fault."""
        with _process_lock:
            self._has_ended = True
            if self._process is not None:
                self._process.kill()

    def close(self) -> None:
        """Ends the process and frees what it took; called by the thread that uses the worker, or once that is gone."""
        self.end()
        self._discard()

    def _receive(self, timeout_s: float) -> Any:
        """Returns the next message of the process; None if it times out or the process ends."""
        assert self._connection is not None
        with suppress(EOFError, ConnectionResetError):
            if self._connection.poll(timeout_s):
                return self._connection.recv()
        return None

    def _is_running(self) -> bool:
        with _process_lock:
            return self._process is not None and self._process.exitcode is None

    def _discard_hanging(self) -> RewardResult:
        """Kills a process that hangs or has died, and returns a result with the fault."""
        if wait([self._process.sentinel], _GRACE_S):
            with _process_lock:
                self._process.join(_GRACE_S)
        exit_code = self._discard()
        trace = self._trace.read_text(encoding="utf-8", errors="replace")
        if exit_code is None or trace:
            cause = f"took more than {self._timeout_s:g} seconds (grpo.reward_timeout_s)"
            return failed(FaultKind.timed_out, cause, self._location, trace)
        return failed(FaultKind.died, f"its process ended with code {exit_code}", self._location)

    def _discard(self) -> int | None:
        """Kills the process if there is one; returns the exit code that it had before, None if it was running."""
        exit_code = None
        with _process_lock:
            if self._process is not None:
                exit_code = self._process.exitcode
                self._process.kill()
                self._process.join()  # ends, since nothing withstands SIGKILL
                self._process = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        return exit_code


def _serve(connection: Connection, name: str, node: Mapping[str, Any], timeout_s: float, trace_path: str) -> None:
    """Main function of the process: creates the reward, and scores inputs until the connection closes."""
    # A signal to the process group is for the training process, which may need the rewards to finish its step.
    for signum in SIGNALS:
        signal.signal(signum, signal.SIG_IGN)
    reward = _create(connection, name, node)
    if reward is None:
        return
    with Path(trace_path).open("w", encoding="utf-8") as trace, suppress(EOFError, BrokenPipeError, ConnectionError):
        while True:
            for scored_input in connection.recv():
                # After the time-out, a C thread that needs no GIL writes the traceback and ends the process, even if
                # the training process has died.
                faulthandler.dump_traceback_later(timeout_s, exit=True, file=trace)
                try:
                    result = _answer(reward, scored_input)
                except BaseException as error:  # also sys.exit() and KeyboardInterrupt
                    result = raised(error, reward)
                faulthandler.cancel_dump_traceback_later()
                connection.send(result)


def _answer(reward: Any, scored_input: ScoredInput | GroupInput) -> RewardResult | GroupResult:
    if isinstance(scored_input, GroupInput):
        return group_result_of(reward.score_group(scored_input), scored_input, reward)
    return with_location(result_of(reward(*scored_input)), reward)


def _create(connection: Connection, name: str, node: Mapping[str, Any]) -> Any:
    """Creates the reward, and sends what it is; None if that fails."""
    try:
        reward = instantiate(node, f"reward.{name}")
        weight = float(reward.weight)
        if not math.isfinite(weight):
            raise ValueError(f"its weight is {weight}.")
    except Exception as error:
        connection.send(f"{type(error).__name__}: {error}")
        return None
    connection.send(Identity(weight, traits_of(reward), location_of(reward)))
    return reward
