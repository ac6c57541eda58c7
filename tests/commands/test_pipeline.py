"""Tests that the whole method runs, and which artefacts runs share."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import hydra
import pytest
from omegaconf import DictConfig
from support.helpers import typed

from medssr.artifacts import fingerprint_parts
from medssr.config import PseudoLabelConfig, SynthesizeConfig, register, subconfig
from medssr.config.catalog import CONF_DIR

pytestmark = pytest.mark.slow


def synthesis_of(*overrides: str):
    return fingerprint_parts(asdict(subconfig(typed("pipeline", *overrides), SynthesizeConfig)))


def sweep_of(command: str, *overrides: str) -> DictConfig:
    """Hydra's settings of the sweeps of a command."""
    register()
    with hydra.initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        return hydra.compose(command, list(overrides), return_hydra_config=True).hydra.sweep


def test_runs_with_different_policies_share_their_questions():
    assert synthesis_of("model=tiny_qwen3") == synthesis_of("model=tiny_llama", "grpo.beta=0.1", "labeling.num_votes=4")


def test_runs_with_different_shares_do_not():
    assert synthesis_of("synthesis.rare_share=0.2") != synthesis_of("synthesis.rare_share=0.8")
    assert synthesis_of("seed=1") != synthesis_of("seed=2")


def test_labelling_depends_on_the_policy_but_not_on_training():
    def labelling_of(*overrides: str):
        fields = {"data": {"path": "questions.jsonl"}, "run": None}
        return fingerprint_parts(asdict(subconfig(typed("pipeline", *overrides), PseudoLabelConfig, **fields)))

    assert labelling_of("grpo.beta=0.1", "optim.optimizer.lr=1") == labelling_of()
    assert labelling_of("labeling.num_votes=4") != labelling_of()


def test_the_folder_of_a_sweep_is_known_before_its_jobs_start(monkeypatch, tmp_path):
    monkeypatch.delenv("MEDSSR_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    assert sweep_of("pipeline").dir == f"{tmp_path}/logs/pipeline/sweeps/default"


def test_a_job_of_a_sweep_has_a_folder_named_by_its_overrides():
    overrides = ["seed=3", "extras.progress_bar=false", "logger=csv", "paths.root_dir=/x", "study=alpha"]
    sweep = sweep_of("pipeline", *overrides)
    assert (sweep.dir, sweep.subdir) == ("/x/logs/pipeline/sweeps/alpha", "seed=3")


@pytest.mark.parametrize("name", ["../../..", "/etc", "team/alpha", "..", "a\\b"])
def test_the_names_of_study_and_command_lead_out_of_no_folder(name):
    folder = Path(sweep_of("pipeline", "paths.root_dir=/x", f'study="{name}"').dir)
    assert folder == Path("/x/logs/pipeline/sweeps") / folder.name
    assert folder.name not in ("..", "default")
    folder = Path(sweep_of("pipeline", "paths.root_dir=/x", f'task_name="{name}"').dir)
    assert (folder.parents[2], folder.name) == (Path("/x/logs"), "default")


def test_a_command_without_studies_has_a_folder_for_its_sweeps():
    assert sweep_of("retrieve", "paths.root_dir=/x").dir == "/x/logs/retrieve/sweeps/default"
