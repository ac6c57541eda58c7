"""Tables on standard output."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_WIDTH_OF_FILES = 160  # characters: the widest table of a report fits


def table_console(least_width: int = 0) -> Console:
    """Returns a console for tables, as wide as the terminal; a file or pipe has room for whole tables.

    Args:
        least_width: Characters below which columns would be cut; a narrower terminal breaks the lines itself.
    """
    from rich.console import Console

    width = Console().width if sys.stdout.isatty() or "COLUMNS" in os.environ else _WIDTH_OF_FILES
    return Console(width=max(least_width, width))
