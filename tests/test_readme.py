"""Every command that the README and the studies show can be composed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from medssr.config import register

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "experiments").glob("*/README.md"))]


# Words of a command line that set nothing.
SHOWS = ("...", "--help", "--info", "--cfg", "job")


def shown_commands() -> list[str]:
    commands = []
    for page in PAGES:
        for block in re.findall(r"```\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL):
            lines = block.replace("\\\n", " ").splitlines()
            commands += [line[line.index("medssr-") :] for line in lines if re.match(r"^(\w+=\S+ )*medssr-", line)]
    return sorted(set(commands))


def test_the_pages_show_commands():
    assert len(shown_commands()) >= 8


@pytest.mark.slow
@pytest.mark.parametrize("command", shown_commands())
def test_a_shown_command_composes(command: str):
    name, *overrides = (word for word in shlex.split(command, comments=True) if word not in SHOWS)
    if "-m" in overrides:
        overrides.remove("-m")
        # One job of the sweep: the first value of each list, the lower end of each range.
        overrides = [re.sub(r"^([^=]+=)(?:\w+\()?([^(\[{]*?),.*", r"\1\2", override) for override in overrides]
    if "hydra/launcher=slurm" in overrides:
        pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="pip install --editable '.[slurm]'")
    if name == "medssr-doctor":  # in front of another command's line
        name, *overrides = overrides or ["medssr-pipeline"]
    register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        compose(name.removeprefix("medssr-").replace("-", "_"), overrides)
