"""Runs user-defined rewards in separate processes, which can be killed even if the reward holds the GIL."""

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
from typing import TYPE_CHECKING, Any, cast

from medssr.answers import Choice
from medssr.engines.types import Completion
from medssr.errors import InputError
from medssr.questions import Question
from medssr.rewards.groups import GroupInput, GroupResult, group_result_of
from medssr.rewards.scoring import (
    FaultKind,
    Reward,
    RewardResult,
    RewardTraits,
    ScoredInput,
    failed,
    place_of,
    raised,
    result_of,
    traits_of,
    with_place,
)
from medssr.utils.instantiate import instantiate
from medssr.utils.stopping import SIGNALS

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

log = logging.getLogger(__name__)

# Time-out of starting a reward, which may load a model.
_MAX_START_S = 600.0
# Extra time in which a process that exceeds the time-out writes its traceback and exits.
_GRACE_S = 2.0
# After this many killed processes in a step, the reward skips the rest, since each could take the full time-out.
_MAX_KILLED_PER_STEP = 3


class IsolatedReward:
    """A reward that runs in a separate process, which is killed and replaced if it hangs or dies.

    Args:
        name: The name of the reward in the configuration.
        node: The configuration of the reward, with a `_target_`.
        timeout_s: Time-out in seconds for one completion.

    Raises:
        InputError: When the reward cannot be created.
    """

    def __init__(self, name: str, node: Mapping[str, Any], timeout_s: float) -> None:
        self._name = name
        self._node = dict(node)
        self._timeout_s = timeout_s
        self._folder = tempfile.TemporaryDirectory(prefix="medssr_reward_")
        self._trace = Path(self._folder.name) / "trace.txt"
        self._process: Any = None
        self._connection: Connection | None = None
        self.place = ""
        self.weight, self.traits = self._start()

    def score_batch(self, inputs: Sequence[ScoredInput]) -> list[RewardResult]:
        """Returns the result of the reward for each input of a step."""
        results = self._ask_each(inputs)
        assert all(isinstance(result, RewardResult) for result in results)
        return cast(list[RewardResult], results)

    def score_remotely(self, groups: Sequence[GroupInput]) -> list[GroupResult]:
        """Returns the result of a reward of groups for each group of a step."""
        return [
            GroupResult([result] * len(group.completions)) if isinstance(result, RewardResult) else result
            for group, result in zip(groups, self._ask_each(groups), strict=True)
        ]

    def _ask_each(self, inputs: Sequence[ScoredInput | GroupInput]) -> list[RewardResult | GroupResult]:
        """Returns what the process answers to each input; a result with a fault where it does not."""
        results: list[RewardResult | GroupResult] = []
        num_killed = 0
        for scored_input in inputs:
            if num_killed == _MAX_KILLED_PER_STEP:
                skipped = f"skipped: {num_killed} processes had to be killed in this step already"
                results.append(failed(FaultKind.skipped, skipped, self.place))
                continue
            results.append(self._score(scored_input))
            num_killed += self._process is None
        return results

    def __call__(self, question: Question, completion: Completion, choice: Choice) -> float:
        """Returns the reward of one completion; NaN if it fails."""
        return self.score_batch([ScoredInput(question, completion, choice)])[0].value

    def close(self) -> None:
        """Kills the process and removes its files."""
        self._kill()
        self._folder.cleanup()

    def _start(self) -> tuple[float, RewardTraits]:
        """Starts the process, and returns the weight of the reward and its traits."""
        # Not forked: forking a process with threads and a GPU context may hang.
        context = multiprocessing.get_context("spawn")
        self._connection, remote = context.Pipe()
        self._trace.write_bytes(b"")
        self._process = context.Process(
            target=_serve,
            args=(remote, self._name, self._node, self._timeout_s, str(self._trace)),
            name=f"reward.{self._name}",
            daemon=True,
        )
        # Runs before multiprocessing's exit handler, which sends SIGTERM and waits; `_serve` ignores SIGTERM.
        atexit.register(self._kill)
        self._process.start()
        remote.close()
        answer = self._receive(_MAX_START_S)
        if not isinstance(answer, tuple):
            self._kill()
            raise InputError(f"reward.{self._name}: {answer or 'its process ended while it was started.'}")
        weight, traits, self.place = answer
        return weight, traits

    def _score(self, scored_input: ScoredInput | GroupInput) -> RewardResult | GroupResult:
        if self._process is None:
            try:
                self._start()
            except InputError as error:
                self._kill()
                return failed(FaultKind.died, str(error), self.place)
        assert self._connection is not None
        with suppress(BrokenPipeError, ConnectionResetError):
            self._connection.send(scored_input)
        result = self._receive(self._timeout_s + _GRACE_S)
        return result if isinstance(result, RewardResult | GroupResult) else self._kill_hanging()

    def _receive(self, timeout_s: float) -> Any:
        """Returns the next message of the process; None if it times out or the process ends."""
        assert self._connection is not None
        with suppress(EOFError, ConnectionResetError):
            if self._connection.poll(timeout_s):
                return self._connection.recv()
        return None

    def _kill_hanging(self) -> RewardResult:
        """Kills a process that hangs or has died, and returns a result with the fault."""
        self._process.join(_GRACE_S)
        has_hung = self._process.exitcode is None
        exit_code = self._process.exitcode
        self._kill()
        trace = self._trace.read_text(encoding="utf-8", errors="replace")
        if has_hung or trace:
            cause = f"took more than {self._timeout_s:g} seconds (grpo.reward_timeout_s)"
            return failed(FaultKind.timed_out, cause, self.place, trace)
        return failed(FaultKind.died, f"its process ended with code {exit_code}", self.place)

    def _kill(self) -> None:
        """Kills the process if there is one, and closes the connection."""
        if self._process is not None:
            self._process.kill()
            self._process.join()  # ends, since nothing withstands SIGKILL
            self._process = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        atexit.unregister(self._kill)


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
            scored_input = connection.recv()
            # After the time-out, a C thread that needs no GIL writes the traceback and ends the process, even if the
            # training process has died.
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
    return with_place(result_of(reward(*scored_input)), reward)


