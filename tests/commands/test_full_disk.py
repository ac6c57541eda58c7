"""A full disk ends a command with exit code 2, the folder and what to do, wherever it is; what only watches goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support.commands import start
from support.helpers import random_policy, toy_question, typed
from support.small_disks import fill, small_disk
from support.studies import write_pipeline_run

from medssr.artifacts import Step
from medssr.questions import write_questions

pytestmark = pytest.mark.slow

QUICK = ["extras.progress_bar=false", "extras.num_threads=1"]
TRAIN = ["trainer=cpu", "grpo.num_steps=1", "grpo.num_prompts_per_step=2", "grpo.num_generations=2", "logger=csv"]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Returns a folder with a tiny model and questions."""
    folder = tmp_path_factory.mktemp("inputs")
    random_policy("qwen3").save(folder / "model")
    (folder / "template.txt").write_text("{% if entity %}Ask about insulin.{% else %}Ask about the gene.{% endif %}")
    write_questions(folder / "questions.jsonl", [toy_question(number) for number in range(60)])
    return folder


def end(command: str, *overrides: str, folder: Path, **options: object) -> tuple[int, str]:
    """Runs a command to its end; returns its exit code and its messages."""
    process = start(command, *overrides, folder=folder, **options)
    output, _ = process.communicate(timeout=300)
    return process.returncode, output or ""


def check_message(code: int, output: str, disk: Path) -> None:
    """Checks that a command has ended as it should where a disk is full."""
    assert code == 2, output
    assert "Traceback" not in output
    (line,) = [line for line in output.splitlines() if "No space left on device" in line] or [output]
    assert str(disk) in line
    assert "Make room" in line


def of_model(inputs: Path) -> list[str]:
    return [f"model.path={inputs}/model", f"data.path={inputs}/questions.jsonl", *QUICK]


