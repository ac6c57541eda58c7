"""The reference of all settings as one YAML file: `python -m medssr.cli.reference FILE` writes it."""

from __future__ import annotations

import sys
from pathlib import Path

from medssr.config.catalog import CONF_DIR
from medssr.errors import USER_FAULT

_HEAD = """\
# Every setting with its default and its comment: first the commands, then each group with its options.
# Written from conf/ by `python -m medssr.cli.reference FILE`.
"""


def config_reference(conf_dir: Path) -> str:
    """Returns all configuration files of a folder as one YAML text, comments kept: roots as `commands`, then groups."""
    lines = [*_HEAD.splitlines(), "commands:", *_indented(_options(conf_dir))]
    for group in sorted(path for path in conf_dir.iterdir() if path.is_dir() and path.name != "local"):
        lines += [f"{group.name}:", *_indented(_options(group))]
    return "\n".join(lines) + "\n"


def write_reference(file: Path) -> None:
    """Writes the reference of `conf/` to a file, whose folder is made where it is not there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(config_reference(CONF_DIR), encoding="utf-8")


def _options(folder: Path) -> list[str]:
    lines = []
    for file in sorted(folder.glob("*.yaml")):
        lines += [f"{file.stem}:", *_indented(file.read_text(encoding="utf-8").splitlines())]
    return lines


def _indented(lines: list[str]) -> list[str]:
    return ["  " + line if line else "" for line in lines]


def main() -> None:
    """Writes the file that the command line names."""
    if len(sys.argv) != 2:
        sys.stderr.write("give the file to write: python -m medssr.cli.reference FILE\n")
        sys.exit(USER_FAULT)
    write_reference(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
