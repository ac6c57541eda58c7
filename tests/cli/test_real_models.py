"""Presets of real models bring what real models need, with every command and without further groups."""

from __future__ import annotations

import re
from typing import Any

import pytest
from support.command_lines import page_commands, preset_commands, split_command
from support.helpers import compose, typed

from medssr.cli.entry import composed
from medssr.commands.info import memory_needed, pipeline_plan, train_plan
from medssr.config import PipelineConfig, ProtocolKind, TrainConfig
from medssr.config.arrangements import samples_with_trained_model
from medssr.config.catalog import CONF_DIR, options_of
from medssr.config.steps import asks_pseudo_labelled
from medssr.config.trainer import devices_of, shards_models
from medssr.errors import InputError

REAL = sorted(name for name in options_of("model") if not name.startswith("tiny_"))
TINY = sorted(name for name in options_of("model") if name.startswith("tiny_"))
# Answers with reasoning take some hundred tokens; at this length few are cut off.
MIN_TOKENS = 1024


@pytest.mark.slow
@pytest.mark.parametrize("model", REAL)
def test_a_real_model_alone_gives_long_answers(model):
    choice = f"model={model}"
    assert typed("evaluate", choice).protocol.max_new_tokens == 2048
    assert typed("pseudo_label", choice).labeling.max_new_tokens == 2048
    assert typed("train", choice).grpo.max_new_tokens == 2048
    pipeline = typed("pipeline", choice)
    assert {pipeline.labeling.max_new_tokens, pipeline.grpo.max_new_tokens, pipeline.protocol.max_new_tokens} == {2048}
    export = typed("export", choice)
    assert {settings.grpo.max_new_tokens for settings in export.settings.values()} == {2048}
    assert pipeline.model.prompt_path == pipeline.protocol.prompt_path
    assert pipeline.model.prompt_path.endswith("reason_v1.txt")
    assert pipeline.model.stop_without_template == ["\nQuestion:", "\nQ:"]


@pytest.mark.slow
@pytest.mark.parametrize("model", TINY)
def test_a_tiny_model_gives_short_answers(model):
    pipeline = typed("pipeline", f"model={model}")
    assert {pipeline.labeling.max_new_tokens, pipeline.grpo.max_new_tokens, pipeline.protocol.max_new_tokens} == {64}


@pytest.mark.slow
def test_an_explicit_length_wins():
    config = typed("pipeline", "labeling.max_new_tokens=100", "model=qwen3_8b_base", "protocol.max_new_tokens=200")
    assert (config.labeling.max_new_tokens, config.protocol.max_new_tokens) == (100, 200)
    assert config.grpo.max_new_tokens == 2048
    config = typed("pipeline", "model.max_new_tokens=4096", "labeling=long", "grpo=large", "model=local")
    assert (config.labeling.max_new_tokens, config.grpo.max_new_tokens, config.protocol.max_new_tokens) == (4096,) * 3
    assert typed("evaluate", "model=qwen3_8b_base", "protocol=few_shot").protocol.max_new_tokens == 64


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "rate", "beta"),
    [
        ([], 3e-4, 0.02),
        (["model=local"], 1e-6, 0.001),
        (["model=qwen3_8b_base", "grpo=large", "optim=large"], 1e-6, 0.001),
        (["model=qwen3_8b_base", "lora=default"], 1e-5, 0.001),
        (["model=qwen3_8b_base", "model.grpo_lr=2e-6", "optim=large", "grpo.beta=0"], 2e-6, 0.0),
    ],
)
def test_training_takes_the_learning_rate_that_suits_the_model(overrides, rate, beta):
    config = compose("train", *overrides)
    assert config.optim.optimizer.lr == rate
    assert config.grpo.beta == beta


@pytest.mark.slow
@pytest.mark.parametrize("name", ["stop", "stop_without_template"])
def test_escapes_in_stop_strings_are_line_breaks_and_tabs_on_the_command_line(name):
    config = typed("evaluate", rf'model.{name}=["\n","\nQ:\t","\boxed","a b"]')
    assert getattr(config.model, name) == ["\n", "\nQ:\t", "\\boxed", "a b"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "override",
    [
        "model.max_new_tokens=0",
        "model.grpo_lr=0",
        "model.grpo_beta=-1",
        'model.stop=[""]',
        'model.stop_without_template=["x",""]',
    ],
)
def test_a_setting_out_of_range_is_refused(override):
    with pytest.raises(InputError, match=override.split("=")[0].replace(".", r"\.")):
        typed("evaluate", override)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["model.chat_template_kwargs={enable_thinking:false}"], {"enable_thinking": False}),
        (["model.chat_template_kwargs.enable_thinking=false"], {"enable_thinking": False}),
        (["+model.chat_template_kwargs.enable_thinking=false"], {"enable_thinking": False}),
        (["model=llama32_3b_instruct", "model.chat_template_kwargs.date_string=today"], {"date_string": "today"}),
        (
            ["model=llama32_3b_instruct", "model.chat_template_kwargs={tools_in_user_message:false}"],
            {"date_string": "26 Jul 2024", "tools_in_user_message": False},
        ),
    ],
)
def test_variables_of_the_template_are_given_on_the_command_line(overrides, expected):
    assert composed("evaluate", overrides).model.chat_template_kwargs == expected


