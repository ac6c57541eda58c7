"""Options that speak about other options, and hard ones that do not."""

from __future__ import annotations

import json
from pathlib import Path

_FILE = Path(__file__).parents[1] / "answers" / "option_grid.jsonl"


def option_grid(*, is_about_options: bool) -> list[str]:
    """The texts of the grid of one kind."""
    cells = [json.loads(line) for line in _FILE.read_text(encoding="utf-8").splitlines()]
    return [cell["text"] for cell in cells if cell["is_about_options"] is is_about_options]
