"""Watches training on labelled questions that it does not see, stops it, and keeps the best model."""

from __future__ import annotations

import logging
import random
import shutil
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning as L

from medssr.answers import extract_choice
from medssr.benchmarks.reader import load_benchmark
from medssr.config import KeptModel, ProbeConfig
from medssr.engines.types import RolloutEngine, Sampling
from medssr.grpo.rollouts import RolloutCollector
from medssr.questions import Question
from medssr.statistics import wilson_interval
from medssr.training.checkpoints import NUM_KEPT
from medssr.utils.seeding import derive_seed

log = logging.getLogger(__name__)


class Probe(L.Callback):
    """Scores the policy every few steps, before the step begins, so that a checkpoint never waits for it.

    Args:
        rollouts: Has the policy and the engine; its weights are the trained ones before a step.
        questions: What is asked.
        config: How often, and when to stop.
        directory: The artefact's folder; the best model so far goes to `best/` in it.
    """

    def __init__(
        self, rollouts: RolloutCollector, questions: Sequence[Question], config: ProbeConfig, directory: Path
    ) -> None:
        self._rollouts = rollouts
        self._questions = questions
        self._config = config
        self._folder = directory / "best"
        self._max_new_tokens = rollouts.config.max_new_tokens
        self._prompts = rollouts.policy.encode(list(questions), self._max_new_tokens, config.path)
        self.history = ProbeHistory()
        self._in_checkpoints: deque[int] = deque(maxlen=NUM_KEPT)  # the best step that each of those on disk tells of

    def state_dict(self) -> dict[str, Any]:
        """Returns what a checkpoint keeps."""
        return asdict(self.history)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where the checkpoint was made."""
        self.history = ProbeHistory(**state)
        self._in_checkpoints.append(self.history.best_step)
        if self._keeps_best and not self._model_after(self.history.best_step).is_dir():
            log.warning(
                "probe: the best model, after %d steps, is gone; the search starts anew", self.history.best_step
            )
            self.history = ProbeHistory(start=self.history.start)

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Remembers which model the checkpoint needs."""
        self._in_checkpoints.append(self.history.best_step)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stops at once where a run is resumed that had stopped."""
        trainer.should_stop = self.history.is_exhausted(self._config, _num_done(trainer))

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Scores when it is time; a step that has begun is the last where training stops."""
        if batch_idx % self._config.every_num_steps:
            return
        start = time.monotonic()
        metrics = self._look(trainer, batch_idx) | {"time/probe": time.monotonic() - start}
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=batch_idx)
        if self.history.is_exhausted(self._config, batch_idx):
            log.info(
                "probe: no better than %.3f (after %d steps) for %d probes; training stops",
                self.history.best,
                self.history.best_step,
                self.history.num_since_best,
            )
            trainer.should_stop = True

    def finish(self, trainer: L.Trainer) -> dict[str, Any]:
        """Scores the model that training ended with, and returns what all scores came to."""
        self._rollouts.policy.model.to(trainer.strategy.root_device)  # Lightning brings it to the CPU when it is done
        last = self._look(trainer, _num_done(trainer))
        return asdict(self.history) | {"last": last["val/probe/accuracy"]}

    def best_model(self) -> Path | None:
        """Returns the folder of the model that the stage ends with, None where that is the last."""
        return self._model_after(self.history.best_step) if self._keeps_best else None

    @property
    def _keeps_best(self) -> bool:
        return self._config.keep is KeptModel.best

    def _model_after(self, num_done: int) -> Path:
        return self._folder / f"step_{num_done:07d}"

    def _look(self, trainer: L.Trainer, num_done: int) -> dict[str, Any]:
        """Scores the policy, keeps it where it is the best so far, and returns the metrics."""
        score = score_probe(self._rollouts.engine, self._questions, self._prompts, self._max_new_tokens)
        score = trainer.strategy.broadcast(score)  # all processes stop, or none
        best_before = self.history.best_step
        is_best = self.history.add(num_done, score.accuracy)
        log.debug("probe: %.3f after %d steps", score.accuracy, num_done)
        if is_best and self._keeps_best and trainer.is_global_zero:
            self._keep(num_done, {best_before, *self._in_checkpoints})
        return score.metrics() | self.history.metrics()

    def _keep(self, num_done: int, needed: set[int]) -> None:
        """Saves the policy, whole or not at all; models that no checkpoint can tell of any more go."""
        for folder in self._folder.glob("*"):
            if folder not in {self._model_after(step) for step in needed}:
                shutil.rmtree(folder)
        temporary = self._folder / "unfinished"
        self._rollouts.policy.save(temporary)
        kept = self._model_after(num_done)
        if kept.exists():  # of a run that was killed after this step and repeated it
            shutil.rmtree(kept)
        temporary.replace(kept)


