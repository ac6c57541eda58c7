"""Rewards in a process of their own, which can be ended whatever they do: a thread that holds the GIL cannot."""

from __future__ import annotations

import atexit
import faulthandler
import logging
import math
import multiprocessing
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medssr.answers import Choice
from medssr.engines.types import Completion
from medssr.errors import InputError
from medssr.questions import Question
from medssr.rewards.scoring import FaultKind, Reward, RewardResult, ScoredInput, failed, result_of
from medssr.utils.instantiate import instantiate

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

log = logging.getLogger(__name__)

# Starting may load a model; only after this long is it given up.
_MAX_START_S = 600.0
# How much longer than itself the process is given to end itself, with the place where it hangs.
_GRACE_S = 2.0
# A step in which so many processes had to be ended asks no further: it would wait for as many time limits.
_MAX_ENDED_PER_STEP = 3


class IsolatedReward:
    """A reward that is made and asked in another process; that process is ended and replaced when it hangs or dies.

    Args:
        name: Its name in the configuration.
        node: Its configuration, with a `_target_`.
        timeout_s: Seconds that it may take for one completion.

    Raises:
        InputError: When the reward cannot be made.
    """

    def __init__(self, name: str, node: Mapping[str, Any], timeout_s: float) -> None:
        self._name = name
        self._node = dict(node)
        self._timeout_s = timeout_s
        self._folder = tempfile.TemporaryDirectory(prefix="medssr_reward_")
        self._trace = Path(self._folder.name) / "trace.txt"
        self._process: Any = None
        self._connection: Connection | None = None
        self.weight, self.decides_signal = self._start()

    def score_batch(self, inputs: Sequence[ScoredInput]) -> list[RewardResult]:
        """Returns what the reward returns for each input of a step."""
        results: list[RewardResult] = []
        num_ended = 0
        for scored_input in inputs:
            if num_ended == _MAX_ENDED_PER_STEP:
                skipped = f"not asked: {num_ended} processes had to be ended in this step already."
                results.append(failed(FaultKind.skipped, skipped))
                continue
            results.append(self._ask(scored_input))
            num_ended += self._process is None
        return results

    def __call__(self, question: Question, completion: Completion, choice: Choice) -> float:
        """Returns what the reward returns for one completion; NaN where it fails."""
        return self.score_batch([ScoredInput(question, completion, choice)])[0].value

    def close(self) -> None:
        """Ends the process."""
        self._end()
        self._folder.cleanup()

    def _start(self) -> tuple[float, bool]:
        """Starts a process, and returns the weight of the reward in it and whether it decides signal."""
        # Not forked: a fork of a process with the threads and the GPU of a training run may hang by itself.
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._trace.write_bytes(b"")
        self._process = context.Process(
            target=_serve,
            args=(theirs, self._name, self._node, self._timeout_s, str(self._trace)),
            name=f"reward.{self._name}",
            daemon=True,
        )
        # Before multiprocessing's own, which asks processes to end and waits; ours do not listen (see _serve).
        atexit.register(self._end)
        self._process.start()
        theirs.close()
        answer = self._receive(_MAX_START_S)
        if not isinstance(answer, tuple):
            self._end()
            raise InputError(f"reward.{self._name}: {answer or 'its process ended while it was started.'}")
        weight, decides_signal = answer
        return weight, decides_signal

    def _ask(self, scored_input: ScoredInput) -> RewardResult:
        if self._process is None:
            try:
                self._start()
            except InputError as error:
                self._end()
                return failed(FaultKind.died, str(error))
        assert self._connection is not None
        with suppress(BrokenPipeError, ConnectionResetError):
            self._connection.send(scored_input)
        result = self._receive(self._timeout_s + _GRACE_S)
        return result if isinstance(result, RewardResult) else self._lost()

    def _receive(self, timeout_s: float) -> Any:
        """Returns what the process sends, None when it takes too long or ends."""
        assert self._connection is not None
        with suppress(EOFError, ConnectionResetError):
            if self._connection.poll(timeout_s):
                return self._connection.recv()
        return None

    def _lost(self) -> RewardResult:
        """Ends a process that does not answer, and returns a result that says so."""
        self._process.join(_GRACE_S)
        has_hung = self._process.exitcode is None
        exit_code = self._process.exitcode
        self._end()
        trace = self._trace.read_text(encoding="utf-8", errors="replace")
        if has_hung or trace:
            detail = f"took more than {self._timeout_s:g} seconds (grpo.reward_timeout_s).\n{trace}"
            return failed(FaultKind.timed_out, detail)
        return failed(FaultKind.died, f"its process ended with code {exit_code}.")

    def _end(self) -> None:
        """Ends the process, whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        atexit.unregister(self._end)


def _serve(connection: Connection, name: str, node: Mapping[str, Any], timeout_s: float, trace_path: str) -> None:
    """Makes the reward and scores inputs until the other side is gone: what the process does."""
    # Who interrupts the run means the run, which still needs the rewards of its step before it can end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    reward = _make(connection, name, node)
    if reward is None:
        return
    with Path(trace_path).open("w", encoding="utf-8") as trace, suppress(EOFError, BrokenPipeError, ConnectionError):
        while True:
            scored_input = connection.recv()
            # A thread in C, which needs no GIL: it writes where the reward hangs and ends the process, also when the
            # run itself is gone by then.
            faulthandler.dump_traceback_later(timeout_s, exit=True, file=trace)
            try:
                result = result_of(reward(*scored_input))
            except BaseException as error:  # sys.exit() and KeyboardInterrupt too
                result = _raised(error)
            faulthandler.cancel_dump_traceback_later()
            connection.send(result)


def _make(connection: Connection, name: str, node: Mapping[str, Any]) -> Any:
    """Returns the reward and sends its weight and whether it decides signal; None where it cannot be made."""
    try:
        reward = instantiate(node, f"reward.{name}")
        weight = float(reward.weight)
        if not math.isfinite(weight):
            raise ValueError(f"its weight is {weight}.")
    except Exception as error:
        connection.send(f"{type(error).__name__}: {error}")
        return None
    connection.send((weight, bool(getattr(reward, "decides_signal", False))))
    return reward


def _raised(error: BaseException) -> RewardResult:
    import traceback

    return failed(FaultKind.raised, "".join(traceback.format_exception(error)))


# Ours take time linear in the completion, so that nothing has to watch over them.
_OURS = "medssr.rewards."


@contextmanager
def open_rewards(nodes: Mapping[str, Any], timeout_s: float) -> Iterator[dict[str, Reward]]:
    """Yields the rewards by name; those that are not of this package run in processes of their own until the end.

    Args:
        nodes: Their configuration by name.
        timeout_s: Seconds that a reward in a process of its own may take for one completion.

    Raises:
        InputError: When a reward cannot be made.
    """
    rewards: dict[str, Reward] = {}
    try:
        for name, node in nodes.items():
            is_ours = str(node.get("_target_")).startswith(_OURS)
            rewards[name] = instantiate(node, f"reward.{name}") if is_ours else IsolatedReward(name, node, timeout_s)
        yield rewards
    finally:
        for reward in rewards.values():
            if isinstance(reward, IsolatedReward):
                reward.close()
