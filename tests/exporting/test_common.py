"""What an exporter does not read is refused, without a list of what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pytest
from support.exports import defaults

from medssr.cli.entry import composed
from medssr.config import ExportSettings, GRPOConfig
from medssr.config.catalog import CONF_DIR
from medssr.errors import InputError
from medssr.exporting.common import SettingsReader, default_settings
from medssr.exporting.conversations import ExportedPrompts
from medssr.exporting.trl import trl_settings
from medssr.exporting.verl import verl_settings

PROMPTS = ExportedPrompts([[]] * 1024, None, 700, [7, 9])


@dataclass
class ExtendedGRPOConfig(GRPOConfig):
    """The schema of next month."""

    new_setting: float = 0.0


def extended(new_setting: float) -> ExportSettings:
    settings = deepcopy(defaults())
    values = {name: getattr(settings.grpo, name) for name in asdict(settings.grpo)}
    return replace(settings, grpo=ExtendedGRPOConfig(**values, new_setting=new_setting))


@pytest.mark.parametrize(("framework", "translate"), [("TRL", trl_settings), ("verl", verl_settings)])
def test_a_field_new_in_the_schema_is_refused_once_it_differs(framework: str, translate: Callable[..., object]):
    translate(SettingsReader(framework, "settings.mine", extended(0.0), extended(0.0)), PROMPTS, "stage", 1)
    message = rf"settings\.mine\.grpo\.new_setting: {framework} has no counterpart of 0\.5; set it to 0\.0, or leave"
    with pytest.raises(InputError, match=message):
        translate(SettingsReader(framework, "settings.mine", extended(0.5), extended(0.0)), PROMPTS, "stage", 1)


@pytest.mark.parametrize(("framework", "translate"), [("TRL", trl_settings), ("verl", verl_settings)])
def test_an_argument_that_the_default_does_not_give_is_refused(framework: str, translate: Callable[..., object]):
    settings = deepcopy(defaults())
    settings.optim.optimizer["eps"] = 1e-6
    with pytest.raises(InputError, match=r"settings\.mine\.optim\.optimizer\.eps: .* 1e-06; leave it out"):
        translate(SettingsReader(framework, "settings.mine", settings, defaults()), PROMPTS, "stage", 1)


@pytest.mark.parametrize(("framework", "translate"), [("TRL", trl_settings), ("verl", verl_settings)])
def test_a_parameter_new_in_a_loss_is_refused_once_it_differs(framework: str, translate: Callable[..., object]):
    settings, extended_defaults = deepcopy(defaults()), deepcopy(defaults())
    settings.grpo.loss["gamma"], extended_defaults.grpo.loss["gamma"] = 0.9, 1.0
    with pytest.raises(InputError, match=r"settings\.mine\.grpo\.loss\.gamma: .* of 0\.9; set it to 1\.0"):
        translate(SettingsReader(framework, "settings.mine", settings, extended_defaults), PROMPTS, "stage", 1)


def test_betas_are_translated_where_they_are_given():
    settings = deepcopy(defaults())
    settings.optim.optimizer["betas"] = [0.9, 0.98]
    reader = SettingsReader("TRL", "settings.mine", settings, defaults())
    assert trl_settings(reader, PROMPTS, "stage", 1)["adam_beta2"] == 0.98


def test_what_a_user_has_set_in_local_is_no_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    shutil.copytree(CONF_DIR, tmp_path / "conf")
    (tmp_path / "conf" / "local").mkdir(exist_ok=True)
    local = "# @package _global_\nsettings:\n  recommended:\n    grpo:\n      dynamic_sampling_rounds: 2\n"
    (tmp_path / "conf" / "local" / "default.yaml").write_text(local)
    monkeypatch.setattr("medssr.exporting.common.CONF_DIR", tmp_path / "conf")
    monkeypatch.setattr("medssr.cli.entry.CONF_DIR", tmp_path / "conf")
    config = composed("export", ["data.path=unused", "model.path=unused"])
    assert config.settings["recommended"].grpo.dynamic_sampling_rounds == 2
    assert default_settings().grpo.dynamic_sampling_rounds == 0
