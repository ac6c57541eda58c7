"""Runs user-defined rewards in separate processes, from the moment at which the first completion of a step is there."""

from __future__ import annotations

import atexit
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medssr.answers import Choice
from medssr.engines.types import Completion
from medssr.errors import InputError
from medssr.questions import Question
from medssr.rewards.groups import GroupInput, GroupResult
from medssr.rewards.queue import InputQueue
from medssr.rewards.scoring import Reward, RewardResult, ScoredInput
from medssr.rewards.worker import RewardWorker
from medssr.utils.instantiate import instantiate

# Time-out of threads whose processes have been killed.
_MAX_END_S = 10.0
# Between two looks for results; a signal that comes just before a wait without limit does not end it.
_LOOK_EVERY_S = 1.0


class IsolatedReward:
    """A reward that runs in separate processes, which are killed and replaced if they hang or die.

    A thread for each process gives it inputs while the caller samples further completions. The results of a step do not
    depend on the number of processes, nor on the order in which completions arrive (see `InputQueue`).

    Args:
        name: The name of the reward in the configuration.
        node: The configuration of the reward, with a `_target_`.
        timeout_s: Time-out in seconds for one completion.
        num_workers: The number of processes.

    Raises:
        InputError: When the reward cannot be created.
    """

    def __init__(self, name: str, node: Mapping[str, Any], timeout_s: float, num_workers: int = 1) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="medssr_reward_")
        traces = [Path(self._folder.name) / f"trace_{number}.txt" for number in range(num_workers)]
        self._workers = [RewardWorker(name, node, timeout_s, trace) for trace in traces]
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()
        self._queue: InputQueue | None = None
        self._failure: Exception | None = None
        self._is_closed = False
        # Runs before multiprocessing's exit handler, which sends SIGTERM and waits; the processes ignore SIGTERM.
        atexit.register(self.close)
        try:
            for worker in self._workers:
                worker.launch()
            identities = [worker.identify() for worker in self._workers]
        except BaseException:
            self.close()
            raise
        self.weight, self.traits, self.location = identities[0]
        for worker in self._workers:
            thread = threading.Thread(target=self._work, args=(worker,), name=f"reward.{name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def begin(self) -> None:
        """Begins a step, or a further round of one."""
        assert self._queue is None
        self._queue = InputQueue(self.location)

    def add(self, index: int, scored_input: ScoredInput | GroupInput) -> None:
        """Gives the reward an input of the step, and returns at once.

        Args:
            index: Its place in the step; inputs may come in any order.
            scored_input: A completion, or a group for a reward of groups.
        """
        assert self._queue is not None
        with self._changed:
            self._queue.add(index, scored_input)
            self._changed.notify()

    def results(self) -> dict[int, RewardResult | GroupResult]:
        """Waits for the results of the step, and returns them by index.

        An input of a reward of groups has the result of one completion if its process failed.
        """
        assert self._queue is not None
        with self._changed:
            self._queue.complete()
            self._changed.notify_all()
            while self._failure is None and not self._queue.is_done:
                self._changed.wait(_LOOK_EVERY_S)
            if self._failure is not None:
                raise self._failure
            results, self._queue = self._queue.results(), None
        return results

    def __call__(self, question: Question, completion: Completion, choice: Choice) -> float:
        """Returns the reward of one completion; NaN if it fails."""
        self.begin()
        self.add(0, ScoredInput(question, completion, choice))
        result = self.results()[0]
        assert isinstance(result, RewardResult)
        return result.value

    def close(self) -> None:
        """Kills the processes and removes their files."""
        atexit.unregister(self.close)
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        for worker in self._workers:
            worker.end()
        for thread in self._threads:
            thread.join(_MAX_END_S)
            assert not thread.is_alive(), "a process withstood SIGKILL"
        for worker in self._workers:
            worker.close()
        self._folder.cleanup()

    def _work(self, worker: RewardWorker) -> None:
        """Main function of a thread: gives a process what waits, until the reward is closed."""
        try:
            while (inputs := self._take(worker)) is not None:
                self._score(worker, *inputs)
        except Exception as error:  # such as OSError where no process can be started
            with self._changed:
                self._failure = error
                self._changed.notify_all()

    def _take(self, worker: RewardWorker) -> tuple[InputQueue, list[tuple[int, Any]]] | None:
        """Returns the next inputs of a process with the queue that they are from; None once the reward is closed."""
        with self._changed:
            while not self._is_closed:
                queue = self._queue
                if queue is not None and (num_waiting := queue.num_waiting) > 0:
                    fair_share = -(-num_waiting // len(self._workers))
                    return queue, queue.take(min(worker.batch_size, fair_share))
                self._changed.wait()
        return None

    def _score(self, worker: RewardWorker, queue: InputQueue, inputs: list[tuple[int, Any]]) -> None:
        """Lets a process score inputs; what it did not come to is put back."""
        num_tried = 0
        for outcome in worker.score([scored_input for _, scored_input in inputs]):
            with self._changed:
                queue.put(inputs[num_tried][0], outcome.result, has_killed=outcome.has_killed)
                self._changed.notify_all()
            num_tried += 1
        with self._changed:
            queue.put_back(inputs[num_tried:])
            self._changed.notify_all()


# Rewards of this package need no isolation: their time is linear in the length of the completion.
_TRUSTED_PREFIX = "medssr.rewards."


def is_trusted(node: Mapping[str, Any]) -> bool:
    """Returns whether the node is of a reward of this package, which runs in the training process."""
    return str(node.get("_target_")).startswith(_TRUSTED_PREFIX)


@contextmanager
def open_rewards(nodes: Mapping[str, Any], timeout_s: float, num_workers: int) -> Iterator[dict[str, Reward]]:
    """Yields the rewards by name; user-defined rewards run in separate processes until the end of the block.

    Args:
        nodes: The configurations of the rewards by name.
        timeout_s: Time-out in seconds of a reward in a separate process for one completion.
        num_workers: The number of processes of each such reward.

    Raises:
        InputError: When a reward cannot be created.
    """
    if not nodes:
        raise InputError("reward: there is none, so that nothing can be learnt; keep one, such as reward=label_match.")
    rewards: dict[str, Reward] = {}
    try:
        for name, node in nodes.items():
            rewards[name] = (
                instantiate(node, f"reward.{name}")
                if is_trusted(node)
                else IsolatedReward(name, node, timeout_s, num_workers)
            )
        yield rewards
    finally:
        for reward in rewards.values():
            if isinstance(reward, IsolatedReward):
                reward.close()