# For each place: its folder below the project's, the size of the disk, and the command.
PLACES: dict[str, tuple[str, str, Callable[[Path], list[str]]]] = {
    "run folder": ("logs", "4k", lambda _: ["synthesize", *QUICK, "synthesis.num_questions=2"]),
    "synthesize": (
        "artifacts/synthesize",
        "64k",
        lambda _: ["synthesize", *QUICK, "synthesis.num_questions=300"],
    ),
    "corpus and index": ("artifacts/indexes", "16k", lambda _: ["synthesize", *QUICK, "synthesis.num_questions=2"]),
    "ledger": (
        "artifacts/ledgers",
        "4k",
        lambda inputs: [
            "synthesize",
            *QUICK,
            "generator=hf",
            f"generator.model.path={inputs}/model",
            "generator.max_new_tokens=40",
            f"synthesis.prompt_path={inputs}/template.txt",
            "synthesis.num_questions=8",
            "synthesis.max_draws_per_question=1",
        ],
    ),
    "pseudo_label": ("artifacts/pseudo_label", "8k", lambda inputs: ["pseudo_label", *of_model(inputs)]),
    "train": ("artifacts/train", "16k", lambda inputs: ["train", *of_model(inputs), *TRAIN]),
    "evaluate": (
        "artifacts/evaluate",
        "8k",
        lambda inputs: [
            "evaluate",
            *QUICK,
            f"model.path={inputs}/model",
            f"benchmark.path={inputs}/questions.jsonl",
            "protocol.max_new_tokens=4",
        ],
    ),
    "audit": ("artifacts/audit", "8k", lambda inputs: ["audit", f"data.path={inputs}/questions.jsonl", *QUICK]),
    "export": (
        "artifacts/export",
        "8k",
        lambda inputs: [
            "export",
            *of_model(inputs),
            "experiment=tiny_export",
        ],
    ),
    "search": (
        "logs/synthesize/sweeps",
        "32k",
        lambda _: [
            "synthesize",
            "-m",
            *QUICK,
            "hydra/sweeper=search",
            "hydra.sweeper.num_trials=2",
            "synthesis.num_questions=choice(2,3)",
        ],
    ),
    "sweep": (
        "logs/synthesize/sweeps",
        "4k",
        lambda _: ["synthesize", "-m", *QUICK, "synthesis.num_questions=2,3"],
    ),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_full_disk_is_named_with_what_to_do(place, inputs, tmp_path):
    folder, size, arguments = PLACES[place]
    with small_disk(tmp_path / folder, size) as disk:
        code, output = end(*arguments(inputs), folder=tmp_path)
    check_message(code, output, disk)


def test_kept_hashes(tmp_path):
    with (tmp_path / "large.jsonl").open("wb") as stream:
        stream.truncate(64 * 2**20)
    with small_disk(tmp_path / "artifacts" / ".hashes", "4k") as disk:
        fill(disk)
        overrides = [f"seed_questions.path={tmp_path}/large.jsonl", *QUICK]
        check_message(*end("synthesize", *overrides, folder=tmp_path), disk)


def test_the_report(tmp_path):
    write_pipeline_run(tmp_path, "alpha", 0.5, 1)
    with small_disk(tmp_path / "report", "32k") as disk:
        check_message(*end("compare", folder=tmp_path), disk)


def test_the_file_that_the_output_goes_to(tmp_path):
    write_pipeline_run(tmp_path, "alpha", 0.5, 1)
    with small_disk(tmp_path / "disk", "4k") as disk:
        fill(disk)
        with (tmp_path / "errors").open("w") as errors, (disk / "output").open("w") as output:
            code, _ = end("compare", folder=tmp_path, stdout=output, stderr=errors)
    check_message(code, (tmp_path / "errors").read_text(), disk)


def test_the_help_goes_to_a_file(tmp_path):
    with small_disk(tmp_path / "disk", "4k") as disk:
        fill(disk)
        with (tmp_path / "errors").open("w") as errors, (disk / "output").open("w") as output:
            code, _ = end("train", "--help", folder=tmp_path, stdout=output, stderr=errors)
    expected = "standard output: No space left on device. Make room where it goes to, or send it elsewhere.\n"
    assert (code, (tmp_path / "errors").read_text()) == (2, expected)


def train_directory(inputs: Path, root: Path, *overrides: str) -> Path:
    """The folder that a training will have."""
    config = typed("train", f"paths.root_dir={root}", *of_model(inputs), *TRAIN, *overrides)
    return Step("train", config, root / "artifacts").directory


def test_the_trained_model(inputs, tmp_path):
    with small_disk(train_directory(inputs, tmp_path) / "model", "16k") as disk:
        check_message(*end("train", *of_model(inputs), *TRAIN, folder=tmp_path), disk)


@pytest.mark.parametrize(("folder", "name"), [("completions", "tables of completions"), ("wandb", "metrics.csv")])
def test_what_only_watches_a_training_warns_once_and_lets_it_go_on(folder, name, inputs, tmp_path):
    overrides = [*of_model(inputs), *TRAIN, "grpo.num_steps=3", "callbacks.completions.every_num_steps=1"]
    overrides += ["logger=default"] if folder == "wandb" else []
    directory = train_directory(inputs, tmp_path, *overrides)
    with small_disk(directory / folder, "4k") as disk:
        fill(disk)
        code, output = end("train", *overrides, folder=tmp_path, env={"WANDB_MODE": "offline"})
    assert code == 0, output
    assert "Traceback" not in output
    assert len([line for line in output.splitlines() if name in line]) == 1
    assert json.loads((directory / "manifest.json").read_text())["counts"]["num_steps"] == 3


def test_a_full_folder_of_temporary_files_is_not_needed(inputs, tmp_path):
    reward = "+reward.mine={_target_: support.user_rewards.EvenTokens, weight: 1.0}"
    with small_disk(tmp_path / "temporary", "4k") as disk:
        fill(disk)
        overrides = [*of_model(inputs), *TRAIN, reward]
        code, output = end("train", *overrides, folder=tmp_path, env={"TMPDIR": str(disk)})
    assert code == 0, output


def test_a_full_log_file_gives_one_warning(tmp_path):
    with small_disk(tmp_path / "logs", "32k") as disk:
        overrides = [*QUICK, "synthesis.num_questions=2", "force=true"]
        for number in range(100):
            run = disk / "synthesize" / "runs" / f"filler{number}"
            run.mkdir(parents=True, exist_ok=True)
        code, output = end("synthesize", *overrides, folder=tmp_path)
    assert (code, "Traceback" in output) == (0, False), output
