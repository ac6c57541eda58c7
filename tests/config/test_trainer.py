"""Which settings of Lightning's Trainer are taken, and what a quick check of a training does."""

from __future__ import annotations

import csv
import json
import logging

import pytest
from support.helpers import typed

from medssr.cli.entry import composed
from medssr.commands.sft import sft
from medssr.commands.train import train
from medssr.config import num_check_steps
from medssr.errors import InputError

pytestmark = pytest.mark.slow

COMMANDS = {"train": ["data.path=q.jsonl"], "sft": [], "pipeline": []}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_that_trains_checks_its_trainer(command):
    with pytest.raises(InputError, match=r"trainer\.max_steps: 10; .*num_steps"):
        composed(command, [*COMMANDS[command], "+trainer.max_steps=10"])


@pytest.mark.parametrize(
    ("override", "advice"),
    [
        ("+trainer.overfit_batches=1", "data.path"),
        ("+trainer.accumulate_grad_batches=4", "micro_batch_tokens"),
        ("+trainer.gradient_clip_val=1.0", "max_grad_norm"),
        ("+trainer.max_steps=10", "num_steps"),
        ("+trainer.max_time='00:01:00:00'", "num_steps"),
        ("trainer.max_epochs=3", "num_steps"),
        ("+trainer.limit_val_batches=2", "probe"),
        ("+trainer.num_sanity_val_steps=2", "probe"),
        ("+trainer.barebones=true", "fast_dev_run"),
        ("+trainer.logger=true", "logger=csv"),
        ("+trainer.callbacks=[]", r"\+callbacks"),
        ("+trainer.default_root_dir=x", r"paths\.artifact_dir"),
        ("+trainer.fast_dev_run=-1", "a number of steps"),
        ("+trainer.fast_dev_run=often", "a number of steps"),
    ],
)
def test_a_setting_that_cannot_work_names_the_one_to_take(override, advice):
    key = override.lstrip("+").partition("=")[0]
    with pytest.raises(InputError, match=rf"{key}: .*{advice}"):
        composed("train", [*COMMANDS["train"], override])


@pytest.mark.parametrize(
    "override",
    [
        *("trainer.limit_train_batches=2", "+trainer.detect_anomaly=true", "+trainer.profiler=simple"),
        *("+trainer.deterministic=true", "+trainer.gradient_clip_val=null", "+trainer.benchmark=false"),
    ],
)
def test_settings_that_work_are_taken(override):
    assert num_check_steps(composed("train", [*COMMANDS["train"], override])) == 0


def test_a_quick_check_is_a_number_of_steps():
    for value, num_steps in (("true", 1), ("false", 0), ("3", 3), ("null", 0)):
        assert num_check_steps(composed("sft", [f"+trainer.fast_dev_run={value}"])) == num_steps
    assert num_check_steps(composed("synthesize", [])) == 0


def test_a_quick_check_trains_one_step_logs_it_to_csv_and_says_so(tmp_path, caplog):
    questions = [
        json.dumps({"id": str(i), "stem": f"Stem {i}?", "options": {"A": "x", "B": "y"}, "answer": "A"})
        for i in range(4)
    ]
    (tmp_path / "q.jsonl").write_text("\n".join(questions) + "\n")
    common = [
        *(f"paths.root_dir={tmp_path}", "extras.progress_bar=false", "+trainer.fast_dev_run=true"),
        *("+trainer.profiler=simple", "+trainer.detect_anomaly=true", "trainer.accelerator=cpu"),
    ]
    sizes = ["grpo.num_prompts_per_step=2", "grpo.num_generations=2", "grpo.num_steps=3"]
    grpo = typed("train", f"data.path={tmp_path}/q.jsonl", *sizes, *common)
    labels = ["demonstrations=labels", f"demonstrations.path={tmp_path}/q.jsonl"]
    tuning = typed("sft", *labels, "sft.num_steps=3", "sft.num_rows_per_step=2", *common)
    for make, config in ((train, grpo), (sft, tuning)):
        caplog.clear()
        with caplog.at_level(logging.INFO):
            artifact = make(config)
        assert "trainer.fast_dev_run: trained 1 of 3 steps" in caplog.text
        assert "run_training_epoch" in caplog.text  # the profiler's table
        assert artifact.manifest["counts"]["num_steps"] == 1
        with artifact.path("metrics.csv").open() as stream:
            assert [row["step"] for row in csv.DictReader(stream)] == ["0"]
        assert not artifact.path("wandb").exists()