def _create(connection: Connection, name: str, node: Mapping[str, Any]) -> Any:
    """Creates the reward, and sends its weight, its traits and its place; None if that fails."""
    try:
        reward = instantiate(node, f"reward.{name}")
        weight = float(reward.weight)
        if not math.isfinite(weight):
            raise ValueError(f"its weight is {weight}.")
    except Exception as error:
        connection.send(f"{type(error).__name__}: {error}")
        return None
    connection.send((weight, traits_of(reward), place_of(reward)))
    return reward


# Rewards of this package need no isolation: their time is linear in the length of the completion.
_TRUSTED_PREFIX = "medssr.rewards."


def is_trusted(node: Mapping[str, Any]) -> bool:
    """Returns whether the node is of a reward of this package, which runs in the training process."""
    return str(node.get("_target_")).startswith(_TRUSTED_PREFIX)


@contextmanager
def open_rewards(nodes: Mapping[str, Any], timeout_s: float) -> Iterator[dict[str, Reward]]:
    """Yields the rewards by name; user-defined rewards run in separate processes until the end of the block.

    Args:
        nodes: The configurations of the rewards by name.
        timeout_s: Time-out in seconds of a reward in a separate process for one completion.

    Raises:
        InputError: When a reward cannot be created.
    """
    if not nodes:
        raise InputError("reward: there is none, so that nothing can be learnt; keep one, such as reward=label_match.")
    rewards: dict[str, Reward] = {}
    try:
        for name, node in nodes.items():
            of_package = is_trusted(node)
            rewards[name] = instantiate(node, f"reward.{name}") if of_package else IsolatedReward(name, node, timeout_s)
        yield rewards
    finally:
        for reward in rewards.values():
            if isinstance(reward, IsolatedReward):
                reward.close()
