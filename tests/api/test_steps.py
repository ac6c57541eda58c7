"""Steps from Python: the artefacts of the commands, results as tables and pictures, and the process as it was."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import random
import signal
import threading
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from omegaconf.basecontainer import BaseContainer
from support.commands import run
from support.helpers import random_policy, toy_question
from transformers.utils import logging as transformers_logging

import medssr
from medssr.manifests import Artifact
from medssr.questions import write_questions
from medssr.reports.runs import read_run
from medssr.synthesis.llm_generators import LocalGenerator
from medssr.utils.stopping import SIGNALS, Stopped

pytestmark = pytest.mark.slow

TRAIN = [
    *("model.path=model", "data.path=questions.jsonl", "trainer=cpu", "+trainer.deterministic=true", "logger=csv"),
    *("extras.progress_bar=false", "extras.num_threads=1", "grpo.num_steps=2", "grpo.num_prompts_per_step=2"),
    *("grpo.num_generations=2", "grpo.max_new_tokens=4"),
    *("+reward.even._target_=support.user_rewards.EvenTokens", "+reward.even.weight=1.0"),  # a process of its own
]


def process_state() -> dict[str, Any]:
    """What belongs to the whole process and a step might leave changed."""
    loggers = [logging.getLogger(name) for name in (None, "lightning", "lightning.pytorch", "transformers", "medssr")]
    return {
        "random": (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()),
        "torch": (
            torch.get_num_threads(),
            torch.are_deterministic_algorithms_enabled(),
            torch.backends.cudnn.deterministic,
            torch.backends.cudnn.benchmark,
            torch.get_float32_matmul_precision(),
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
        ),
        "environment": dict(os.environ),
        "signals": {signum: signal.getsignal(signum) for signum in (signal.SIGALRM, *SIGNALS)},
        "loggers": [(each.level, list(each.handlers), each.propagate, each.disabled) for each in loggers],
        "transformers": (transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()),
        "warnings": list(warnings.filters),
        "hydra": (GlobalHydra.instance().is_initialized(), sorted(ConfigStore.instance().repo)),
        "resolvers": dict(BaseContainer._resolvers),
        "folder": Path.cwd(),
        # tqdm, which bm25s imports, leaves a daemon of its own.
        "threads": [each.name for each in threading.enumerate() if each.name != "tqdm_monitor"],
        "processes": multiprocessing.active_children(),
    }


def test_questions_of_a_language_model_leave_nothing_and_take_the_threads_that_are_set(tmp_path, monkeypatch):
    seen = []
    generate = LocalGenerator.generate

    def noting(self, requests):
        seen.append((torch.get_num_threads(), transformers_logging.is_progress_bar_enabled()))
        return generate(self, requests)

    monkeypatch.setattr(LocalGenerator, "generate", noting)
    settings = ["generator=tiny_writer", "synthesis.num_questions=1", f"paths.root_dir={tmp_path}"]
    threads = torch.get_num_threads() + 1
    config = medssr.compose("synthesize", [*settings, f"extras.num_threads={threads}", "extras.progress_bar=false"])
    transformers_logging.enable_progress_bar()
    before = process_state()
    assert len(medssr.synthesize(config).to_pandas()) == 1
    assert set(seen) == {(threads, False)}
    assert process_state() == before


def model_files(artifact: Path) -> dict[str, bytes]:
    files = [path for path in (artifact / "model").rglob("*") if path.is_file()]
    assert files
    return {str(path.relative_to(artifact)): path.read_bytes() for path in files}


def test_two_trainings_in_one_process_are_those_of_two_processes_and_leave_nothing(tmp_path, monkeypatch):
    for name in ("together", "apart"):
        (tmp_path / name).mkdir()
        random_policy("qwen3").save(tmp_path / name / "model")
        write_questions(tmp_path / name / "questions.jsonl", [toy_question(number) for number in range(4)])
    monkeypatch.chdir(tmp_path / "together")
    monkeypatch.setenv("MEDSSR_ROOT", str(tmp_path / "together"))
    torch.manual_seed(5)
    before = process_state()

    first = medssr.train(medssr.compose("train", TRAIN))
    second = medssr.train(replace(medssr.compose("train", TRAIN), seed=7))

    after = process_state()
    assert {name: value for name, value in after.items() if value != before[name]} == {}
    for seed, result in (("42", first), ("7", second)):
        run("train", *TRAIN, f"seed={seed}", folder=tmp_path / "apart")
        apart = tmp_path / "apart" / "artifacts" / "train" / result.fingerprint
        assert model_files(apart) == model_files(result.directory)
    assert model_files(first.directory) != model_files(second.directory)
    assert second.manifest["command"].endswith("seed=7")
    assert second.manifest["command"].startswith("medssr-train model.path=model")


SMALL = ["debug=quick", "extras.progress_bar=false", "logger=csv", "grpo.num_steps=2"]


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A small run of the pipeline with one stage."""
    root = tmp_path_factory.mktemp("pipeline")
    stages = "stages=[{name: first, questions: pseudo_labelled}]"
    return medssr.pipeline(medssr.compose("pipeline", [*SMALL, stages, "study=mine", f"paths.root_dir={root}"]))