@pytest.mark.slow
def test_the_presets_of_llama_fix_their_date():
    for model in REAL:
        expected = {"date_string": "26 Jul 2024"} if model.startswith("llama3") else {}
        assert typed("evaluate", f"model={model}").model.chat_template_kwargs == expected


def real_commands() -> list[str]:
    """The command lines of pages and presets that run a real model."""
    commands = {*page_commands(), *(command for _, command in preset_commands())}
    is_real = re.compile(rf" (model=({'|'.join(REAL)}|\.\.\.)|scale=paper)\b")
    return sorted(command for command in commands if is_real.search(command))


def test_there_are_commands_for_real_models():
    assert len(real_commands()) >= 30


def stated_gpus(config: Any) -> tuple[int, float]:
    """The number of GPUs and the bytes of each that the model's preset states for a training like this one."""
    for_all, _, for_adapters = config.model.cost.gpus.partition("with lora=default")
    stated = for_adapters if config.lora is not None else for_all
    number, size = re.search(r"(\d+|one)\b", stated), re.search(r"(\d+) GB", stated) or re.search(r"(\d+) GB", for_all)
    assert size is not None, stated
    return 1 if number is None or number[1] == "one" else int(number[1]), 1e9 * int(size[1])


def is_of_a_paper(overrides: list[str]) -> bool:
    """Whether a command takes the settings of a paper, which its preset names."""
    names = [item.removeprefix("experiment=") for item in overrides if item.startswith("experiment=")]
    return any("# Paper: " in (CONF_DIR / "experiment" / f"{name}.yaml").read_text() for name in names)


@pytest.mark.slow
@pytest.mark.parametrize("command", real_commands())
def test_a_command_for_a_real_model_is_sensible(command):
    """Its answers are not cut off, its learning rate is that of a real model, and it fits the GPUs that are stated."""
    root, overrides = split_command(command)
    if "hydra/launcher=slurm" in overrides:
        pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="pip install --editable '.[slurm]'")
    overrides = [item for item in overrides if item not in ("model=...", "data.path=...")]
    config = typed(root, *overrides)
    if config.model.path.rpartition("/")[2].startswith("tiny_"):
        pytest.skip("a sweep over models begins with a tiny one")
    for group in ("labeling", "grpo"):
        assert not hasattr(config, group) or getattr(config, group).max_new_tokens >= MIN_TOKENS
    protocol = getattr(config, "protocol", None)
    if protocol is not None and protocol.kind is ProtocolKind.generate and "reason" in protocol.prompt_path:
        assert protocol.max_new_tokens >= MIN_TOKENS
    if isinstance(config, PipelineConfig) and asks_pseudo_labelled(config):
        assert config.labeling.max_agreement < 1
    if isinstance(config, TrainConfig | PipelineConfig):
        assert config.optim.optimizer["lr"] <= 1e-5
        assert config.lora is None or config.optim.optimizer["lr"] == 1e-5
        assert config.grpo.beta <= 0.005 or is_of_a_paper(overrides)
        assert not samples_with_trained_model(config.rollout), "transformers is too slow for long completions"
        check_memory(root, overrides, config)


def check_memory(root: str, overrides: list[str], config: Any) -> None:
    """Checks the memory that `--info` shows against the GPUs that the model's preset states."""
    if config.model.cost is None:  # a model of the user's own
        return
    number, size = stated_gpus(config)
    if shards_models(config.trainer) and devices_of(config.trainer) is None:  # all that there are
        config = typed(root, *overrides, f"trainer.devices={number}")
    rows = dict((train_plan if root == "train" else pipeline_plan)(config))
    assert "memory, computed" in rows
    needed = memory_needed(config)
    assert needed is not None
    assert needed < size, rows
    assert len(devices_of(config.trainer) or range(number)) <= number
