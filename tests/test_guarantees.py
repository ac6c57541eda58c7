"""Each promise of docs/guarantees.md names tests that are there."""

from __future__ import annotations

import re

from support.commands import ROOT

TESTS = ROOT / "tests"


def test_every_promise_names_its_tests():
    rows = [
        row
        for row in (ROOT / "docs/guarantees.md").read_text(encoding="utf-8").splitlines()
        if row.startswith("| ") and not row.startswith("| promise")
    ]
    assert len(rows) > 20
    for row in rows:
        names = re.findall(r"`([\w/]+\.py)::(\w+)`", row)
        assert names, row
        for file, test in names:
            assert re.search(rf"^ *def {test}\(", (TESTS / file).read_text(encoding="utf-8"), re.MULTILINE), test
