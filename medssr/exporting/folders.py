"""Writes the files of an export."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from medssr.benchmarks.suite import Suite
from medssr.config import ExportConfig, ModelConfig, ProtocolConfig
from medssr.exporting.asked_questions import ask_questions, write_asked
from medssr.exporting.common import SettingsReader, default_settings
from medssr.exporting.conversations import ExportedPrompts
from medssr.exporting.trl import trl_settings, write_trl_questions
from medssr.exporting.verl import verl_settings, write_verl_questions
from medssr.models.prompts import read_prompt_template
from medssr.questions import Question
from medssr.resources import RESOURCES
from medssr.utils.files import open_atomically, set_default_mode
from medssr.utils.naming import safe_name

_EXPORT_FILES = RESOURCES / "export"
# The name under which verifiers finds the environment.
_VERIFIERS_PACKAGE = "medssr_questions"


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


def write_for_inspect(folder: Path, suite: Suite, protocol: ProtocolConfig, model: ModelConfig) -> None:
    """Writes benchmarks as a task of inspect-ai, with the tokenizer for the server that answers."""
    asked = ask_questions(suite, protocol, model, "inspect-ai")
    write_asked(folder, suite, asked)
    asked.tokenizer.save_pretrained(folder / "tokenizer")
    _copy(folder, "inspect_tasks.py")
    readme = (_EXPORT_FILES / "inspect_README.md").read_text(encoding="utf-8")
    with open_atomically(folder / "README.md") as stream:
        stream.write(readme.replace("{benchmark}", safe_name(next(iter(suite.benchmarks)))))


def write_for_verifiers(folder: Path, suite: Suite, protocol: ProtocolConfig, model: ModelConfig) -> None:
    """Writes questions as an environment of verifiers that pip installs, with the tokenizer for the server."""
    asked = ask_questions(suite, protocol, model, "verifiers")
    package = folder / _VERIFIERS_PACKAGE
    write_asked(package, suite, asked)
    asked.tokenizer.save_pretrained(folder / "tokenizer")
    copies = {
        "verifiers_env.py": package / "__init__.py",
        "verifiers_pyproject.toml": folder / "pyproject.toml",
        "verifiers_README.md": folder / "README.md",
    }
    for name, target in copies.items():
        shutil.copy(_EXPORT_FILES / name, target)
        set_default_mode(target)
    with open_atomically(folder / "sampling.toml") as stream:
        stream.write(_sampling_toml(asked.settings))


def _sampling_toml(settings: Mapping[str, Any]) -> str:
    """Returns the sampling of a protocol for verifiers; strings of JSON are strings of TOML."""
    sampling = {name: settings[name] for name in ("temperature", "top_p", "max_tokens")}
    sampling |= {name: settings[name] for name in ("top_k", "stop") if settings[name]}
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in sampling.items()]
    return "\n".join([f"num_rollouts = {settings['num_samples']}", "", "[sampling]", *lines]) + "\n"


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
        shutil.copy(_EXPORT_FILES / name, folder / name)
        set_default_mode(folder / name)
