"""Writes the files of an export."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from medssr.config import ExportConfig
from medssr.exporting.common import SettingsReader, default_settings
from medssr.exporting.conversations import ExportedPrompts
from medssr.exporting.trl import trl_settings, write_trl_questions
from medssr.exporting.verl import verl_settings, write_verl_questions
from medssr.models.prompts import read_prompt_template
from medssr.questions import Question
from medssr.resources import RESOURCES
from medssr.utils.files import open_atomically, set_default_mode


def write_for_verl(folder: Path, questions: Sequence[Question], prompts: ExportedPrompts, config: ExportConfig) -> None:
    """Writes questions, reward, launch script and one settings file per name for verl."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, reader in _readers("verl", config).items():
        values = verl_settings(reader, prompts, config.stage, config.seed)
        head = f"# Run: verl_launch.sh {name} MODEL\n"
        _write_yaml(folder / f"{name}.yaml", head, {"defaults": ["ppo_trainer", "_self_"]} | values)
    write_verl_questions(folder / "questions.parquet", questions, prompts)
    _copy(folder, "verl_reward.py", "verl_launch.sh")


def write_for_trl(folder: Path, questions: Sequence[Question], prompts: ExportedPrompts, config: ExportConfig) -> None:
    """Writes questions, reward, training script and one settings file per name for TRL."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, reader in _readers("TRL", config).items():
        values = trl_settings(reader, prompts, config.stage, config.seed)
        head = f"# Run: python trl_train.py --config {name}.yaml --model_name_or_path MODEL --output_dir OUT\n"
        _write_yaml(folder / f"{name}.yaml", head, values)
    write_trl_questions(folder / "questions", questions, prompts)
    _copy(folder, "trl_reward.py", "trl_train.py")


def write_common(directory: Path, prompts: ExportedPrompts, config: ExportConfig) -> None:
    """Writes the tokenizer, the text of the prompt, and the README."""
    prompts.tokenizer.save_pretrained(directory / "tokenizer")
    with open_atomically(directory / "prompt.txt") as stream:
        stream.write(read_prompt_template(config.model.prompt_path) + "\n")
    _copy(directory, "README.md")


def _readers(framework: str, config: ExportConfig) -> dict[str, SettingsReader]:
    defaults = default_settings()
    return {
        name: SettingsReader(framework, f"settings.{name}", settings, defaults)
        for name, settings in config.settings.items()
    }


def _write_yaml(path: Path, head: str, values: Mapping[str, Any]) -> None:
    with open_atomically(path) as stream:
        stream.write(head)
        yaml.safe_dump(dict(values), stream, sort_keys=False)


def _copy(folder: Path, *names: str) -> None:
    for name in names:
        shutil.copy(RESOURCES / "export" / name, folder / name)
        set_default_mode(folder / name)
