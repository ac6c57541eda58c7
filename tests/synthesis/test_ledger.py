from __future__ import annotations

import json
import threading
from dataclasses import asdict, replace

import pytest

from medssr.errors import InputError
from medssr.synthesis.ledger import Ledger, LedgerEntry

ENTRY = LedgerEntry("k", 3, 0, "response", "Text\nwith é \u2028 \ud800", None, 10, 20, 0.5)


def test_an_entry_comes_back_from_disk(tmp_path):
    path = tmp_path / "folder" / "ledger.jsonl"
    Ledger(path).append(ENTRY)
    again = Ledger(path)
    assert again.answer("k") == ENTRY
    assert again.answer("other") is None
    assert len(again) == 1


def test_an_entry_is_in_the_file_when_append_returns(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append(ENTRY)
    assert json.loads(ledger.path.read_text()) == asdict(ENTRY)
    assert ledger.answer("k") == ENTRY


def test_an_error_is_kept_but_is_no_answer(tmp_path):
    path = tmp_path / "ledger.jsonl"
    failed = replace(ENTRY, outcome="timeout", response=None, error="no answer within 3 s")
    Ledger(path).append(failed)
    ledger = Ledger(path)
    assert ledger.answer("k") is None
    ledger.append(ENTRY)
    assert Ledger(path).answer("k") == ENTRY
    assert len(path.read_text().splitlines()) == 2


def test_opening_a_ledger_that_is_not_there_makes_no_file(tmp_path):
    assert len(Ledger(tmp_path / "ledger.jsonl")) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_torn_last_line_is_dropped_wherever_it_was_torn(tmp_path):
    path = tmp_path / "ledger.jsonl"
    first = (json.dumps(asdict(ENTRY)) + "\n").encode()
    second = (json.dumps(asdict(replace(ENTRY, key="k2"))) + "\n").encode()
    for cut in range(1, len(second)):
        path.write_bytes(first + second[:cut])
        ledger = Ledger(path)
        assert ledger.answer("k") == ENTRY
        assert ledger.answer("k2") is None
        ledger.append(replace(ENTRY, key="k3"))
        again = Ledger(path)
        assert (len(again), again.answer("k3") is not None) == (2, True)


@pytest.mark.parametrize("line", ["{broken", "[1]", '{"key": "k"}'])
def test_another_broken_line_is_an_error_that_names_it(tmp_path, line):
    path = tmp_path / "ledger.jsonl"
    path.write_text(f"{line}\n{json.dumps(asdict(ENTRY))}\n")
    with pytest.raises(InputError, match=r"ledger\.jsonl, line 1: is no ledger entry"):
        Ledger(path)


def test_threads_and_ledgers_share_a_file_without_mixing_lines(tmp_path):
    path = tmp_path / "ledger.jsonl"
    ledgers = [Ledger(path), Ledger(path)]

    def work(number: int) -> None:
        for step in range(10):
            ledgers[number % 2].append(replace(ENTRY, key=f"{number}-{step}", response="x" * 5_000))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(Ledger(path)) == 40
