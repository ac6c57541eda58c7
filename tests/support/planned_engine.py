"""Engines with planned answers, and a callback that interrupts training."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import lightning as L
from support.helpers import LetterEngine

from medssr.engines.hf_engine import HFEngine


class PlannedEngine(HFEngine):
    """Samples like HFEngine, but answers a planned fraction of greedy requests with A and the rest with B.

    Args:
        policy: Model and tokenizer.
        rates: The fraction of A after each update.
        count_dir: Folder of the file with the number of updates, which a resumed process reads.
    """

    def __init__(self, policy, rates, count_dir):
        super().__init__(policy, max_batch_size=64)
        self._rates = rates
        self._file = Path(count_dir) / "num_updates.txt"
        self._is_started = False

    def _num_updates(self):
        return int(self._file.read_text()) if self._file.is_file() else 0

    def sync_weights(self, model):
        super().sync_weights(model)
        if self._is_started:  # the first call is before any update
            self._file.write_text(str(self._num_updates() + 1))
        self._is_started = True

    def generate(self, prompts, seeds, sampling):
        completions = super().generate(prompts, seeds, sampling)
        if sampling.top_k != 1:
            return completions
        num_a = round(len(prompts) * self._rates[self._num_updates()])
        return [
            [replace(item, text=f"The answer is {'A' if index < num_a else 'B'}.") for item in row]
            for index, row in enumerate(completions)
        ]


class SignalForSome(HFEngine):
    """Samples like HFEngine, but gives the same answer every time to questions with odd numbers.

    Args:
        policy: Model and tokenizer.
    """

    def __init__(self, policy):
        super().__init__(policy, max_batch_size=64)
        self._tokenizer = policy.tokenizer

    def generate(self, prompts, seeds, sampling):
        groups = super().generate(prompts, seeds, sampling)
        texts = [self._tokenizer.decode(prompt) for prompt in prompts]
        numbers = [int(re.search(r"organ is number (\d+)", text)[1]) for text in texts]
        return [
            [
                replace(item, text="AB"[index % 2 * (1 - number % 2)], is_truncated=False)
                for index, item in enumerate(row)
            ]
            for number, row in zip(numbers, groups, strict=True)
        ]


class PlannedLetters(LetterEngine):
    """Answers each question with planned letters.

    Args:
        policy: Its tokenizer makes the tokens.
        letters: For each question in the order of asking its answers, such as "AAB-"; "-" is a truncated answer without
            a letter. They repeat after the last.
    """

    def __init__(self, policy, letters):
        super().__init__(policy)
        self._letters = letters
        self._num_asked = 0

    def generate(self, prompts, seeds, sampling):
        del sampling
        rows = [self._letters[(self._num_asked + index) % len(self._letters)] for index in range(len(prompts))]
        self._num_asked += len(prompts)
        return [
            [self._cut() if letter == "-" else self._answer(letter) for letter in row[: len(samples)]]
            for row, samples in zip(rows, seeds, strict=True)
        ]

    def _cut(self):
        return replace(self._answer("A"), text="The patient\x07 presents with", is_truncated=True)


class StopBefore(L.Callback):
    """Ends a run before a step with an error, without any clean-up, like a kill."""

    def __init__(self, directory, step):
        self._step = step

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx == self._step:
            raise ConnectionAbortedError
