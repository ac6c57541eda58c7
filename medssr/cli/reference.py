"""The reference of all settings, `docs/config_reference.yaml`: `python -m medssr.cli.reference` writes it anew."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
REFERENCE_FILE = ROOT / "docs" / "config_reference.yaml"
_HEAD = """\
# Every setting with its default and its comment: first the commands, then each group with its options.
# Generated from conf/ by `python -m medssr.cli.reference`; change conf/ and run that again.
"""


def config_reference(conf_dir: Path) -> str:
    """Returns all configuration files of a folder as one YAML text, comments kept: roots as `commands`, then groups."""
    lines = [*_HEAD.splitlines(), "commands:", *_indented(_options(conf_dir))]
    for group in sorted(path for path in conf_dir.iterdir() if path.is_dir() and path.name != "local"):
        lines += [f"{group.name}:", *_indented(_options(group))]
    return "\n".join(lines) + "\n"


def _options(folder: Path) -> list[str]:
    lines = []
    for file in sorted(folder.glob("*.yaml")):
        lines += [f"{file.stem}:", *_indented(file.read_text(encoding="utf-8").splitlines())]
    return lines


def _indented(lines: list[str]) -> list[str]:
    return ["  " + line if line else "" for line in lines]


def main() -> None:
    """Writes the file."""
    REFERENCE_FILE.write_text(config_reference(ROOT / "conf"), encoding="utf-8")
    print(REFERENCE_FILE)


if __name__ == "__main__":
    main()
