"""Stages of medssr-train on toy questions: a random policy, its artefact, and what was logged."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

from support.helpers import random_policy, toy_question, typed

from medssr.commands.train import train
from medssr.manifests import Artifact
from medssr.questions import write_questions


class ToyStage:
    """Trains a random policy on toy questions, each time in a folder of its own below `folder`.

    Args:
        folder: Holds the policy as `model` and the questions as `questions.jsonl`.
        num_questions: The number of questions.
        overrides: The settings of every training.
        rollout: The class of its engine.
    """

    def __init__(self, folder: Path, num_questions: int, *overrides: str, rollout: str) -> None:
        random_policy("qwen3").save(folder / "model")
        write_questions(folder / "questions.jsonl", [toy_question(number) for number in range(num_questions)])
        self.folder, self._rollout = folder, rollout
        self._overrides = [
            f"model.path={folder}/model",
            f"data.path={folder}/questions.jsonl",
            *("extras.progress_bar=false", "extras.num_threads=1", "trainer=cpu", "logger=csv"),
            *overrides,
        ]

    def __call__(
        self, name: str, *overrides: str, reward: dict[str, Any] | None = None, **engine_arguments: Any
    ) -> Artifact:
        """Trains in the folder of a name, with further overrides, and returns the artefact."""
        config = typed("train", f"paths.root_dir={self.folder / name}", *self._overrides, *overrides)
        config = replace(config, rollout={"_target_": self._rollout} | engine_arguments)
        return train(config if reward is None else replace(config, reward=reward))


def stop_before(step: int) -> str:
    """An override with which a run ends before a step with `ConnectionAbortedError`."""
    return f"+callbacks.stop={{_target_: support.planned_engine.StopBefore, step: {step}}}"


def rows(artifact: Artifact) -> list[dict[str, str]]:
    """The rows of metrics.csv."""
    with artifact.path("metrics.csv").open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def column(artifact: Artifact, name: str) -> list[float | None]:
    """A metric by step, None where it was not logged."""
    return [float(row[name]) if row[name] else None for row in rows(artifact)]


def weights(folder: Path) -> bytes:
    """The weights of a model."""
    return (folder / "model.safetensors").read_bytes()
