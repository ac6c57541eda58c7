"""Measures rewards of a user's own: what a call costs, several processes, and scoring beside the sampling.

    python experiments/performance/foreign_rewards.py

Quick: 512 completions of 1,000 tokens, scored in no time, as microseconds a completion. Slow: 64 completions that take
0.1 s each, in 1 and in 8 processes. Beside the sampling: the same in 8 processes, with completions that arrive one
after the other in twice the time that scoring takes; what is left when the last one has arrived.
"""

from __future__ import annotations

import random
import time

from medssr.answers import Choice
from medssr.engines.types import Completion
from medssr.questions import Question
from medssr.rewards.isolation import IsolatedReward
from medssr.rewards.scoring import ScoredInput

_NUM_QUICK, _NUM_SLOW = 512, 64
_SLOW_S = 0.1
_NUM_WORKERS = 8
_NUM_TOKENS = 1000
_VOCABULARY = 150_000
_ROUNDS = 3


class Quick:
    """The length of the text."""

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def __call__(self, question: Question, completion: Completion, choice: Choice) -> float:
        """Returns the number of characters."""
        return float(len(completion.text))


class Slow(Quick):
    """The same, as late as an answer of a judge."""

    def __call__(self, question: Question, completion: Completion, choice: Choice) -> float:
        """Returns the number of characters."""
        time.sleep(_SLOW_S)
        return super().__call__(question, completion, choice)


def completions(number: int) -> list[ScoredInput]:
    """Returns random completions of one question."""
    chance = random.Random(0)
    question = Question("q", "Which organ? " * 40, {"A": "liver", "B": "heart"}, "A", "made up")
    token_ids = [[chance.randrange(_VOCABULARY) for _ in range(_NUM_TOKENS)] for _ in range(number)]
    logps = [-chance.random() for _ in range(_NUM_TOKENS)]
    return [ScoredInput(question, Completion(row, logps, "x" * 4000, False), Choice("A", "")) for row in token_ids]


def seconds(name: str, number: int, num_workers: int, pause_s: float = 0.0) -> float:
    """Returns the seconds from the arrival of the last completion to its results, the least of some rounds.

    Args:
        name: The class of the reward.
        number: Number of completions.
        num_workers: Number of processes.
        pause_s: Seconds between the arrivals of two completions.
    """
    reward = IsolatedReward("mine", {"_target_": f"foreign_rewards.{name}", "weight": 1.0}, 60.0, num_workers)
    inputs = completions(number)
    found = []
    for _ in range(_ROUNDS):
        reward.begin()
        start = time.monotonic()
        for index, scored_input in enumerate(inputs):
            reward.add(index, scored_input)
            time.sleep(pause_s)
        start = time.monotonic() if pause_s else start
        reward.results()
        found.append(time.monotonic() - start)
    reward.close()
    return min(found)


def main() -> None:
    """Prints the table."""
    quick = seconds("Quick", _NUM_QUICK, 1)
    print(f"quick: {1e6 * quick / _NUM_QUICK:,.0f} microseconds a completion")
    one, many = (seconds("Slow", _NUM_SLOW, number) for number in (1, _NUM_WORKERS))
    print(f"slow, 1 process: {one:.2f} s; {_NUM_WORKERS} processes: {many:.2f} s, {one / many:.1f} times as fast")
    rest = seconds("Slow", _NUM_SLOW, _NUM_WORKERS, pause_s=2 * _SLOW_S / _NUM_WORKERS)
    print(f"slow, {_NUM_WORKERS} processes, beside the sampling: {rest:.2f} s left at its end")


if __name__ == "__main__":
    main()
