"""Every command that the pages show can be composed, and the reward that they show is trained with."""

from __future__ import annotations

import csv

import pytest
from hydra import compose, initialize_config_dir
from support.command_lines import PAGES, ROOT, code_blocks, page_commands, split_command
from support.commands import run
from support.helpers import toy_question

from medssr.config import register
from medssr.questions import write_questions


def test_the_pages_show_commands_and_have_no_place_left_open():
    assert len(page_commands()) >= 8
    assert [page.name for page in PAGES if "@@" in page.read_text(encoding="utf-8")] == []


@pytest.mark.slow
@pytest.mark.parametrize("command", page_commands())
def test_a_shown_command_composes(command: str):
    root, overrides = split_command(command)
    if "hydra/launcher=slurm" in overrides:
        pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="pip install --editable '.[slurm]'")
    register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        compose(root, overrides)


SHORT = [
    *("grpo.num_steps=2", "grpo.num_prompts_per_step=2", "grpo.num_generations=4", "grpo.max_new_tokens=40"),
    *("trainer=cpu", "logger=csv", "extras.progress_bar=false"),
]


@pytest.mark.slow
def test_the_shown_reward_is_trained_with(tmp_path):
    (source,) = code_blocks(ROOT / "docs" / "rewards.md", "python")
    (command,) = [line for line in page_commands() if "reward.mine" in line and line.startswith("medssr-train")]
    (tmp_path / "my_module.py").write_text(source)
    write_questions(tmp_path / "Q", [toy_question(number) for number in range(3)])
    command_name, overrides = split_command(command)
    python_path = f"{tmp_path}:{ROOT}"
    run(command_name, *overrides, *SHORT, folder=tmp_path, env={"PYTHONPATH": python_path})
    (file,) = tmp_path.glob("artifacts/train/*/metrics.csv")
    with file.open() as stream:
        rewards = [float(row["train/reward/mine"]) for row in csv.DictReader(stream)]
    assert len(rewards) == 2
    assert all(0 < reward < 1 for reward in rewards)  # most answers of the tiny policy are readable
    (manifest,) = tmp_path.glob("artifacts/train/*/manifest.json")
    assert "reward.mine._target_" in manifest.read_text()
