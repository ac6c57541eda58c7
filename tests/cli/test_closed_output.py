"""Commands whose output nobody reads to its end, as behind `| head`."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import ROOT
from support.studies import write_pipeline_run

from medssr.cli.closed_output import NOBODY_READS
from medssr.config import SCHEMAS
from medssr.errors import USER_FAULT

pytestmark = pytest.mark.slow

WITH_INFO = ("pipeline", "train")
LINES = [
    *(f"{command} --help" for command in [*sorted(SCHEMAS), "doctor.command"]),
    *(f"{command} --info{' data.path=missing.jsonl' * (command == 'train')}" for command in WITH_INFO),
    "pipeline --cfg job",
    "pipeline --hydra-help",
    "doctor.command",
]


def arguments_of(line: str) -> list[str]:
    command, *arguments = line.split()
    return [sys.executable, "-m", f"medssr.commands.{command}", *arguments]


def environment(folder: Path) -> dict[str, str]:
    return os.environ | {"MEDSSR_ROOT": str(folder), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def run_unread(line: str, folder: Path, *, has_stderr: bool = True) -> tuple[int, str]:
    """Runs a command whose output has lost its reader before it starts; returns its exit code and its messages."""
    reader, writer = os.pipe()
    os.close(reader)
    errors = subprocess.PIPE if has_stderr else writer
    done = subprocess.run(
        arguments_of(line), stdout=writer, stderr=errors, text=True, cwd=folder, env=environment(folder), timeout=300
    )
    os.close(writer)
    return done.returncode, done.stderr or ""


@pytest.mark.parametrize("line", LINES)
def test_a_command_that_prints_to_nobody_ends_quietly(line, tmp_path):
    assert run_unread(line, tmp_path) == (NOBODY_READS, "")


def test_what_hydra_logs_to_nobody_is_dropped_quietly(tmp_path):
    assert run_unread("pipeline --info defaults", tmp_path) in ((0, ""), (NOBODY_READS, ""))


def test_a_report_that_nobody_reads_is_written(tmp_path):
    write_pipeline_run(tmp_path, "alpha", 0.5, 1)
    code, messages = run_unread("compare", tmp_path)
    assert (code, "Traceback" in messages) == (NOBODY_READS, False)
    assert (tmp_path / "report" / "index.html").is_file()


@pytest.mark.parametrize("line", ["pipeline no.such=1", "train --nonsense", "doctor.command nonsense", "compare"])
def test_messages_to_nobody_end_quietly_too(line, tmp_path):
    code, _ = run_unread(line, tmp_path, has_stderr=False)
    assert code in (USER_FAULT, NOBODY_READS)  # what is logged is dropped


def test_head_ends_a_command_without_a_word(tmp_path):
    command = " ".join(arguments_of("pipeline --help"))
    script = f'{command} | head -1; echo "code ${{PIPESTATUS[0]}}"'
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path, env=environment(tmp_path), timeout=300
    )
    assert done.stderr == ""
    first, code = done.stdout.splitlines()
    assert first.startswith("medssr-pipeline")
    assert code in ("code 0", f"code {NOBODY_READS}")  # 0 where all was written before head left


def test_a_step_that_prints_nothing_needs_no_reader(tmp_path):
    code, messages = run_unread("synthesize synthesis.num_questions=2 extras.progress_bar=false", tmp_path)
    assert code == 0, messages
    assert "made " in messages


def test_a_command_that_starts_with_a_closed_output_ends_as_others_do(tmp_path):
    """A daemon closes its outputs, and Python has no streams then."""
    command = [sys.executable, "-m", "medssr.commands.synthesize", "synthesis.num_questions=2"]
    for closed in (">&-", ">&- 2>&-"):
        shell = ["sh", "-c", f"exec {shlex.join(command)} {closed}"]
        environment = os.environ | {"MEDSSR_ROOT": str(tmp_path / "project")}
        done = subprocess.run(
            shell, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True, timeout=300, check=False
        )
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
def test_a_full_disk_under_both_outputs_ends_no_work(tmp_path):
    program = (
        "import logging\n"
        "from medssr.cli.log_errors import let_log_lines_fail\n"
        "let_log_lines_fail()\n"
        "logging.basicConfig(level=logging.INFO)\n"
        "logging.info('a line')\n"
        f"open({str(tmp_path / 'went_on')!r}, 'w').close()\n"
    )
    with Path("/dev/full").open("w") as full:
        subprocess.run([sys.executable, "-c", program], stdout=full, stderr=full, timeout=60, check=False)
    assert (tmp_path / "went_on").exists()
