"""`medssr.compose`: the configuration of a command line, and nothing of the program around it changed."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import hydra
import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from support.commands import run_program

import medssr
from medssr.api.composing import given_settings
from medssr.cli.entry import composed

TRAIN = ["data.path=questions.jsonl", "grpo.num_steps=3", "grpo.loss=gspo", "stage=second"]


@pytest.mark.slow
def test_it_is_the_configuration_of_the_command_line():
    config = medssr.compose("train", TRAIN)
    assert config == composed("train", TRAIN)
    assert (config.grpo.num_steps, config.stage) == (3, "second")
    assert config.grpo.loss["_target_"].endswith(".GSPO")


@pytest.mark.slow
def test_folders_of_runs_are_words_of_compare(tmp_path):
    config = medssr.compose("compare", [str(tmp_path), "baseline=model=tiny_llama,seed=1"])
    assert (config.runs, config.baseline) == ([str(tmp_path)], "model=tiny_llama,seed=1")


@pytest.mark.slow
def test_a_further_folder_of_options_is_searched(tmp_path):
    (tmp_path / "probe").mkdir()
    (tmp_path / "optim").mkdir()
    (tmp_path / "optim" / "mine.yaml").write_text("defaults: [default, _self_]\noptimizer: {lr: 0.5}\n")
    assert medssr.compose("train", [*TRAIN, "optim=mine"], config_dir=tmp_path).optim.optimizer["lr"] == 0.5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "overrides", "message"),
    [
        ("trian", [], r"no command 'trian'.* Did you mean train"),
        ("train", [], r"data\.path: has no default"),
        ("train", ["modle=tiny"], "no such setting. Did you mean model"),
        ("train", [*TRAIN, "grpo.num_steps=0"], "grpo.num_steps"),
        ("train", [*TRAIN, "seed=1,2"], "several values"),
        ("train", ["-m", *TRAIN], "-m is a flag"),
        ("train", "seed=1", "give a list"),
        ("evaluate", ["run=nowhere"], "there is no such folder"),
    ],
)
def test_faults_are_input_errors(command, overrides, message):
    with pytest.raises(medssr.InputError, match=message):
        medssr.compose(command, overrides)


@pytest.mark.slow
def test_hydra_of_the_program_around_it_is_left_alone(tmp_path):
    """A program with a configuration, a schema and a resolver of the same names as medssr's keeps its own."""
    (tmp_path / "train.yaml").write_text("place: ${absolute:here}\n")
    had_resolver = OmegaConf.has_resolver("absolute")
    OmegaConf.register_new_resolver("absolute", lambda text: f"mine: {text}", replace=True)
    store = ConfigStore.instance()
    store.store(name="train_schema", node={"mine": 1})
    schemas = dict(store.repo)
    try:
        with hydra.initialize_config_dir(str(tmp_path), version_base="1.3"):
            around = GlobalHydra.instance().hydra
            assert medssr.compose("train", TRAIN).data.path == "questions.jsonl"
            assert GlobalHydra.instance().hydra is around
            assert hydra.compose("train").place == "mine: here"
        assert not GlobalHydra.instance().is_initialized()
        assert store.repo == schemas
    finally:
        OmegaConf.clear_resolver("absolute")
        assert had_resolver or not OmegaConf.has_resolver("absolute")


@pytest.mark.slow
def test_what_was_given_is_remembered_with_what_was_changed():
    config = medssr.compose("train", TRAIN)
    assert given_settings(config) == ("train", TRAIN)
    changed = replace(config, seed=7, grpo=replace(config.grpo, num_steps=5, tis_cap=3.0), stage="a b: c")
    command, overrides = given_settings(changed)
    assert command == "train"
    assert sorted(overrides) == sorted(
        [TRAIN[0], TRAIN[2], "seed=7", "grpo.num_steps=5", "grpo.tis_cap=3.0", "stage=a b: c"]
    )
    assert asdict(medssr.compose("train", overrides)) == asdict(changed)


@pytest.mark.slow
def test_the_remembered_command_gives_a_list_of_mappings_that_was_changed():
    config = medssr.compose("pipeline", ["debug=quick"])
    changed = replace(config, stages=[replace(stage, settings={"num_steps": 3}) for stage in config.stages])
    command, overrides = given_settings(changed)
    assert asdict(medssr.compose(command, overrides)) == asdict(changed)


@pytest.mark.slow
def test_a_setting_that_was_added_is_added_with_its_new_value():
    config = medssr.compose("train", [*TRAIN, "+reward.even._target_=my.Reward", "+reward.even.weight=1.0"])
    even = config.reward["even"] | {"weight": 2.0}
    changed = replace(config, reward=config.reward | {"even": even})
    command, overrides = given_settings(changed)
    assert overrides[-1] == "++reward.even.weight=2.0"
    assert asdict(medssr.compose(command, overrides)) == asdict(changed)


@pytest.mark.slow
@pytest.mark.parametrize("text", ["null", "1e3", "it's", "~/x", "C:\\"])
def test_a_text_that_looks_like_something_else_stays_a_text(text):
    config = medssr.compose("evaluate")
    changed = replace(config, model=replace(config.model, revision=text))
    command, overrides = given_settings(changed)
    assert medssr.compose(command, overrides).model.revision == text


@pytest.mark.slow
def test_what_no_command_line_composes_has_none():
    config = medssr.compose("train", TRAIN)
    own_reward = {"mine": {"_target_": "my.Reward", "weight": 1.0}}
    assert given_settings(replace(config, reward=own_reward)) == (None, [])
    assert given_settings(composed("train", TRAIN)) == (None, [])
    assert given_settings(replace(config, stage="two\nlines")) == (None, [])


def test_the_import_is_light_and_names_what_there_is():
    program = "import sys, medssr; print(sorted({'torch', 'hydra', 'pandas', 'numpy'} & set(sys.modules)), dir(medssr))"
    printed = run_program(program, Path(__file__).parents[2])
    assert printed.startswith("[]")
    assert all(f"'{name}'" in printed for name in medssr.__all__)
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = medssr.trian
    assert all(getattr(medssr, name).__doc__ for name in medssr.__all__)
