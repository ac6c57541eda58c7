"""Evaluates the policy on held-out questions during training, stops training early, and keeps the best model."""

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
from medssr.manifests import kept_hashes
from medssr.questions import Question
from medssr.statistics import wilson_interval
from medssr.training.checkpoints import NUM_KEPT, checkpoint_folder, steps_on_disk
from medssr.training.joint_stop import agree_to_stop
from medssr.utils import stopping
from medssr.utils.folder_hashes import folder_fault, write_hashes
from medssr.utils.processes import gather_objects
from medssr.utils.seeding import derive_seed

log = logging.getLogger(__name__)


class HeldoutCallback(L.Callback):
    """Evaluates the policy on held-out questions every few steps, before the step begins.

    An evaluation before the step never delays the checkpoint of the step.

    Args:
        rollouts: Has the policy and the engine; before a step, the engine has the weights that are trained.
        questions: The held-out questions.
        config: How often to evaluate, and when to stop.
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
        rollouts.engine.reserve(lambda: max(map(len, self._prompts)) + self._max_new_tokens)
        self.history = HeldoutHistory()
        self._checkpoints = checkpoint_folder(directory)
        self._best_steps: list[int] = []  # all of this process
        # Those that the newest checkpoints refer to: one may still be being written, or writing it may have failed.
        self._best_steps_of_newest: deque[int] = deque(maxlen=NUM_KEPT)

    def state_dict(self) -> dict[str, Any]:
        """Returns the state for the checkpoint."""
        return asdict(self.history)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the state of a checkpoint."""
        self.history = HeldoutHistory(**state)
        self._best_steps.append(self.history.best_step)
        fault = self._fault_of_best() if self._keeps_best else None
        if fault is not None:
            log.warning("probe: %s; the search for the best model starts anew", fault)
            self.history = HeldoutHistory(start=self.history.start)

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Records which best model the checkpoint refers to."""
        self._best_steps_of_newest.append(self.history.best_step)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stops immediately if the resumed run had already stopped early."""
        trainer.should_stop = self.history.is_exhausted(self._config, _num_done(trainer))

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Evaluates every `every_num_steps` steps; where training stops, the step that begins here is the last."""
        if batch_idx % self._config.every_num_steps:
            return
        start = time.monotonic()
        metrics = self._evaluate(trainer, batch_idx) | {"time/probe": time.monotonic() - start}
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
        """Evaluates the final model, and returns the history of all scores with the last accuracy."""
        self._rollouts.policy.model.to(trainer.strategy.root_device)  # Lightning moves it to the CPU at the end
        last = self._evaluate(trainer, _num_done(trainer))
        return asdict(self.history) | {"last": last["val/probe/accuracy"]}

    def best_model(self) -> Path | None:
        """Returns the folder of the best model; None if the stage ends with the last one."""
        return self._model_after(self.history.best_step) if self._keeps_best else None

    @property
    def _keeps_best(self) -> bool:
        return self._config.keep is KeptModel.best

    def _fault_of_best(self) -> str | None:
        """Returns that the best model is gone or damaged; None if it is as it was saved."""
        best = self._model_after(self.history.best_step)
        if not best.is_dir():
            return f"the best model, after {self.history.best_step} steps, is gone"
        fault = folder_fault(best, kept_hashes(self._folder.parents[2]).of_file)
        return None if fault is None else f"the best model, {best}, {fault}"

    def _model_after(self, num_done: int) -> Path:
        return self._folder / f"step_{num_done:07d}"

    def _evaluate(self, trainer: L.Trainer, num_done: int) -> dict[str, Any]:
        """Evaluates the policy, saves it if it is the best so far, and returns the metrics.

        Each process asks its share of the questions, and all get the same score.
        """
        share = slice(trainer.global_rank, None, trainer.world_size)
        local = score_heldout(self._rollouts.engine, self._questions[share], self._prompts[share], self._max_new_tokens)
        agree_to_stop()  # a signal ends the questions, but not the collective calls that follow
        score = sum(gather_objects(local), HeldoutScore())
        best_before = self.history.best_step
        is_best = self.history.add(num_done, score.accuracy)
        log.debug("probe: %.3f after %d steps", score.accuracy, num_done)
        if is_best and self._keeps_best:
            needed = {best_before, *self._best_steps_of_newest, *self._best_steps_on_disk()}
            self._keep(num_done, needed, trainer.is_global_zero)
            self._best_steps.append(num_done)
        stopping.release()
        return score.metrics() | self.history.metrics()

    def _best_steps_on_disk(self) -> set[int]:
        """Returns the best step that each checkpoint on disk refers to: the last one before it."""
        earlier = (
            [step for step in self._best_steps if step < num_done] for num_done in steps_on_disk(self._checkpoints)
        )
        return {max(steps) for steps in earlier if steps}

    def _keep(self, num_done: int, needed: set[int], is_main: bool) -> None:
        """Saves the policy atomically, and removes the models that no checkpoint refers to.

        All processes save, since each may hold a part of the weights; the main one alone changes files.
        """
        temporary, kept = self._folder / "unfinished", self._model_after(num_done)
        if is_main:
            for folder in self._folder.glob("*"):
                if folder not in {self._model_after(step) for step in needed}:
                    shutil.rmtree(folder)
        self._rollouts.policy.save(temporary)
        if is_main:
            write_hashes(temporary)
            if kept.exists():  # left by a run that was killed after this step and repeats it
                shutil.rmtree(kept)
            temporary.replace(kept)


def _num_done(trainer: L.Trainer) -> int:
    """Returns the number of finished training steps, those before an interruption included."""
    return trainer.fit_loop.epoch_loop.batch_progress.current.completed


def heldout_questions(config: ProbeConfig, seed: int) -> list[Question]:
    """Returns the held-out questions in the order of their file: all, or a random sample of `num_questions`.

    Raises:
        InputError: When the file is absent or faulty.
    """
    questions = list(load_benchmark(Path(config.path)))
    if config.num_questions is None or config.num_questions >= len(questions):
        return questions
    indices = random.Random(derive_seed(seed, "probe")).sample(range(len(questions)), config.num_questions)
    return [questions[index] for index in sorted(indices)]


def remove_heldout(questions: Iterable[Question], heldout: Iterable[Question]) -> list[Question]:
    """Returns the questions that are not held out; ids and the order of options do not matter."""
    heldout_keys = {question.content_key for question in heldout}
    return [question for question in questions if question.content_key not in heldout_keys]


@dataclass(frozen=True, slots=True)
class HeldoutScore:
    """The score of a policy on the held-out questions, with one greedily decoded answer to each."""

    num_questions: int = 0
    num_right: int = 0
    num_invalid: int = 0

    def __add__(self, other: HeldoutScore) -> HeldoutScore:
        """Returns the score on the questions of both."""
        return HeldoutScore(
            self.num_questions + other.num_questions,
            self.num_right + other.num_right,
            self.num_invalid + other.num_invalid,
        )

    @property
    def accuracy(self) -> float:
        """The fraction of right answers."""
        return self.num_right / self.num_questions

    def metrics(self) -> dict[str, float]:
        """Returns the metrics of the score: the accuracy with its 95% interval, and the fraction of invalid answers."""
        interval = wilson_interval(self.num_right, self.num_questions)
        return {
            "val/probe/accuracy": self.accuracy,
            "val/probe/accuracy_low": interval.low,
            "val/probe/accuracy_high": interval.high,
            "val/probe/invalid_share": self.num_invalid / self.num_questions,
            "val/probe/num_questions": float(self.num_questions),
        }


def score_heldout(
    engine: RolloutEngine, questions: Sequence[Question], prompts: Sequence[list[int]], max_new_tokens: int
) -> HeldoutScore:
    """Returns the score of the policy that an engine generates with.

    Args:
        engine: Has the weights to evaluate.
        questions: Questions with answers; none for a process that has no share of them.
        prompts: The token ids of each question's prompt.
        max_new_tokens: The length at which answers are truncated.
    """
    greedy = Sampling(temperature=1.0, max_new_tokens=max_new_tokens, top_k=1, has_logps=False)
    answers = engine.generate(prompts, [[0]] * len(prompts), greedy) if prompts else []
    letters = [
        extract_choice(completion.text, question.options).letter
        for question, (completion,) in zip(questions, answers, strict=True)
    ]
    return HeldoutScore(
        len(questions),
        sum(letter == question.answer for letter, question in zip(letters, questions, strict=True)),
        letters.count(None),
    )


@dataclass(slots=True)
class HeldoutHistory:
    """The state of early stopping.

    Attributes:
        start: Accuracy before any training.
        best: The highest accuracy.
        best_step: Number of training steps after which it was first reached.
        num_since_best: Number of evaluations since then.
    """

    start: float | None = None
    best: float = -1.0
    best_step: int = 0
    num_since_best: int = 0

    def add(self, num_done: int, accuracy: float) -> bool:
        """Adds the accuracy after `num_done` training steps; returns whether it is the best so far."""
        if self.start is None:
            self.start = accuracy
        if accuracy <= self.best:
            self.num_since_best += 1
            return False
        self.best, self.best_step, self.num_since_best = accuracy, num_done, 0
        return True

    def is_exhausted(self, config: ProbeConfig, num_done: int) -> bool:
        """Returns whether training should stop: no new best for `patience` evaluations, and `min_steps` are done."""
        patience = config.patience
        return patience is not None and self.num_since_best >= patience and num_done >= config.min_steps

    def metrics(self) -> dict[str, Any]:
        """Returns the first and the best accuracy as metrics."""
        return {"val/probe/start_accuracy": self.start, "val/probe/best_accuracy": self.best}
