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

PROMPTS = ExportedPrompts([[]] * 1024, None, 700, [7, 9], ())


FRAMEWORKS = pytest.mark.parametrize(("framework", "translate"), [("TRL", trl_settings), ("verl", verl_settings)])


@dataclass
class ExtendedGRPOConfig(GRPOConfig):
    """The schema of next month."""

    new_setting: float = 0.0


def extended(new_setting: float) -> ExportSettings:
    settings = deepcopy(defaults())
    values = {name: getattr(settings.grpo, name) for name in asdict(settings.grpo)}
    return replace(settings, grpo=ExtendedGRPOConfig(**values, new_setting=new_setting))


def changed(node: str, **values: float) -> ExportSettings:
    settings = deepcopy(defaults())
    {"loss": settings.grpo.loss, "optimizer": settings.optim.optimizer}[node].update(values)
    return settings


@FRAMEWORKS
@pytest.mark.parametrize(
    ("settings", "standard", "message"),
    [
        (extended(0.5), extended(0.0), r"grpo\.new_setting: FRAMEWORK has no counterpart of 0\.5; set it to 0\.0, or"),
        (changed("optimizer", eps=1e-6), defaults(), r"optim\.optimizer\.eps: .* 1e-06; leave it out"),
        (changed("loss", gamma=0.9), changed("loss", gamma=1.0), r"grpo\.loss\.gamma: .* of 0\.9; set it to 1\.0"),
    ],
    ids=["field", "argument", "parameter"],
)
def test_what_is_new_is_refused_once_it_differs(framework: str, translate: Callable, settings, standard, message: str):
    """A field of the schema, an argument that the default does not give, a parameter of a loss."""
    translate(SettingsReader(framework, "settings.mine", standard, standard), PROMPTS, "stage", 1)
    with pytest.raises(InputError, match=rf"settings\.mine\.{message.replace('FRAMEWORK', framework)}"):
        translate(SettingsReader(framework, "settings.mine", settings, standard), PROMPTS, "stage", 1)


@FRAMEWORKS
def test_stop_strings_of_the_model_are_refused(framework: str, translate: Callable):
    prompts = replace(PROMPTS, stop=("\nQuestion:",))
    reader = SettingsReader(framework, "settings.mine", defaults(), defaults())
    with pytest.raises(InputError, match=rf"model\.stop, .*: {framework} has no counterpart of .*Question"):
        translate(reader, prompts, "stage", 1)


def test_betas_are_translated_where_they_are_given():
    settings = deepcopy(defaults())
    settings.optim.optimizer["betas"] = [0.9, 0.98]
    reader = SettingsReader("TRL", "settings.mine", settings, defaults())
    assert trl_settings(reader, PROMPTS, "stage", 1)["adam_beta2"] == 0.98


@pytest.mark.slow
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
