"""The package: its versions stand in one place, its commands exist, and its wheel works without the checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
COMMANDS = sorted(PROJECT["scripts"])
EXTRAS = PROJECT["optional-dependencies"]
CONSTRAINTS = (ROOT / "constraints.txt").read_text(encoding="utf-8")
NAME_ONLY_FILES = ["tests/engines/requirements.txt", "tests/exporting/requirements.txt"]


def lines_of(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def name_of(requirement: str) -> str:
    (name,) = re.findall(r"^[\w.-]+", requirement)
    return re.sub(r"[-_.]+", "-", name).lower()


def test_conda_users_install_the_same_project_with_the_same_versions():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    (pip,) = [item["pip"] for item in environment["dependencies"] if isinstance(item, dict)]
    assert pip == ["--constraint constraints.txt", "--editable .[dev,docs]"]


def test_the_container_has_the_files_and_the_versions_that_the_package_needs():
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    copied = {word for line in re.findall(r"^COPY (.+) \S+$", text, re.M) for word in line.split()}
    assert all((ROOT / name).exists() for name in copied)
    built = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]["targets"]
    assert {"pyproject.toml", PROJECT["readme"], *built["wheel"]["only-include"]} <= copied
    assert f"!{'|!'.join(sorted(copied))}".split("|") == sorted(
        line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")
    )
    assert "--constraint constraints.txt" in text
    assert f"install --directory --mode=1777 {re.findall(r'^WORKDIR (.+)$', text, re.M)[-1]}\n" in text  # by any user
    (version,) = re.findall(r"^FROM python:(\d+\.\d+)\.\d+-", text, re.M)
    assert PROJECT["requires-python"] == f">={version}"


def test_every_requirement_has_an_exact_version_among_the_constraints():
    versions = {name_of(line) for line in lines_of(CONSTRAINTS)}
    listed = [line for file in NAME_ONLY_FILES for line in lines_of((ROOT / file).read_text(encoding="utf-8"))]
    requirements = [*PROJECT["dependencies"], *(line for extra in EXTRAS.values() for line in extra), *listed]
    assert {name_of(requirement) for requirement in requirements} - versions == set()


def test_only_the_constraints_have_exact_versions():
    assert all(re.fullmatch(r"[a-z0-9-]+==[\w.]+", line) for line in lines_of(CONSTRAINTS))
    for requirement in [*PROJECT["dependencies"], *(line for extra in EXTRAS.values() for line in extra)]:
        assert ">=" in requirement, requirement
        assert "==" not in requirement, requirement
    for file in NAME_ONLY_FILES:
        assert all(re.fullmatch(r"[a-z0-9-]+", line) for line in lines_of((ROOT / file).read_text(encoding="utf-8"))), (
            file
        )


def test_every_command_can_be_loaded():
    commands = {command.name: command for command in entry_points(group="console_scripts")}
    for name in COMMANDS:
        assert callable(commands[name].load())


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of an environment with medssr from its wheel and this environment's other packages."""
    folder = tmp_path_factory.mktemp("installed")
    wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*wheel, "--wheel-dir", str(folder), str(ROOT)], check=True)
    (file,) = folder.glob("medssr-*.whl")
    venv.create(folder / "venv", symlinks=True)
    python = folder / "venv" / "bin" / "python"
    target = Path(sysconfig.get_path("purelib", vars={"base": str(folder / "venv")}))
    # Path files inside the folder that this one names are not read, so the editable medssr stays invisible.
    (target / "tested_environment.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*install, "--ignore-installed", str(file)], check=True)
    return python.parent


def run_installed(installed: Path, folder: Path, *command: str) -> str:
    """Returns what a command of the installed package prints when it is run in a folder."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(
        [installed / command[0], *command[1:]], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.slow
def test_the_installed_package_is_the_one_of_the_wheel(installed: Path, tmp_path: Path):
    code = "import medssr, medssr.config.catalog as c; print(medssr.__path__[0], c.CONF_DIR)"
    package, conf = map(Path, run_installed(installed, tmp_path, "python", "-c", code).split())
    assert package.is_relative_to(installed.parent)
    assert conf == package / "conf"
    assert (package / "py.typed").is_file()
    assert not (conf / "local" / "default.yaml").exists()


@pytest.mark.slow
def test_every_installed_command_helps(installed: Path, tmp_path: Path):
    for name in COMMANDS:
        assert name in run_installed(installed, tmp_path, name, "--help")


@pytest.mark.slow
def test_installed_commands_compose(installed: Path, tmp_path: Path):
    config = yaml.safe_load(run_installed(installed, tmp_path, "medssr-train", "data.path=q.jsonl", "--cfg", "job"))
    assert config["data"]["path"] == "q.jsonl"
    assert "completions" in run_installed(installed, tmp_path, "medssr-pipeline", "debug=quick", "--info")
    searched = run_installed(installed, tmp_path, "medssr-train", "data.path=q.jsonl", "--info", "plugins")
    assert "ResumableSweeper" in searched
