from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module

import pytest

from medssr import __version__
from medssr.commands import dispatch


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["/nowhere/medssr", *arguments])
    dispatch.main()


@pytest.mark.parametrize("name", dispatch.COMMANDS)
def test_each_command_is_in_the_help_and_has_a_main(name, monkeypatch, capsys):
    run(monkeypatch, "--help")
    assert f"\n  {name} " in capsys.readouterr().out
    assert callable(import_module(f"medssr.commands.{dispatch.COMMANDS[name][0]}").main)


def test_help_is_shown_without_a_command_and_the_version_is_that_of_the_package(monkeypatch, capsys):
    run(monkeypatch)
    assert capsys.readouterr().out.startswith("medssr COMMAND ...\n")
    run(monkeypatch, "--version")
    assert capsys.readouterr().out == f"medssr {__version__}\n"


def test_a_command_is_its_own_program_with_the_same_words(monkeypatch, tmp_path):
    program = tmp_path / "medssr-pseudo-label"
    program.touch(mode=0o755)
    started = []
    monkeypatch.setattr(os, "execv", lambda *given: started.append(given) or sys.exit(0))
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "medssr"), "pseudo_label", "data.path=Q", "-m"])
    with pytest.raises(SystemExit):
        dispatch.main()
    assert started == [(program, [str(program), "data.path=Q", "-m"])]


def test_a_command_that_there_is_not_is_named_with_the_nearest(monkeypatch, capsys):
    with pytest.raises(SystemExit) as end:
        run(monkeypatch, "trian")
    assert end.value.code == 2
    assert capsys.readouterr().err == "trian: there is no such command. Did you mean train? medssr --help lists them.\n"


def test_help_and_version_import_none_of_the_heavy_packages():
    heavy = ("torch", "hydra", "omegaconf", "transformers", "lightning", "pandas", "rich")
    code = (
        "import sys; sys.argv = ['medssr', '--help']; from medssr.commands import dispatch; dispatch.main();"
        f"sys.exit(any(name in sys.modules for name in {heavy}))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60).returncode == 0


@pytest.mark.slow
def test_hydra_completes_options_for_a_shell(tmp_path):
    line = "medssr-train grpo="
    result = subprocess.run(
        [sys.executable, "-m", "medssr.commands.train", "-sc", "query=bash"],
        env=os.environ | {"COMP_LINE": line, "COMP_POINT": str(len(line))},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.stdout.split() == ["grpo=default", "grpo=large", "grpo=parity"]
