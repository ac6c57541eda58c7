"""Cards as the hub reads them: a block of YAML in front of a Markdown text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from medssr.errors import InputError
from medssr.utils.files import open_atomically

CARD_FILE = "README.md"
_FENCE = "---\n"
# Settings that say where and how fast something was made, not what.
_NOT_SHOWN = ("model", "trainer", "callbacks", "rollout", "cost")
# Settings, at any depth, that say by which server of a network, and with whose key, something was made.
_PRIVATE = ("base_url", "api_key_env")


@dataclass(frozen=True, slots=True)
class Card:
    """A card.

    Attributes:
        metadata: The block of YAML, as plain values.
        body: The Markdown below it.
    """

    metadata: dict[str, Any]
    body: str

    @property
    def text(self) -> str:
        """The card as a file has it."""
        block = yaml.safe_dump(self.metadata, sort_keys=False, allow_unicode=True, width=120)
        return f"{_FENCE}{block}{_FENCE}\n{self.body}"


@dataclass(frozen=True, slots=True)
class Making:
    """How an artefact was made, as its manifest says.

    Attributes:
        config: The configuration that decides the result; paths of inputs are None.
        inputs: The SHA-256 of each input by its key.
    """

    config: Mapping[str, Any]
    inputs: Mapping[str, str]


def write_card(folder: Path, card: Card) -> None:
    """Writes a card into the folder that it describes, whole or not at all."""
    with open_atomically(folder / CARD_FILE) as stream:
        stream.write(card.text)


def read_card(folder: Path) -> Card | None:
    """Returns the card of a folder; None where it has none.

    Raises:
        InputError: When the block of YAML is damaged.
    """
    file = folder / CARD_FILE
    if not file.is_file():
        return None
    text = file.read_text(encoding="utf-8")
    if not text.startswith(_FENCE) or f"\n{_FENCE}" not in text[len(_FENCE) :]:
        return Card({}, text)
    block, body = text[len(_FENCE) :].split(f"\n{_FENCE}", 1)
    try:
        metadata = yaml.safe_load(block)
    except yaml.YAMLError as error:
        raise InputError.at(file, f"has no valid YAML between its lines of ---: {error}") from error
    if not isinstance(metadata, dict):
        raise InputError.at(file, "expected name: value between its lines of ---.")
    return Card(metadata, body.lstrip("\n"))


def settings_block(config: Mapping[str, Any]) -> str:
    """Returns the settings that decide what was made, as a block of code in YAML, without null and private ones."""
    shown = {name: _to_show(value) for name, value in config.items() if name not in _NOT_SHOWN}
    kept = {name: value for name, value in shown.items() if value not in (None, {}, [])}
    return code_block(yaml.safe_dump(kept, sort_keys=False, allow_unicode=True, width=120), "yaml")


def _to_show(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _to_show(item) for name, item in value.items() if item is not None and name not in _PRIVATE}
    return [_to_show(item) for item in value] if isinstance(value, list) else value


def inputs_table(inputs: Mapping[str, str]) -> str:
    """Returns a table of what something was made from: the setting that named each file or folder, and its hash."""
    return table(("Setting", "SHA-256 of the file or folder"), ((f"`{key}`", f"`{inputs[key]}`") for key in inputs))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    r"""Returns a table in Markdown.

    Example:
        >>> table(("name", "n"), [("a|b", "1")])
        '| name | n |\n|---|---|\n| a\\|b | 1 |'
    """
    lines = [head, *rows]
    cells = [" | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) for line in lines]
    return "\n".join([f"| {cells[0]} |", f"|{'---|' * len(head)}", *(f"| {line} |" for line in cells[1:])])


def code_block(text: str, language: str = "") -> str:
    """Returns a block of code in Markdown, with a fence that does not occur in the text."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
