from __future__ import annotations

import pytest

from medssr.utils.console import table_console


@pytest.mark.parametrize(("columns", "least", "width"), [(None, 0, 160), ("80", 0, 80), ("80", 100, 100)])
def test_a_file_has_room_for_tables_and_a_terminal_at_least_what_they_need(monkeypatch, columns, least, width):
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    assert table_console(least).width == width
