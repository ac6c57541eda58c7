"""Settings in which runs differ: their names, their values, and what runs are called by them."""

from __future__ import annotations

import pytest
import yaml
from support.studies import write_evaluation_of, write_pipeline_run

from medssr.errors import InputError
from medssr.reports.settings import differing_settings, short_names
from medssr.reports.studies import read_runs


def names(*folders):
    return [run.name for run in read_runs(folders)]


@pytest.mark.slow
def test_what_all_runs_share_is_in_no_name(tmp_path):
    same = ("experiment=alpha", "scale=tiny", "extras.num_threads=1")
    folders = [write_pipeline_run(tmp_path, "alpha", alpha, seed, *same) for alpha in (0.0, 0.5) for seed in (1, 2)]
    assert names(*folders) == [f"rare_share={alpha},seed={seed}" for alpha in (0.0, 0.5) for seed in (1, 2)]


def test_keys_of_one_end_are_told_apart(tmp_path):
    ends = [("grpo.temperature=1", "protocol.temperature=0"), ("grpo.temperature=2", "protocol.temperature=1")]
    folders = [write_pipeline_run(tmp_path, None, 0.5, 1, *pair) for pair in ends]
    assert names(*folders) == [
        "grpo.temperature=1,protocol.temperature=0",
        "grpo.temperature=2,protocol.temperature=1",
    ]
    assert short_names(["a.b.c", "x.b.c", "b.d"]) == {"a.b.c": "a.b.c", "x.b.c": "x.b.c", "b.d": "d"}
    assert short_names(["seed", "data.seed"]) == {"seed": "seed", "data.seed": "data.seed"}


def test_a_run_alone_keeps_its_name(tmp_path):
    assert names(write_pipeline_run(tmp_path, None, 0.5, 1)) == ["synthesis.rare_share=0.5,seed=1"]


def test_evaluations_keep_their_names_beside_runs(tmp_path):
    write_evaluation_of(tmp_path / "evaluation", "hub/qwen", 0.5, seed=0)
    folders = [write_pipeline_run(tmp_path, None, alpha, 1) for alpha in (0.0, 0.5)]
    assert names(*folders, tmp_path / "evaluation") == ["rare_share=0.0", "rare_share=0.5", "qwen"]


def test_a_setting_that_is_not_named_has_what_the_run_was_composed_with(tmp_path):
    folders = [
        write_pipeline_run(tmp_path, None, 0.5, 1, "schedule=sup_only", "grpo.beta=0.10"),
        write_pipeline_run(tmp_path, None, 0.5, 2),
    ]
    hydra = folders[1] / ".hydra"
    composed = {"grpo": {"beta": 0.1}, "schedule": {"stages": []}, "synthesis": {"rare_share": 0.5}}
    (hydra / "config.yaml").write_text(yaml.safe_dump(composed), encoding="utf-8")
    choices = {"hydra": {"runtime": {"choices": {"schedule": "two_stages"}}}}
    (hydra / "hydra.yaml").write_text(yaml.safe_dump(choices), encoding="utf-8")
    assert names(*folders) == ["schedule=sup_only,seed=1", "schedule=two_stages,seed=2"]  # 0.10 is 0.1
    (hydra / "config.yaml").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"config\.yaml.*is not valid YAML"):
        names(*folders)


def test_of_paths_the_end_is_shown_where_the_ends_differ(tmp_path):
    paths = ["/models/qwen", "/models/llama"]
    folders = [write_pipeline_run(tmp_path / path[-4:], None, 0.5, 1) for path in paths]
    runs = read_runs(folders)
    for run, path in zip(runs, paths, strict=True):
        run.record.overrides.append(f"model.path={path}")
    assert differing_settings(runs).values == [{"model.path": "qwen"}, {"model.path": "llama"}]
    runs[0].record.overrides.append("model.path=/other/llama")  # the last counts
    assert differing_settings(runs).values[0] == {"model.path": "/other/llama"}


def test_a_key_that_is_removed_is_a_setting(tmp_path):
    runs = read_runs(write_pipeline_run(tmp_path / name, None, 0.5, 1) for name in "ab")
    runs[0].record.overrides.extend(["~retriever", "+logger.csv.x=1", "hydra.job.name=x"])
    runs[1].record.overrides.append("retriever=bm25")
    assert differing_settings(runs).values == [{"retriever": "~"}, {"retriever": "bm25"}]


def test_a_group_of_seed_questions_is_no_seed(tmp_path):
    folders = [write_pipeline_run(tmp_path, None, 0.5, 1, f"seed_questions={name}") for name in ("builtin", "medqa")]
    assert names(*folders) == ["seed_questions=builtin", "seed_questions=medqa"]