def test_a_pipeline_is_found_as_one_of_the_command(ran):
    root = ran.directory.parents[3]
    assert ran.report.is_file()
    assert ran.run.record.overrides[:4] == SMALL
    found = medssr.compare(medssr.compose("compare", ["study=mine", f"paths.root_dir={root}"]))
    assert [run.folder for run in found.comparison.runs] == [ran.directory]
    assert found.report == root / "report" / "index.html"
    assert set(found.metrics.values()) == {ran.metrics["score/evaluation/all"]}


def test_results_are_artefacts_with_tables_and_pictures(ran):
    synthesized, labelled, (trained,) = ran.synthesized, ran.labelled, ran.stages.values()
    assert all(isinstance(each, Artifact) for each in (synthesized, labelled, trained, *ran.evaluations.values()))
    questions, labels = synthesized.to_pandas(), labelled.to_pandas()
    assert len(questions) == synthesized.metrics["num_questions"] == len(labelled.votes())
    assert set(labels["id"]) <= set(questions["id"])
    assert len(labels) == labelled.metrics["num_kept"]
    is_right = labels["answer"] == labels["provenance.truth"]
    assert is_right.sum() == labelled.metrics["kept_right"]
    assert len(synthesized.rejected()) == synthesized.metrics["num_rejected"]
    assert list(trained.to_pandas().index) == [0, 1]
    assert trained.metrics["train/reward"] == trained.to_pandas()["train/reward"].iloc[-1]
    assert (trained.model / "config.json") == trained.files["model/config.json"]
    for plotted in (labelled, trained, ran, ran.evaluations["base"]):
        assert plotted.plot()._repr_png_().startswith(b"\x89PNG")
    assert str(trained.directory) in repr(trained)


def test_answers_are_those_that_were_scored(ran):
    assert list(ran.evaluations) == ["base", "first"]
    scored = ran.evaluations["first"]
    answers = scored.answers()
    scores = scored.to_pandas().set_index("slice")["accuracy"]
    assert answers["is_right"].mean() == pytest.approx(scores["all"])
    assert answers[answers["is_rare"]]["is_right"].mean() == pytest.approx(scores["rare"])
    assert scored.metrics["score/all"] == pytest.approx(scores["all"])
    with pytest.raises(medssr.InputError, match="'medqa' is no benchmark of this evaluation; it has evaluation"):
        scored.answers("medqa")
    table = ran.to_pandas()
    assert list(table[table["slice"] == "all"]["model"]) == ["base", "first"]


def test_a_second_call_finds_the_artefact_without_torch_states(ran):
    stored = json.loads((ran.stages["first"].directory / "manifest.json").read_text())
    again = medssr.pipeline(
        medssr.compose("pipeline", [*ran.run.record.overrides]), run_dir=ran.directory.parent / "again"
    )
    assert again.directory.name == "again"
    assert again.stages["first"].manifest == stored
    assert read_run(again.directory).record.models == ran.run.record.models


@pytest.mark.parametrize(("signum", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Stopped)])
def test_ctrl_c_is_a_keyboard_interrupt(monkeypatch, tmp_path, signum, raised):
    """Other signals end the program with their code."""

    def stop(config: Any) -> Artifact:
        raise Stopped(signum)

    monkeypatch.setattr("medssr.commands.train.train", stop)
    with pytest.raises(raised):
        medssr.train(medssr.compose("train", [*TRAIN, f"paths.root_dir={tmp_path}"]))
