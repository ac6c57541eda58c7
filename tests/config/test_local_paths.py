"""Paths in a configuration: the home folder, variables, and the folder in which a command was launched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from omegaconf import OmegaConf

from medssr.cli.entry import composed
from medssr.config import SCHEMAS, TrainConfig
from medssr.config.composition import typed
from medssr.config.local_paths import absolute, expand_home, expanded, with_local_paths
from medssr.errors import InputError

ROOT = Path(__file__).parents[2]
HOME = str(Path.home())


def schemas_within(schema: type, found: set[type]) -> set[type]:
    """All dataclasses that a schema is made of."""
    if schema not in found:
        found.add(schema)
        waiting: list[Any] = list(get_type_hints(schema).values())
        while waiting:
            hint = waiting.pop()
            waiting += get_args(hint)
            if is_dataclass(hint):
                schemas_within(hint, found)
    return found


def test_every_setting_that_is_named_like_a_path_is_typed_as_one():
    found: set[type] = set()
    for schema in SCHEMAS.values():
        schemas_within(schema, found)
    assert TrainConfig in found
    for schema in found:
        hints = get_type_hints(schema, include_extras=True)
        for field in fields(schema):
            if field.name == "path" or field.name.endswith(("_path", "_dir")):
                kind = "PathKind.output" if field.name.endswith("_dir") else "PathKind.input"
                assert kind in str(hints[field.name]), f"{schema.__name__}.{field.name}"


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("data.path=~/q.jsonl", f"data.path={HOME}/q.jsonl"),
        ("data.path=~", f"data.path={HOME}"),
        ("runs=[~/a,~/b]", f"runs=[{HOME}/a,{HOME}/b]"),
        ("data.path=~/a,~/b", f"data.path={HOME}/a,{HOME}/b"),
        ("+reward.mine={_target_: a.B, words: ~/w}", f"+reward.mine={{_target_: a.B, words: {HOME}/w}}"),
        ("hydra.run.dir=~/runs", f"hydra.run.dir={HOME}/runs"),
        ("--config-dir=~/conf", f"--config-dir={HOME}/conf"),
        ("~lora", "~lora"),
        ("~model=local", "~model=local"),
        ("data.path=a~/b", "data.path=a~/b"),
        ("data.path=report~1.jsonl", "data.path=report~1.jsonl"),
        ("protocol.cue='~/x'", "protocol.cue='~/x'"),
    ],
)
def test_a_word_of_the_command_line_has_the_home_folder(override, read):
    assert expand_home(override) == read


def test_a_path_is_expanded_at_its_start_only(monkeypatch):
    monkeypatch.setenv("SCRATCH", "/scratch/me")
    monkeypatch.delenv("NO_SUCH", raising=False)
    assert expanded("~/a/~/b") == f"{HOME}/a/~/b"
    assert expanded("$SCRATCH/q.jsonl") == "/scratch/me/q.jsonl"
    assert expanded("a/$SCRATCH") == "a/$SCRATCH"
    with pytest.raises(InputError, match="NO_SUCH is not set"):
        expanded("$NO_SUCH/x")
    with pytest.raises(InputError, match="home folder is not known"):
        expanded("~no-such-user-here/x")


def test_the_home_folder_is_known_without_the_variable(monkeypatch):
    monkeypatch.delenv("HOME")
    assert Path(expanded("~/x")).is_absolute()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "key", "overrides"),
    [
        ("train", "data.path", []),
        ("train", "model.path", ["data.path=q"]),
        ("train", "ckpt_path", ["data.path=q"]),
        ("train", "paths.root_dir", ["data.path=q"]),
        ("train", "probe.path", ["data.path=q", "probe=file"]),
        ("sft", "demonstrations.path", ["demonstrations=file"]),
        ("synthesize", "corpus.path", ["corpus=jsonl"]),
        ("synthesize", "generator.ledger_dir", ["generator=openai", "generator.model=m"]),
        ("synthesize", "synthesis.benchmark_path", []),
        ("pseudo_label", "run", ["data.path=q"]),
        ("evaluate", "benchmark.path", []),
        ("evaluate", "protocol.shots_path", []),
        ("compare", "output_dir", []),
        ("retrieve", "qrels.path", ["questions.path=q", "corpus.path=c"]),
        ("audit", "audit.prompt_path", ["data.path=q"]),
        ("export", "data.path", ["model.path=m"]),
        ("dashboard", "file", ["study=s", "entity=e"]),
    ],
)
def test_the_paths_of_every_command_have_the_home_folder(command, key, overrides):
    for value in ("~/x", "'~/x'"):
        config = composed(command, [*overrides, f"{key}={value}"])
        for name in key.split("."):
            config = config[name] if isinstance(config, dict) else getattr(config, name)
        assert config == f"{HOME}/x"


@pytest.mark.slow
def test_lists_of_paths_and_what_is_derived_from_a_path_have_the_home_folder():
    assert composed("compare", ["runs=['~/a',b]"]).runs == [f"{HOME}/a", "b"]
    config = composed("synthesize", ["paths.root_dir=~/r", "generator=openai", "generator.model=m"])
    assert config.paths.artifact_dir == f"{HOME}/r/artifacts"
    assert config.generator["ledger_dir"] == f"{HOME}/r/artifacts/ledgers"


@pytest.mark.slow
def test_a_path_of_one_s_own_class_has_the_home_folder_and_a_request_stays_as_it_is():
    reward = "+reward.mine={_target_: mine.Reward, weight: 1, words: '~/words.txt', mark: '~'}"
    mine = composed("train", ["data.path=q", reward]).reward["mine"]
    assert (mine["words"], mine["mark"]) == (f"{HOME}/words.txt", "~")
    extra = "generator.extra_body={path: '~/x'}"
    generator = composed("synthesize", ["generator=openai", "generator.model=m", extra]).generator
    assert generator["extra_body"] == {"path": "~/x"}


@pytest.mark.slow
def test_a_relative_path_starts_where_the_command_was_launched(tmp_path, monkeypatch):
    from hydra.core.hydra_config import HydraConfig

    launched, run_dir = tmp_path / "launched", tmp_path / "run"
    for folder in (launched, run_dir):
        folder.mkdir()
    (launched / "q.jsonl").touch()
    hydra = OmegaConf.create({"job": {"chdir": True}, "runtime": {"cwd": str(launched), "output_dir": str(run_dir)}})
    monkeypatch.setattr(HydraConfig, "initialized", lambda: True)
    monkeypatch.setattr(HydraConfig, "get", lambda: hydra)
    overrides = ["data.path=q.jsonl", "model.path=org/name", "paths.log_dir=out", "stage=q.jsonl"]
    monkeypatch.chdir(launched)  # before Hydra moves, and where it does not
    assert composed("train", overrides).data.path == "q.jsonl"
    monkeypatch.chdir(run_dir)
    config = composed("train", overrides)
    assert config.data.path == str(launched / "q.jsonl")
    assert config.model.path == "org/name"  # of a hub
    assert config.paths.log_dir == str(launched / "out")
    assert config.paths.artifact_dir == absolute("artifacts") == str(launched / "artifacts")
    assert config.stage == "q.jsonl"  # no path


def test_the_given_configuration_is_not_changed():
    config = OmegaConf.create({"path": "~/x", "missing": "???", "other": "${path}"})
    assert with_local_paths(config).path == f"{HOME}/x"
    assert config.path == "~/x"
    with pytest.raises(InputError, match="missing: has no default"):
        typed(config)


@pytest.mark.slow
def test_a_command_that_runs_in_its_run_folder_reads_and_writes_where_it_was_launched(tmp_path):
    preset = tmp_path / "conf" / "experiment" / "mine.yaml"
    preset.parent.mkdir(parents=True)
    preset.write_text("# @package _global_\npaths:\n  log_dir: ~/logs\n")
    (tmp_path / "home").mkdir()
    source = ROOT / "medssr" / "resources" / "questions" / "human.jsonl"
    (tmp_path / "q.jsonl").write_bytes(source.read_bytes())
    command = [
        *(sys.executable, "-m", "medssr.commands.synthesize", "--config-dir=conf", "hydra.job.chdir=true"),
        *("experiment=mine", "seed_questions.path=q.jsonl", "synthesis.num_questions=4", "paths.artifact_dir=made"),
        *("paths.index_dir=~/index", "extras.progress_bar=false"),
    ]
    environment = os.environ | {"HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    (manifest,) = tmp_path.glob("made/synthesize/*/manifest.json")
    assert json.loads(manifest.read_text())["inputs"].keys() >= {"seed_questions.path"}
    assert {path.name for path in tmp_path.iterdir()} == {"conf", "home", "made", "q.jsonl"}
    assert {path.name for path in (tmp_path / "home").iterdir()} == {"logs", "index"}
