"""The command lines that pages and presets show."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from medssr.config.catalog import CONF_DIR

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "experiments").glob("*/README.md"))]
# Words of a command line that set nothing.
_SHOWS = ("...", "--help", "--info", "--cfg", "job")


def code_blocks(page: Path, language: str = "") -> list[str]:
    """The blocks of a page that name a language; by default those that name none."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return [content for name, content in blocks if name == language]


def page_commands() -> list[str]:
    """The command lines in the blocks of the README, the documentation and the studies."""
    commands = []
    for page in PAGES:
        for block in code_blocks(page):
            lines = block.replace("\\\n", " ").splitlines()
            commands += [line[line.index("medssr-") :] for line in lines if re.match(r"^(\w+=\S+ )*medssr-", line)]
    return sorted(set(commands))


def preset_commands() -> list[tuple[str, str]]:
    """The command lines in the comments of all configuration files, each with the option of the file."""
    return [
        (f"{file.parent.name}={file.stem}", command)
        for file in sorted(CONF_DIR.rglob("*.yaml"))
        for command in re.findall(r"^#\s+(?:Launch: )?(?:\w+=\S+ )*(medssr-.+?)(?:  .*)?$", file.read_text(), re.M)
        if not command.split()[0].endswith(":")
    ]


def split_command(command: str) -> tuple[str, list[str]]:
    """The root and the overrides of a command line: of a sweep, those of one job."""
    name, *overrides = (word for word in shlex.split(command, comments=True) if word not in _SHOWS)
    if "-m" in overrides:
        overrides.remove("-m")
        # The first value of each list, the lower end of each range.
        overrides = [re.sub(r"^([^=]+=)(?:\w+\()?([^(\[{]*?),.*", r"\1\2", override) for override in overrides]
    if name == "medssr-doctor":  # in front of another command's line, or to check artefacts
        name, *overrides = overrides or ["medssr-pipeline"]
        name = "medssr-pipeline" if name == "artifacts" else name
    return name.removeprefix("medssr-").replace("-", "_"), overrides
