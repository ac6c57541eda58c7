"""Rewards of users, most of which do what no reward should; they run in processes of their own. Imports no torch."""

from __future__ import annotations

import os
import re
import signal
import sys
import time

from medssr.rewards.label_match import LabelMatch


class Hostile:
    """1.0, except for the completions whose text says what to do instead."""

    def __init__(self, weight=1.0):
        self.weight = weight

    def __call__(self, question, completion, choice):
        return DEEDS[completion.text]() if completion.text in DEEDS else 1.0


class Unmakeable:
    def __init__(self, weight):
        raise RuntimeError("no judge at this address")


class Weightless:
    def __call__(self, question, completion, choice):
        return 1.0


class EvenTokens:
    """The share of even tokens: there is always something to learn."""

    def __init__(self, weight):
        self.weight = weight

    def __call__(self, question, completion, choice):
        return sum(token % 2 == 0 for token in completion.token_ids) / len(completion.token_ids)


class FailsForLetters:
    """The letter's place in the alphabet, but for some letters nothing but trouble."""

    def __init__(self, weight, letters):
        self.weight = weight
        self._letters = letters

    def __call__(self, question, completion, choice):
        if choice.letter in self._letters:
            raise ValueError(choice.letter)
        return None if choice.letter is None else ord(choice.letter) - ord("A") + 1


class HostileSubclass(LabelMatch):
    """Inherits from one of the package and is none of it."""

    def __call__(self, question, completion, choice):
        return hang_in_a_regex()


def hang_in_a_regex():
    """Takes ages in C with the GIL held."""
    return float(bool(re.match(r"(a+)+$", "a" * 60 + "b")))


def hang_with_deaf_ears():
    """Swallows whatever is raised in it, and any signal that can be."""
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


DEEDS = {
    "raises": divide,
    "recurses": recurse,
    "exits": sys.exit,
    "dies": lambda: os._exit(3),
    "is killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "loops": hang_in_a_regex,
    "sleeps": hang_with_deaf_ears,
    "nan": lambda: float("nan"),
    "inf": lambda: float("-inf"),
    "huge": lambda: 10.0**30,
    "text": lambda: "1.0",
    "list": lambda: [1.0],
    "lambda": lambda: lambda: 1.0,
    "none": lambda: None,
    "true": lambda: True,
}


class Deciding:
    """A reward for the label of somebody else's."""

    decides_signal = True

    def __init__(self, weight):
        self.weight = weight

    def __call__(self, question, completion, choice):
        return float(choice.letter == question.answer)
