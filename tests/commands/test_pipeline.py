"""Tests that the whole method runs, and which artefacts runs share."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from medssr.artifacts import fingerprint_parts
from medssr.config import PipelineConfig, PseudoLabelConfig, SynthesizeConfig, register, subconfig

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def pipeline_config(*overrides: str) -> PipelineConfig:
    register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("pipeline", [*overrides, "paths.root_dir=/nowhere"])
    typed = OmegaConf.to_object(config)
    assert isinstance(typed, PipelineConfig)
    return typed


def synthesis_of(*overrides: str):
    return fingerprint_parts(asdict(subconfig(pipeline_config(*overrides), SynthesizeConfig)))


def test_runs_with_different_policies_share_their_questions():
    assert synthesis_of("model=tiny_qwen3") == synthesis_of("model=tiny_llama", "grpo.beta=0.1", "labeling.num_votes=4")


def test_runs_with_different_shares_do_not():
    assert synthesis_of("synthesis.rare_share=0.2") != synthesis_of("synthesis.rare_share=0.8")
    assert synthesis_of("seed=1") != synthesis_of("seed=2")


def test_labelling_depends_on_the_policy_but_not_on_training():
    def labelling_of(*overrides: str):
        config = pipeline_config(*overrides)
        return fingerprint_parts(
            asdict(subconfig(config, PseudoLabelConfig, data={"path": "questions.jsonl"}, run=None))
        )

    assert labelling_of("grpo.beta=0.1", "optim.optimizer.lr=1") == labelling_of()
    assert labelling_of("labeling.num_votes=4") != labelling_of()


def test_the_folder_of_a_sweep_is_known_before_its_jobs_start(monkeypatch, tmp_path):
    monkeypatch.delenv("MEDSSR_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("pipeline", return_hydra_config=True)
    assert config.hydra.sweep.dir == f"{tmp_path}/logs/pipeline/sweeps/default"


def test_a_job_of_a_sweep_has_a_folder_named_by_its_overrides():
    register()
    overrides = ["seed=3", "extras.progress_bar=false", "logger=csv", "paths.root_dir=/x", "study=alpha"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("pipeline", overrides, return_hydra_config=True)
    assert config.hydra.sweep.dir == "/x/logs/pipeline/sweeps/alpha"
    assert config.hydra.sweep.subdir == "seed=3"


def test_a_command_without_studies_has_a_folder_for_its_sweeps():
    register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("synthesize", ["paths.root_dir=/x"], return_hydra_config=True)
    assert config.hydra.sweep.dir == "/x/logs/synthesize/sweeps/default"
