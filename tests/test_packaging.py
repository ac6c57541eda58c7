"""The lists of packages agree, and the commands exist."""

from __future__ import annotations

import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_conda_users_get_the_packages_of_pyproject():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    (pip,) = [item["pip"] for item in environment["dependencies"] if isinstance(item, dict)]
    expected = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]
    assert sorted(pip) == sorted([*expected, "--editable ."])


def test_every_package_is_pinned():
    for requirement in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]:
        assert "==" in requirement, requirement


def test_every_command_can_be_loaded():
    commands = {command.name: command for command in entry_points(group="console_scripts")}
    for name in PROJECT["scripts"]:
        assert callable(commands[name].load())
