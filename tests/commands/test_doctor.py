"""Tests medssr-doctor: the checks of a command, and the exit codes."""

from __future__ import annotations

import sys

import pytest
from huggingface_hub import constants
from support.commands import run_program
from support.helpers import toy_question, typed
from support.made import flip_a_bit, make

from medssr.commands.doctor import measure
from medssr.commands.doctor.command import command_of, findings, main
from medssr.commands.doctor.findings import State
from medssr.errors import InputError
from medssr.models.hardware import measured_hardware
from medssr.questions import write_questions

pytestmark = pytest.mark.slow

SUBJECTS = ["Python", "packages", "GPU", "memory", "disk", "processes", "threads", "W&B", "vLLM", "model"]


@pytest.fixture
def doctor(tmp_path, monkeypatch, capsys):
    """Runs the command and returns its exit code and what it printed."""
    monkeypatch.setenv("MEDSSR_ROOT", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["medssr-doctor", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), "".join(capsys.readouterr())

    return run


def test_the_demo_can_run_here(doctor):
    code, printed = doctor()
    assert code == 0
    assert "medssr-pipeline can run here" in printed
    for subject in SUBJECTS:
        assert subject in printed


def test_what_a_command_lacks_is_named_with_a_remedy(doctor, tmp_path):
    write_questions(tmp_path / "questions.jsonl", [toy_question()])
    line = ["medssr-train", "model=qwen3_30b_a3b_base", "rollout=vllm", f"data.path={tmp_path}/questions.jsonl"]
    code, printed = doctor(*line)
    assert code == 1
    assert "medssr-train: " in printed
    assert "model=local" in printed


def test_artefacts_are_checked(doctor, tmp_path):
    code, printed = doctor("artifacts")
    assert (code, "0 as they were made" in printed) == (0, True)
    made = make(tmp_path / "artifacts")
    flip_a_bit(made.path("questions.jsonl"))
    code, printed = doctor("artifacts")
    assert code == 1
    assert "artefacts: 1 damaged" in printed
    assert doctor("artifacts", f"paths.artifact_dir={tmp_path}/elsewhere")[0] == 0
    assert doctor("artifacts", "paths.artefact_dir=x")[0] == 2


@pytest.mark.parametrize("command", ["evaluate", "compare", "retrieve", "synthesize", "audit", "export", "sft"])
def test_every_command_can_be_checked(command):
    results = findings(typed(command))
    assert all(result.remedy for result in results if result.state is not State.fine)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["medssr-trian"], "Did you mean medssr-train?"),
        (["medssr-train", "grpo.num_step=3"], "Did you mean grpo.num_steps?"),
        (["medssr-train"], "data.path: has no default"),
        (["grpo=larg"], "Did you mean large?"),
    ],
)
def test_a_wrong_line_ends_with_2(doctor, line, message):
    code, printed = doctor(*line)
    assert code == 2
    assert message in printed


def test_the_command_is_the_first_word():
    assert command_of(["sft", "seed=1"]) == ("sft", ["seed=1"])
    assert command_of(["seed=1"]) == ("pipeline", ["seed=1"])
    with pytest.raises(InputError):
        command_of(["--now"])


def test_help_loads_nothing():
    program = (
        "import sys; sys.argv = ['medssr-doctor', '--help']; from medssr.commands.doctor.command import main; main(); "
        "print(sorted({'torch', 'transformers', 'lightning', 'numpy'} & sys.modules.keys()))"
    )
    output = run_program(program)
    assert "medssr-doctor COMMAND SETTINGS" in output
    assert output.splitlines()[-1] == "[]"


def test_the_machine_is_measured_for_the_forecasts(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(measure, "_ROWS", {"cuda": 64, "cpu": 64})
    monkeypatch.setattr(measure, "_COPIED_BYTES", {"cuda": 4096, "cpu": 4096})
    monkeypatch.setattr(measure, "_SECONDS_PER_NUMBER", 0.0)
    monkeypatch.setattr(sys, "argv", ["medssr-doctor", "--measure", f"paths.artifact_dir={tmp_path}"])
    main()
    hardware = measured_hardware(tmp_path)
    assert hardware is not None
    numbers = (hardware.float32_flops, hardware.bfloat16_flops, hardware.bytes_per_second)
    assert min(numbers) > 0
    printed = capsys.readouterr().out
    assert hardware.name in printed
    assert f"wrote {tmp_path}/hardware.json" in printed
