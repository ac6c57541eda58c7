"""Jobs are composed to the configurations that Hydra composes, and the files are read once."""

from __future__ import annotations

import pickle

import hydra
import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import OmegaConf

from medssr.config import register
from medssr.config.catalog import CONF_DIR
from medssr.sweeps.composing import JobLoader

JOBS = [
    ["seed=1"],
    ["optim=sft", "seed=2", "optim.lr=1e-3", "~reward.format"],
    ["+reward.longer={_target_: a.B, weight: 2}", "++new.key=[1,2]"],
    ["hydra.job.chdir=true", "seed=4", "study=a-${seed}"],
    ["logger={csv: null}"],
]


@pytest.fixture(scope="module")
def loader():
    register("train")
    with hydra.initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        yield GlobalHydra.instance().hydra.config_loader


def composed(loader: ConfigLoaderImpl, overrides: list[str]) -> str | tuple[type, str]:
    try:
        config = loader.load_configuration("train", overrides, RunMode.RUN)
    except HydraException as error:
        return type(error), str(error)
    return OmegaConf.to_yaml(config)


@pytest.mark.slow
def test_each_job_is_what_hydra_composes(loader):
    jobs = JobLoader(loader)
    for overrides in JOBS:
        expected = composed(loader, overrides)
        assert composed(jobs, overrides) == expected
        assert composed(jobs, overrides) == expected  # from the copy


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [["sed=1"], ["optim=none_such"], ["no_group@model=a"], ["seed=1,2"]],
    ids=lambda overrides: overrides[0],
)
def test_what_hydra_refuses_is_refused_with_its_message(loader, overrides):
    jobs = JobLoader(loader)
    assert isinstance(composed(jobs, overrides), tuple)
    assert composed(jobs, overrides) == composed(loader, overrides)


@pytest.mark.slow
def test_jobs_that_differ_in_values_are_composed_once(loader, monkeypatch):
    jobs = JobLoader(loader)
    first = composed(jobs, ["optim=sft", "seed=1"])
    monkeypatch.setattr(ConfigLoaderImpl, "_load_configuration_impl", lambda *_: pytest.fail("composed again"))
    sent = pickle.loads(pickle.dumps(jobs))  # to a worker of a launcher
    assert composed(sent, ["optim=sft", "seed=1"]) == first
    assert composed(sent, ["optim=sft", "seed=2"]) == first.replace("seed: 1", "seed: 2").replace("seed=1", "seed=2")


def test_a_job_does_not_change_the_next_one(loader):
    jobs = JobLoader(loader)
    first = jobs.load_configuration("train", ["seed=1"], RunMode.RUN)
    first.grpo.beta = 7.0
    assert jobs.load_configuration("train", ["seed=1"], RunMode.RUN).grpo.beta != 7.0