def _num_done(trainer: L.Trainer) -> int:
    """Returns the training steps that are done, in this run or before it was interrupted."""
    return trainer.fit_loop.epoch_loop.batch_progress.current.completed


def probe_questions(config: ProbeConfig, seed: int) -> list[Question]:
    """Returns the questions of the probe in the order of their file: all, or as many as are asked for, drawn.

    Raises:
        InputError: When the file is absent or faulty.
    """
    questions = list(load_benchmark(Path(config.path)))
    if config.num_questions is None or config.num_questions >= len(questions):
        return questions
    drawn = random.Random(derive_seed(seed, "probe")).sample(range(len(questions)), config.num_questions)
    return [questions[place] for place in sorted(drawn)]


def without(questions: Iterable[Question], probe: Iterable[Question]) -> list[Question]:
    """Returns the questions that are not in the probe, whatever their ids and the order of their options."""
    held_out = {question.content_key for question in probe}
    return [question for question in questions if question.content_key not in held_out]


@dataclass(frozen=True, slots=True)
class ProbeScore:
    """How a policy does on the probe, with one answer to each question, its likeliest token by token."""

    num_questions: int
    num_right: int
    num_invalid: int

    @property
    def accuracy(self) -> float:
        """The share of right answers."""
        return self.num_right / self.num_questions

    def metrics(self) -> dict[str, float]:
        """Returns the score as metrics, the accuracy with its 95% interval."""
        interval = wilson_interval(self.num_right, self.num_questions)
        return {
            "val/probe/accuracy": self.accuracy,
            "val/probe/accuracy_low": interval.low,
            "val/probe/accuracy_high": interval.high,
            "val/probe/invalid_share": self.num_invalid / self.num_questions,
            "val/probe/num_questions": float(self.num_questions),
        }


def score_probe(
    engine: RolloutEngine, questions: Sequence[Question], prompts: Sequence[list[int]], max_new_tokens: int
) -> ProbeScore:
    """Returns the score of the policy that an engine generates with.

    Args:
        engine: Its weights are those to be scored.
        questions: With answers.
        prompts: Token ids of each.
        max_new_tokens: Answers are cut here.
    """
    greedy = Sampling(temperature=1.0, max_new_tokens=max_new_tokens, top_k=1, has_logps=False)
    answers = engine.generate(prompts, [[0]] * len(prompts), greedy)
    letters = [
        extract_choice(completion.text, question.options).letter
        for question, (completion,) in zip(questions, answers, strict=True)
    ]
    return ProbeScore(
        len(questions),
        sum(letter == question.answer for letter, question in zip(letters, questions, strict=True)),
        letters.count(None),
    )


@dataclass(slots=True)
class ProbeHistory:
    """What early stopping remembers of the scores so far.

    Attributes:
        start: Accuracy before any training.
        best: The highest accuracy.
        best_step: Training steps done when it was first reached.
        num_since_best: Scores since then.
    """

    start: float | None = None
    best: float = -1.0
    best_step: int = 0
    num_since_best: int = 0

    def add(self, num_done: int, accuracy: float) -> bool:
        """Takes in the accuracy after so many training steps; returns whether it is the best so far."""
        if self.start is None:
            self.start = accuracy
        if accuracy <= self.best:
            self.num_since_best += 1
            return False
        self.best, self.best_step, self.num_since_best = accuracy, num_done, 0
        return True

    def is_exhausted(self, config: ProbeConfig, num_done: int) -> bool:
        """Returns whether training should stop: no better score for `patience` probes, and not too early."""
        patience = config.patience
        return patience is not None and self.num_since_best >= patience and num_done >= config.min_steps

    def metrics(self) -> dict[str, Any]:
        """Returns what the scores so far come to."""
        return {"val/probe/start_accuracy": self.start, "val/probe/best_accuracy": self.best}
