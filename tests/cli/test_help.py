"""`--help` of every command: its groups with their options, and its settings as they are composed."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import yaml
from omegaconf import OmegaConf
from support.helpers import compose

from medssr.cli.entry import _composed_help
from medssr.cli.help_text import help_text, settings_in
from medssr.config import SCHEMAS
from medssr.config.catalog import as_choice, groups_of, options_of
from medssr.errors import InputError


def shown_settings(text: str) -> dict[str, str]:
    return dict(re.findall(r"^  ([\w.]+)=(.*?)(?:\s{2,}.*|(?<=\}) .*)?$", text.split("Main settings")[1], re.M))


@pytest.mark.slow
@pytest.mark.parametrize("root", sorted(SCHEMAS))
def test_help_shows_the_settings_as_they_are_composed(root):
    shown = shown_settings(help_text(root, has_plan=False).split("Further:")[0])
    config = compose(root)
    assert {"task_name"} < shown.keys()
    for key, value in shown.items():
        is_plain = "${" not in value and value != "???"
        if is_plain:
            found = OmegaConf.to_container(config, resolve=True, enum_to_str=True)
            for part in key.split("."):
                found = found[part]
            assert found == yaml.load(value, OmegaLoader), key


class OmegaLoader(yaml.SafeLoader):
    """YAML with 3.0e-4 as a number, as OmegaConf reads it."""


OmegaLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d[\d_]*(\.\d*)?([eE][-+]?\d+)?$"), list("-+0123456789.")
)


@pytest.mark.slow
@pytest.mark.parametrize("root", sorted(SCHEMAS))
def test_help_shows_the_groups_of_the_command_and_no_other(root):
    groups = re.findall(r"^  ([\w@./]+): ", help_text(root, has_plan=False).split("Main settings")[0], re.M)
    assert set(groups) <= set(groups_of(root))
    assert set(groups_of(root)) - set(groups) <= {"hydra", "local", "experiment", "debug", "hparams_search"}


def test_help_marks_defaults_and_lists_options():
    text = help_text("train", has_plan=True)
    assert text.startswith("medssr-train: one stage of GRPO")
    assert "  grpo: default*, large, parity\n" in text
    assert "  lora: default\n" in text
    options = ", ".join(f"{name}*" if name == "tiny_qwen3" else name for name in options_of("model"))
    assert f"  model: {options}\n" in text
    assert re.search(r"^  grpo\.num_generations=8 +Completions per question \(G\), at least 2$", text, re.M)
    assert re.search(r"^  grpo\.num_steps=150 +Optimiser steps of the stage$", text, re.M)
    assert "--info" in text
    assert "--info" not in help_text("evaluate", has_plan=False)
    assert "experiment: m1, medreason, tiny_llama, tiny_qwen3" in help_text("sft", has_plan=False)


def test_settings_of_blocks_have_full_keys():
    keys = [setting.key for setting in settings_in("optim/default.yaml")]
    assert keys == ["optimizer.lr", "optimizer.weight_decay", "optimizer.fused", "scheduler.num_warmup_steps"]


@pytest.mark.slow
def test_help_loads_no_torch():
    program = (
        "import sys; sys.argv = ['medssr-train', '--help']; from medssr.commands.train import main; main(); "
        "print(sorted({'torch', 'transformers', 'lightning', 'numpy'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def shown(root: str, *arguments: str) -> dict[str, str]:
    return shown_settings(
        help_text(root, True, _composed_help(root, [as_choice(word) for word in arguments])).split("Further:")[0]
    )


@pytest.mark.slow
def test_help_shows_what_the_command_line_composes():
    settings = shown("train", "grpo/loss=gspo", "grpo.beta=0.3", "--help")
    assert (settings["grpo.loss.epsilon"], settings["grpo.beta"]) == ("0.0003", "0.3")
    assert shown("train", "--help")["grpo.loss.epsilon"] == "0.2"
    assert "grpo.loss.temperature_positive" in shown("train", "grpo.loss=sapo")
    marked = help_text("train", True, _composed_help("train", ["grpo/loss=gspo"]))
    assert re.search(r"^  grpo/loss: .*\bgspo\*", marked, re.M)
    assert "dapo*" not in marked


@pytest.mark.slow
def test_help_of_a_preset_and_of_another_group_shows_their_settings():
    assert shown("train", "grpo=large")["grpo.num_steps"] == str(compose("train", "grpo=large").grpo.num_steps)
    assert "generator.max_concurrency" in shown("synthesize", "generator=openai")
    assert "generator.max_concurrency" not in shown("synthesize")


def test_help_of_a_wrong_choice_says_so():
    with pytest.raises(InputError, match="grpo/loss=nope: there is no such option"):
        _composed_help("train", ["grpo/loss=nope"])
