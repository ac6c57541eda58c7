"""The batch script of `medssr slurm`: what it asks of SLURM, and what it does when the command ends."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest
from support.command_lines import ROOT, code_blocks
from support.helpers import typed

from medssr.artifacts import Step
from medssr.commands.checkpoint_settings import write_settings
from medssr.commands.slurm import script
from medssr.errors import InputError

GPUS = ["trainer=ddp", "trainer.devices=4", "grpo.num_prompts_per_step=8", "data.path=my labels.jsonl"]
SERVERS = ["rollout=vllm_node", "rollout.num_servers=2", "rollout.tensor_parallel_size=2"]


def directives(text: str) -> dict[str, str]:
    lines = [line.removeprefix("#SBATCH --") for line in text.splitlines() if line.startswith("#SBATCH ")]
    return dict(line.partition("=")[::2] for line in lines)


@pytest.mark.slow
def test_a_task_and_a_gpu_are_asked_for_each_device_of_the_trainer():
    asked = directives(script(["--time", "12:00:00", "--mem", "200G", "--save-before", "600", "train", *GPUS]))
    assert asked["ntasks-per-node"] == asked["gpus-per-node"] == "4"
    assert asked["nodes"] == "1"
    assert asked["time"] == "12:00:00"
    assert asked["mem"] == "200G"
    assert asked["signal"] == "USR1@600"
    assert asked["output"] == "medssr-train-%j.log"
    assert asked["open-mode"] == "append"
    assert "requeue" in asked
    assert "partition" not in asked


@pytest.mark.slow
def test_engines_of_their_own_have_gpus_and_no_tasks():
    words = ["trainer=gpu", "rollout=vllm_node", "rollout.num_servers=3", "data.path=x"]
    asked = directives(script(["train", *words]))
    assert (asked["ntasks-per-node"], asked["gpus-per-node"]) == ("1", "4")


@pytest.mark.slow
def test_a_command_on_the_cpu_asks_for_no_gpu_unless_it_is_told_to():
    assert "gpus-per-node" not in directives(script(["synthesize"]))
    assert directives(script(["--gpus", "1", "evaluate"]))["gpus-per-node"] == "1"


def test_an_evaluation_of_a_run_asks_for_the_gpus_of_its_engine(tmp_path):
    config = typed("train", f"paths.root_dir={tmp_path}", "rollout=vllm_node", *SERVERS[1:])

    def build(directory: Path) -> dict[str, int]:
        (directory / "model").mkdir()
        write_settings(config, directory)
        return {}

    run = Step("train", config, tmp_path / "artifacts").run(build).directory
    assert directives(script(["evaluate", f"run={run}"]))["gpus-per-node"] == "4"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "Did you mean medssr-train"),
        (["train", "data.path=x", "trainer=gpu", "trainer.devices=-1"], "trainer.devices: means all of the machine"),
        (["--gpus", "2", "train", *GPUS], "--gpus: 2, but trainers and engines use 4"),
        (["train", *GPUS, "force=true"], "force: "),
        (["train", *GPUS, "-m"], "hydra/launcher=slurm"),
        (["train", "data.path=x", "grpo.num_stps=3"], "grpo.num_steps"),
        (["evaluate"], "--gpus: rollout uses the GPUs that there are"),
        (["pseudo-label", "data.path=x", "rollout=vllm_node"], "--gpus: rollout uses"),
        (["synthesize", "generator=tiny_writer"], "--gpus: generator.rollout uses"),
        (["--gpus", "1", "evaluate", *SERVERS], "--gpus: 1, but trainers and engines use 4"),
        (["--cpus", "0", "synthesize"], "--cpus: 0; at least 1"),
        (["--gpus", "-1", "synthesize"], "--gpus: -1; at least 0"),
        (["--name", "a\nb", "synthesize"], "without line breaks"),
        (["--time", "5:00", "synthesize"], "--time: 5:00, but --save-before asks for 300"),
        (["--time", "12h", "synthesize"], "--time: 12h; expected MINUTES"),
    ],
)
def test_what_cannot_run_is_refused_before_it_is_submitted(words, message):
    with pytest.raises(InputError, match=message):
        script(words)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "gpus"),
    [
        (["evaluate", "rollout=vllm"], "1"),
        (["pseudo-label", "data.path=x", *SERVERS], "4"),
        (["synthesize", "generator=vllm", "generator.model.path=x"], "1"),
        (["evaluate", "rollout=vllm_server", "rollout.addresses=[http://localhost:1]"], None),
        (["evaluate", "--gpus", "0"], None),
        (["evaluate", "rollout=vllm", "--gpus", "0"], None),
        (["pseudo-label", "data.path=x", "rollout=vllm_node", "--gpus", "8"], "8"),
    ],
)
def test_engines_without_a_trainer_have_gpus(words, gpus):
    assert directives(script(words)).get("gpus-per-node") == gpus


@pytest.mark.slow
def test_settings_stand_before_and_after_flags_and_names_are_quoted():
    asked = script(["--name", "a b", "synthesize", "seed=1", "--output", "x y.log", "seed=2"])
    assert "#SBATCH --job-name='a b'\n" in asked
    assert "#SBATCH --output='x y.log'\n" in asked
    assert "medssr-synthesize \\\n    seed=1 \\\n    seed=2\n" in asked


def test_a_comparison_takes_folders(tmp_path):
    assert f"""'runs=["{tmp_path}"]'""" in script(["compare", str(tmp_path)])


def run_script(folder: Path, code: int, **environment: str) -> tuple[int, str]:
    """Runs the script with programs that note their words in place of SLURM's; returns its exit code and the notes."""
    for name, end in (("srun", code), ("scontrol", 0)):
        (folder / name).write_text(f'#!/bin/bash\nprintf "%s|" {name} "$@" >> calls\nexit {end}\n')
        (folder / name).chmod(0o755)
    (folder / "job.sh").write_text(script(["train", *GPUS]))
    slurm = {"SLURM_CPUS_PER_TASK": "8", "SLURM_JOB_ID": "77", "PATH": f"{folder}:{os.environ['PATH']}"}
    result = subprocess.run(["bash", "job.sh"], cwd=folder, env=slurm | environment, timeout=60)
    return result.returncode, (folder / "calls").read_text()


@pytest.mark.slow
def test_the_command_gets_its_words_and_the_job_its_exit_code(tmp_path):
    code, calls = run_script(tmp_path, 2)
    assert code == 2
    assert calls.startswith("srun|--kill-on-bad-exit=1|--cpus-per-task=8|")
    assert calls.endswith("medssr-train|" + "|".join(GPUS) + "|")


@pytest.mark.slow
def test_a_job_that_has_saved_its_state_is_queued_again_for_a_number_of_times(tmp_path):
    assert run_script(tmp_path, 138)[1].endswith("scontrol|requeue|77|")
    (tmp_path / "calls").unlink()
    assert "scontrol" not in run_script(tmp_path, 138, SLURM_RESTART_COUNT="20")[1]


@pytest.mark.slow
def test_the_script_of_the_page_can_be_made():
    blocks = [block for block in code_blocks(ROOT / "docs" / "commands.md") if block.startswith("medssr slurm ")]
    (words,) = [shlex.split(block.partition(">")[0]) for block in blocks]
    asked = directives(script(words[2:]))
    assert (asked["ntasks-per-node"], asked["gpus-per-node"], asked["time"]) == ("1", "1", "12:00:00")
