"""Tests that `run=FOLDER` selects the model of a finished training with its settings."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from support.helpers import compose, typed

from medssr.artifacts import Step, fingerprint_parts
from medssr.commands.checkpoint_settings import read_trained, with_run, write_settings
from medssr.config import Dtype, TrainConfig
from medssr.errors import InputError
from medssr.manifests import Artifact, point_to

pytestmark = pytest.mark.slow


@pytest.fixture
def prompt(tmp_path) -> Path:
    file = tmp_path / "prompt.txt"
    file.write_text("Think first. {question}")
    return file


@pytest.fixture
def artifact(tmp_path, prompt) -> Path:
    """Returns the artefact of a training with non-default settings."""
    config: TrainConfig = typed(
        "train",
        f"paths.root_dir={tmp_path}",
        "model=tiny_llama",
        f"model.prompt_path={prompt}",
        "model.dtype=bfloat16",
        "rollout.max_batch_size=7",
    )

    def build(directory: Path) -> dict[str, int]:
        (directory / "model").mkdir()
        write_settings(config, directory)
        return {}

    return Step("train", config, tmp_path / "artifacts").run(build).directory


def evaluation(run: Path, *overrides: str):
    return OmegaConf.to_object(with_run(compose("evaluate", f"run={run}", *overrides), [f"run={run}", *overrides]))


def test_an_evaluation_of_a_run_takes_its_model_with_its_settings(artifact, prompt):
    config = evaluation(artifact)
    assert config.model.path == str(artifact / "model")
    assert config.model.prompt_path == config.protocol.prompt_path == str(prompt)
    assert config.model.dtype is Dtype.bfloat16
    assert config.rollout["max_batch_size"] == 7


def test_trained_adapters_are_evaluated_on_their_base(artifact):
    (artifact / "model" / "adapter").mkdir()
    config = evaluation(artifact)
    assert config.model.path == typed("train", "model=tiny_llama", "data.path=unused.jsonl").model.path
    assert config.model.adapter_path == str(artifact / "model" / "adapter")


def put_settings(artifact, text):
    """Gives an artefact other settings, as if an older version had made it, which recorded no files."""
    (artifact / "settings.json").write_text(text)
    manifest = json.loads((artifact / "manifest.json").read_text())
    (artifact / "manifest.json").write_text(
        json.dumps({name: manifest[name] for name in manifest if name not in ("outputs", "sha256")})
    )


def test_settings_that_were_changed_are_refused(artifact):
    (artifact / "settings.json").write_text("{}")
    with pytest.raises(InputError, match=r"settings\.json: it was damaged or changed after it was made"):
        read_trained(artifact)


@pytest.mark.parametrize("text", ["", '{"model": ', '{"model": 3}', "[]", "{}"])
def test_damaged_settings_of_an_older_version_are_named_with_what_to_do(artifact, text):
    put_settings(artifact, text)
    with pytest.raises(InputError, match=r"settings\.json.* Name the model by model\.path=.*/model"):
        read_trained(artifact)


def test_a_base_that_has_gone_is_named(artifact):
    (artifact / "model" / "adapter").mkdir()
    settings = json.loads((artifact / "settings.json").read_text())
    settings["model"]["path"] = "/gone/base"
    put_settings(artifact, json.dumps(settings))
    with pytest.raises(InputError, match=r"base model /gone/base has gone; the merged model is in .*/model:"):
        evaluation(artifact)


def test_what_the_command_line_sets_stays(artifact, prompt, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text("{question}")
    config = evaluation(artifact, "model.dtype=float32", f"protocol.prompt_path={other}", "rollout.max_batch_size=3")
    assert (config.model.dtype, config.rollout["max_batch_size"]) == (Dtype.float32, 3)
    assert (config.model.prompt_path, config.protocol.prompt_path) == (str(prompt), str(other))
    assert evaluation(artifact, "protocol=few_shot", f"protocol.shots_path={other}").protocol.prompt_path != str(prompt)
    assert evaluation(artifact, "rollout=vllm").rollout == typed("evaluate", "rollout=vllm").rollout


def test_it_is_the_same_evaluation_as_with_its_settings_typed_out(artifact, prompt, tmp_path):
    typed_out = typed(
        "evaluate",
        "model=local",
        f"model.path={artifact}/model",
        "model.dtype=bfloat16",
        f"model.prompt_path={prompt}",
        "model.max_new_tokens=64",
        "model.gradient_checkpointing=false",
        "rollout.max_batch_size=7",
    )
    assert fingerprint_parts(asdict(evaluation(artifact))) == fingerprint_parts(asdict(typed_out))


def test_votes_are_taken_from_a_run_too(artifact):
    composed = compose("pseudo_label", f"run={artifact}")
    assert with_run(composed, [f"run={artifact}"]).model.path == str(artifact / "model")


def test_a_run_folder_of_the_training_leads_to_its_artefact(artifact, tmp_path, monkeypatch):
    run_dir = tmp_path / "logs" / "run"
    monkeypatch.chdir(artifact.parent)
    point_to(Artifact(Path(artifact.name), {}), run_dir)
    monkeypatch.chdir(tmp_path)
    assert read_trained(run_dir) == read_trained(artifact)


def test_a_run_of_the_pipeline_stands_for_its_last_stage(artifact, tmp_path):
    (artifact / "metrics.csv").write_text("step,train/reward\n0,0.5\n")
    run_dir = tmp_path / "pipeline"
    run_dir.mkdir()
    record = {"run": "r", "overrides": [], "config": {}, "models": [{"name": "base", "benchmarks": {}}]}
    stages = [
        {"stage": "a", "metrics_file": str(artifact.parent / "first" / "metrics.csv")},
        {"stage": "b", "metrics_file": str(artifact / "metrics.csv")},
    ]
    (artifact.parent / "first").mkdir()
    shutil.copy(artifact / "metrics.csv", artifact.parent / "first")
    (run_dir / "results.json").write_text(json.dumps(record | {"training": stages, "schema_version": 2}))
    assert read_trained(run_dir) == read_trained(artifact)
    (run_dir / "results.json").write_text(json.dumps(record | {"training": [], "schema_version": 2}))
    with pytest.raises(InputError, match="no stage of training"):
        read_trained(run_dir)


def test_without_a_run_nothing_changes():
    config = compose("evaluate")
    assert with_run(config, ["model=tiny_qwen3"]) is config


def test_a_run_and_another_model_do_not_go_together(artifact):
    with pytest.raises(InputError, match="leave one of the two out"):
        evaluation(artifact, "model=tiny_qwen3")


def test_a_setting_of_another_engine_needs_that_engine(artifact):
    settings = json.loads((artifact / "settings.json").read_text())
    settings["rollout"] = {"_target_": "medssr.engines.vllm_engine.VLLMEngine", "max_num_seqs": 8}
    put_settings(artifact, json.dumps(settings))
    with pytest.raises(InputError, match=r"rollout\.max_batch_size: .*VLLMEngine.*choose rollout="):
        evaluation(artifact, "rollout.max_batch_size=3")


@pytest.mark.parametrize(
    ("lacking", "message"),
    [
        ("manifest.json", "has not finished"),
        ("settings.json", "holds no finished training"),
        ("model", "has been removed"),
        ("../../../prompt.txt", "which has gone"),
    ],
)
def test_what_is_missing_is_named(artifact, lacking, message):
    path = artifact / lacking
    path.rename(path.with_name("elsewhere"))
    with pytest.raises(InputError, match=message):
        read_trained(artifact)


def test_settings_of_an_older_version_are_refused(artifact):
    settings = json.loads((artifact / "settings.json").read_text(encoding="utf-8"))
    del settings["model"]["max_new_tokens"]
    put_settings(artifact, json.dumps(settings))
    with pytest.raises(InputError, match="lacks max_new_tokens, so an older version wrote it"):
        read_trained(artifact)
