"""docs/metrics.md has every metric that is logged, and none that is not."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from pathlib import Path

import pytest
from support.helpers import random_policy, toy_question, typed

from medssr.commands.train import train
from medssr.config.groups import GPU
from medssr.manifests import Artifact
from medssr.models.hardware import published, write_hardware
from medssr.questions import write_questions

DOC = Path(__file__).parents[1] / "docs" / "metrics.md"


def documented() -> list[str]:
    """The names in the first column of all tables, but for what W&B alone has: tests/tracking are about that."""
    in_file = DOC.read_text(encoding="utf-8").split("## Weights & Biases only")[0]
    cells = re.findall(r"^\| (`.*?`) \|", in_file, re.M)
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def pattern(name: str) -> str:
    return re.sub(r"<\w+>", "[^/]+", name)


@pytest.fixture(scope="module")
def logged(tmp_path_factory) -> set[str]:
    """All metrics of a stage in which something of everything happens."""
    folder = tmp_path_factory.mktemp("metrics")
    random_policy("qwen3").save(folder / "model")
    questions = [toy_question(number, provenance={"truth": "B"}) for number in range(3)]
    write_questions(folder / "questions.jsonl", questions)
    write_questions(folder / "probe.jsonl", [toy_question(9)])
    config = typed(
        "train",
        f"paths.root_dir={folder}",
        f"model.path={folder}/model",
        f"data.path={folder}/questions.jsonl",
        "extras.progress_bar=false",
        "extras.num_threads=1",
        "logger=csv",
        "trainer=cpu",
        "probe=file",
        f"probe.path={folder}/probe.jsonl",
        "grpo.num_steps=2",
        "grpo.num_prompts_per_step=2",
        *("grpo/teacher=moving_average", "grpo/distillation=gated", "grpo.distillation.min_reward=null"),
    )
    rewards = {
        "label": {"_target_": "medssr.rewards.label_match.LabelMatch", "weight": 1.0},
        "mine": {"_target_": "support.user_rewards.FailsForLetters", "weight": 1.0, "letters": "B"},
    }
    made = train(replace(config, rollout={"_target_": "support.helpers.MixedEngine"}, reward=rewards))
    # The time of a step can be predicted once the device was measured, and without a teacher.
    write_hardware(replace(published(GPU.H100), name="cpu", is_gpu=False), Path(config.paths.artifact_dir))
    selection = {"_target_": "support.user_rewards.KeepsFirst"}
    grpo = replace(config.grpo, teacher=None, distillation=None, selection=selection)
    predicted = train(replace(config, stage="predicted", probe=None, grpo=grpo))
    return columns(made) | columns(predicted)


def columns(made: Artifact) -> set[str]:
    with made.path("metrics.csv").open(encoding="utf-8") as stream:
        return set(next(csv.reader(stream))) - {"step"}


@pytest.mark.slow
def test_what_is_logged_is_explained(logged):
    names = documented()
    assert [name for name in sorted(logged) if not any(re.fullmatch(pattern(known), name) for known in names)] == []


@pytest.mark.slow
def test_what_is_explained_is_logged(logged):
    assert [name for name in documented() if not any(re.fullmatch(pattern(name), found) for found in logged)] == []


@pytest.mark.slow
def test_no_metric_is_explained_twice():
    assert len(documented()) == len(set(documented()))
