"""Tests that the page for users of TRL and verl names settings that exist, here and in what the exporters write."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from support.command_lines import ROOT
from support.exports import defaults

from medssr.cli.entry import composed
from medssr.exporting.common import SettingsReader
from medssr.exporting.conversations import ExportedPrompts
from medssr.exporting.trl import trl_settings
from medssr.exporting.verl import verl_settings

pytestmark = pytest.mark.slow

PAGE = ROOT / "docs" / "from_trl_and_verl.md"
PROMPTS = ExportedPrompts([[]] * 1024, None, 700, [7, 9], ())


def keys(node: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The keys of a tree, joined by dots, those of its branches as well."""
    for name, value in node.items():
        yield f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from keys(value, f"{prefix}{name}.")


def rows() -> list[list[list[str]]]:
    """The names of each row of the table of settings: ours, TRL's, verl's."""
    table = PAGE.read_text(encoding="utf-8").split("## Settings")[1].split("## ")[0]
    lines = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \|$", table, re.MULTILINE)
    return [[re.findall(r"`([^`]+)`", cell) for cell in line] for line in lines if line[0].startswith("`")]


def test_all_names_exist():
    trl = set(keys(trl_settings(SettingsReader("TRL", "settings", defaults(), defaults()), PROMPTS, "stage", 1)))
    verl = set(keys(verl_settings(SettingsReader("verl", "settings", defaults(), defaults()), PROMPTS, "stage", 1)))
    config = composed("train", ["data.path=unused", "stage=unused"])
    assert len(rows()) > 20
    for ours, theirs, others in rows():
        assert set(theirs) <= trl
        assert set(others) <= verl
        for name in ours:
            node: Any = config
            for part in re.split(r"[./]", name.partition("=")[0]):
                node = node[part] if isinstance(node, Mapping) else getattr(node, part)
