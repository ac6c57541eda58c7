"""The runs of a study, and what is left out of it."""

from __future__ import annotations

import re
import shutil

import pytest
from support.helpers import typed
from support.studies import write_evaluation_of, write_job, write_pipeline_run

from medssr.commands.compare import compare, runs_as_override
from medssr.errors import InputError
from medssr.manifests import Artifact, point_to
from medssr.reports.studies import find_runs, find_study, run_folders

pytestmark = pytest.mark.slow


def test_a_study_is_the_runs_that_were_started_with_its_name(tmp_path):
    for alpha in (0.0, 1.0):
        write_pipeline_run(tmp_path, "alpha", alpha, 1)
        write_pipeline_run(tmp_path, "beta", alpha, 2)
    runs, left_out = find_study("alpha", tmp_path / "logs")
    assert sorted(run.record.config["rare_share"] for run in runs) == [0.0, 1.0]
    assert left_out == []


def test_an_evaluation_of_the_study_is_found_by_its_pointer(tmp_path):
    write_evaluation_of(tmp_path / "artifacts" / "evaluate" / "0", "hub/qwen", 0.5, seed=0)
    job = tmp_path / "logs" / "evaluate" / "runs" / "0"
    write_job(job, "evaluate", ["model.path=hub/qwen", "study=alpha"], {"study": "alpha"})
    point_to(Artifact(tmp_path / "artifacts" / "evaluate" / "0", {}), job)
    ((run,), left_out) = find_study("alpha", tmp_path / "logs")
    assert (run.name, run.record.models[-1].name, left_out) == ("model.path=hub_qwen~a8297e12", "qwen", [])


def test_what_is_no_finished_run_is_left_out_with_its_reason(tmp_path):
    write_pipeline_run(tmp_path, "alpha", 0.5, 1)
    write_job(tmp_path / "logs" / "a", "pipeline", ["seed=7"], {"study": "alpha"})
    write_job(tmp_path / "logs" / "b", "train", ["seed=8"], {"study": "alpha"})
    write_job(tmp_path / "logs" / "c", "compare", ["study=alpha"], {"study": "alpha"})
    broken = write_pipeline_run(tmp_path, "alpha", 0.5, 9)
    (broken / "results.json").write_text("{")
    runs, left_out = find_study("alpha", tmp_path / "logs")
    reasons = {each.run.split(" ")[0]: each.reason for each in left_out}
    assert len(runs) == 1
    assert reasons.keys() == {"seed=7", "seed=8", "seed=9,synthesis.rare_share=0.5"}
    assert "not finished" in reasons["seed=7"]
    assert "evaluate its model" in reasons["seed=8"]
    assert "not valid JSON" in reasons["seed=9,synthesis.rare_share=0.5"]


def test_the_same_run_counts_once(tmp_path):
    folder = write_pipeline_run(tmp_path, "alpha", 0.5, 1)
    shutil.copytree(folder, tmp_path / "logs" / "again")
    runs, (left_out,) = find_study("alpha", tmp_path / "logs")
    assert len(runs) == 1
    assert "the same run again" in left_out.reason


def test_an_unknown_study_is_answered_with_those_that_there_are(tmp_path):
    write_pipeline_run(tmp_path, "alpha", 0.5, 1)
    with pytest.raises(InputError, match=r"no run of 'alpa' below .*; there are runs of alpha"):
        find_study("alpa", tmp_path / "logs")


def test_what_wandb_keeps_of_a_run_counts_where_the_run_is_not_there(tmp_path):
    folder = write_pipeline_run(tmp_path, "alpha", 0.5, 1)
    files = folder / "wandb" / "offline-run-20260101_000000-0" / "files"
    files.mkdir(parents=True)
    shutil.copy(folder / "results.json", files)
    assert run_folders([str(folder)]) == [folder]
    assert run_folders([str(folder / "wandb")]) == []  # the run is beside it
    shutil.move(folder / "wandb", tmp_path / "wandb")
    assert run_folders([str(tmp_path / "wandb")]) == [tmp_path / "wandb" / files.parent.name / "files"]


def test_what_cannot_be_read_is_left_out_where_something_can(tmp_path):
    good = write_pipeline_run(tmp_path, None, 0.5, 1)
    broken = write_pipeline_run(tmp_path, None, 0.5, 2)
    (broken / "results.json").write_text("{")
    trained = tmp_path / "artifacts" / "train"
    paths = [str(good), str(broken), str(trained), str(good.parent)]
    (run,), left_out = find_runs(paths)
    assert run.folder == good
    reasons = {each.run: each.reason for each in left_out}
    assert reasons.keys() == {str(broken), str(trained)}
    assert "not valid JSON" in reasons[str(broken)]
    assert "evaluate its model" in reasons[str(trained)]
    with pytest.raises(InputError, match="not valid JSON"):
        find_runs([str(broken)])


@pytest.fixture
def page(tmp_path):
    """The report of a sweep of fifty runs: five shares, five models, two seeds."""
    models = ["tiny_qwen3", "tiny_llama", "qwen3_8b_base", "llama31_8b_instruct", "qwen3_1b7"]
    for alpha in (0.0, 0.25, 0.5, 0.75, 1.0):
        for model in models:
            for seed in (1, 2):
                write_pipeline_run(tmp_path, "alpha", alpha, seed, f"model={model}")
    write_job(tmp_path / "logs" / "a", "pipeline", ["seed=7"], {"study": "alpha"})
    return compare(typed("compare", f"paths.root_dir={tmp_path}", "study=alpha", "num_examples=0"))


@pytest.mark.slow
def test_fifty_runs_make_a_page_with_a_row_a_group(page):
    text = page.read_text(encoding="utf-8")
    assert len(re.findall(r"<td[^>]*><span[^>]*>(tiny|qwen3|llama31)_\w+</span>", text)) == 25
    assert "rare_share: synthesis.rare_share" in text
    assert "model=tiny_llama,seed" not in text  # the parts of a name, each on one line
    assert "it has not finished" in text
    assert (page.parent / "comparisons.tex").read_text().count("\\\\\n") == 26
    for name in ("swept_0_synthesis_rare_share_toy.png", "training_0_stage1.png", "pareto.png"):
        assert f'src="{name}"' in text
        assert (page.parent / name).stat().st_size > 5_000


def test_a_baseline_needs_no_quotes():
    assert runs_as_override(["baseline=rare_share=0.5,seed=1"]) == ['baseline="rare_share=0.5,seed=1"']
    assert runs_as_override(['baseline="a=1"', "baseline=null", "study=alpha"]) == [
        'baseline="a=1"',
        "baseline=null",
        "study=alpha",
    ]


def test_wandb_that_cannot_be_reached_is_a_fault_of_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setattr("medssr.reports.studies._WANDB_TIMEOUT_S", 1)
    with pytest.raises(InputError, match=r"wandb: me/medssr cannot be read .*folders on disk\."):
        compare(typed("compare", f"paths.root_dir={tmp_path}", "wandb=me/medssr"))
