"""The stages of a pipeline as configuration: their settings, and the configuration of the step that each becomes."""

from dataclasses import fields

import pytest
from omegaconf.errors import OmegaConfBaseException
from support.helpers import typed

from medssr.config import (
    EvaluateConfig,
    GRPOConfig,
    ScaleRewards,
    StageConfig,
    StageQuestions,
    TrainConfig,
    TrainDataConfig,
    subconfig,
    with_settings,
)
from medssr.errors import InputError


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ("{name: a, questions: human}, {name: a, questions: human}", "stages"),
        ("{name: base, questions: human}", "stages"),
        ("{name: a, questions: human, settings: {num_step: 3}}", "num_step"),
    ],
)
def test_stages_with_a_name_twice_or_a_wrong_setting_are_refused(stages, message):
    with pytest.raises((InputError, OmegaConfBaseException), match=message):
        typed("pipeline", f"stages=[{stages}]")


@pytest.mark.slow
def test_stages_are_a_matter_of_configuration():
    stages = "[{name: only, questions: mixed, settings: {num_steps: 5, scale_rewards: none}}]"
    (stage,) = typed("pipeline", f"stages={stages}").stages
    assert (stage.name, stage.questions) == ("only", StageQuestions.mixed)


def stage(settings):
    return StageConfig("one", StageQuestions.human, settings=settings)


def test_stage_overrides_change_their_fields_alone():
    base = typed("train").grpo
    changed = with_settings(base, stage({"num_steps": 5, "scale_rewards": "none"}), "grpo")
    assert isinstance(changed, GRPOConfig)
    assert (changed.num_steps, changed.scale_rewards) == (5, ScaleRewards.none)
    rest = [field.name for field in fields(GRPOConfig) if field.name not in ("num_steps", "scale_rewards")]
    assert [getattr(changed, name) for name in rest] == [getattr(base, name) for name in rest]
    assert with_settings(base, stage({}), "grpo") == base


def test_a_stage_takes_another_loss_with_its_own_parameters():
    base = typed("train").grpo
    loss = {"_target_": "medssr.grpo.losses.CISPO", "epsilon": 0.5, "epsilon_high": 0.3}
    assert with_settings(base, stage({"loss": loss}), "grpo").loss == loss
    assert with_settings(base, stage({"loss": {"epsilon": 0.1}}), "grpo").loss == base.loss | {"epsilon": 0.1}


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        ({"num_step": 3}, ["stages", "grpo.num_step"]),
        ({"num_steps": "many"}, ["stages", "grpo.num_steps", "many"]),
        ({"num_generations": 1}, ["grpo.num_generations"]),
    ],
)
def test_a_wrong_stage_override_is_an_input_error(overrides, parts):
    with pytest.raises(InputError) as caught:
        with_settings(typed("train").grpo, stage(overrides), "grpo")
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.slow
def test_a_step_of_the_pipeline_has_its_configuration():
    config = typed("pipeline", "seed=7", "grpo.num_steps=11")
    data = TrainDataConfig("questions.jsonl", rewards=None, further={})
    train = subconfig(config, TrainConfig, task_name="train", stage="a", ckpt_path="auto", data=data)
    assert (train.seed, train.grpo.num_steps, train.task_name, train.stage) == (7, 11, "train", "a")
    assert train.model == config.model
    evaluate = subconfig(config, EvaluateConfig, task_name="evaluate", run=None)
    assert evaluate.benchmark == config.benchmark
    with pytest.raises(AttributeError):
        subconfig(config, TrainConfig, task_name="train")  # a field that neither has
