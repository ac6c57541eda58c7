"""User-defined rewards, most of them faulty, for separate processes, and a selection. This module imports no torch."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from pathlib import Path

from medssr.grpo.selection import QuestionSelection
from medssr.rewards.groups import GroupScore
from medssr.rewards.label_match import LabelMatch


class Hostile:
    """Returns 1.0, except for completions whose text names one of `ACTIONS`."""

    def __init__(self, weight=1.0):
        self.weight = weight

    def __call__(self, question, completion, choice):
        return ACTIONS[completion.text]() if completion.text in ACTIONS else 1.0


class Unmakeable:
    def __init__(self, weight):
        raise RuntimeError("no judge at this address")


class Weightless:
    def __call__(self, question, completion, choice):
        return 1.0


class EvenTokens:
    """The fraction of even tokens, so that the policy can always learn."""

    decides_signal = True

    def __init__(self, weight):
        self.weight = weight

    def __call__(self, question, completion, choice):
        return sum(token % 2 == 0 for token in completion.token_ids) / len(completion.token_ids)


class FailsForLetters:
    """Returns the letter's index in the alphabet, counted from 1, but raises for the given letters."""

    def __init__(self, weight, letters):
        self.weight = weight
        self._letters = letters

    def __call__(self, question, completion, choice):
        if choice.letter in self._letters:
            raise ValueError(choice.letter)
        return None if choice.letter is None else ord(choice.letter) - ord("A") + 1


class HostileSubclass(LabelMatch):
    """A subclass of a reward of the package, which is not itself of the package."""

    def __call__(self, question, completion, choice):
        return hang_in_a_regex()


def hang_in_a_regex():
    """Runs for very long in C and holds the GIL."""
    return float(bool(re.match(r"(a+)+$", "a" * 60 + "b")))


def hang_and_ignore_signals():
    """Sleeps forever, and ignores exceptions and all signals that can be ignored."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    while True:
        try:
            time.sleep(60)
        except BaseException:
            continue


def divide():
    return 1 / 0


def recurse():
    return recurse()


ACTIONS = {
    "raises": divide,
    "recurses": recurse,
    "exits": sys.exit,
    "dies": lambda: os._exit(3),
    "is killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "loops": hang_in_a_regex,
    "sleeps": hang_and_ignore_signals,
    "nan": lambda: float("nan"),
    "inf": lambda: float("-inf"),
    "huge": lambda: 10.0**30,
    "text": lambda: "1.0",
    "list": lambda: [1.0],
    "lambda": lambda: lambda: 1.0,
    "none": lambda: None,
    "true": lambda: True,
}


class LeavesAFile:
    """Leaves a file with the name of each completion's text."""

    def __init__(self, weight, folder):
        self.weight = weight
        self._folder = Path(folder)

    def __call__(self, question, completion, choice):
        (self._folder / completion.text).touch()
        return 1.0


class Deciding:
    """A user-defined reward for the label."""

    decides_signal = True

    def __init__(self, weight):
        self.weight = weight

    def __call__(self, question, completion, choice):
        return float(choice.letter == question.answer)


class FewestAnswers:
    """A reward of groups: 1 for the answer that the fewest completions give; fails where there is none."""

    is_label_free = True

    def __init__(self, weight):
        self.weight = weight

    def score_group(self, group):
        letters = group.letters
        rarest = min((letter for letter in letters if letter is not None), key=letters.count)
        return GroupScore([float(letter == rarest) for letter in letters], question_weight=0.5)


class KeepsFirst(QuestionSelection):
    """Trains the first question of each step alone."""

    has_rests = True

    def select(self, step, candidates, history):
        return [index == 0 for index in range(len(candidates))]
