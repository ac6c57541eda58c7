from __future__ import annotations

import errno
import fcntl
import json
import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, replace

import pytest

from medssr.errors import InputError
from medssr.llm.budget import Cost
from medssr.llm.ledger import Ledger, Reply


def key(name: str) -> str:
    return name.encode().hex().rjust(64, "0")


REPLY = Reply(
    key=key("k"),
    purpose=["synthesis", 3, 0],
    model="tiny",
    prompt_sha256="p",
    settings_sha256="s",
    seed=5,
    outcome="answer",
    text="Text\nwith é \u2028",
    error=None,
    prompt_tokens=10,
    completion_tokens=20,
    is_estimated=False,
    dollars=0.01,
    num_attempts=2,
    failures=["HTTP 500: out of order"],
    latency_s=0.5,
)
FAILED = replace(REPLY, outcome="timeout", text=None, error="no answer within 3 s")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "ledger.jsonl"


def records(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def lines_of(tmp_path, *replies: Reply) -> list[bytes]:
    ledger = Ledger(tmp_path / "model.jsonl")
    for reply in replies:
        ledger.append(reply)
    return ledger.path.read_bytes().splitlines(keepends=True)


def test_a_reply_comes_back_from_disk(path):
    Ledger(path).append(REPLY)
    again = Ledger(path)
    assert again.find(key("k")) == REPLY
    assert again.find(key("other")) is None
    assert len(again) == 1


def test_a_reply_is_in_the_file_and_known_when_append_returns(path):
    ledger = Ledger(path)
    ledger.append(REPLY)
    (record,) = records(path)
    assert record == {"event": "reply", "time": record["time"]} | asdict(REPLY)
    assert ledger.find(key("k")) == REPLY


def test_what_is_sent_is_in_the_file_before_there_is_a_reply(path):
    ledger = Ledger(path)
    ledger.note_sent(key("k"), 0)
    ledger.note_sent(key("k"), 1)
    assert [(record["event"], record["attempt"]) for record in records(path)] == [("sent", 0), ("sent", 1)]
    assert Ledger(path).find(key("k")) is None


def test_a_failure_is_kept_but_is_no_answer(path):
    Ledger(path).append(FAILED)
    ledger = Ledger(path)
    assert ledger.find(key("k")) is None
    ledger.append(REPLY)
    assert Ledger(path).find(key("k")) == REPLY
    assert [record["outcome"] for record in records(path)] == ["timeout", "answer"]


def test_failures_that_may_pass_are_told_from_those_that_will_not():
    assert FAILED.is_transient
    assert not replace(FAILED, outcome="invalid_request").is_transient
    assert not REPLY.is_transient


def test_a_refusal_is_an_answer(path):
    refused = replace(REPLY, outcome="refusal", text="I will not.")
    Ledger(path).append(refused)
    assert Ledger(path).find(key("k")) == refused


def test_opening_a_ledger_that_is_not_there_makes_no_file(path):
    ledger = Ledger(path)
    assert ledger.find(key("k")) is None
    assert list(path.parent.parent.iterdir()) == []


def test_a_lock_that_another_process_never_gives_back_is_an_error(path, monkeypatch):
    ledger = Ledger(path)
    ledger.append(REPLY)
    monkeypatch.setattr("medssr.llm.ledger._LONGEST_LOCK_S", 0.05)
    with path.open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(InputError, match=r"ledger\.jsonl: has been locked by another process for 0\.05 s"):
            ledger.append(FAILED)
    ledger.append(FAILED)
    assert [record["outcome"] for record in records(path)] == ["answer", "timeout"]


@pytest.mark.slow
def test_a_torn_last_line_is_dropped_wherever_it_was_torn(path, tmp_path):
    first, second = lines_of(tmp_path, REPLY, replace(REPLY, key=key("k2")))
    path.parent.mkdir()
    for cut in range(1, len(second)):
        path.write_bytes(first + second[:cut])
        with closing(Ledger(path)) as ledger:
            assert ledger.find(key("k")) == REPLY
            assert ledger.find(key("k2")) is None
            ledger.append(replace(REPLY, key=key("k3")))
        with closing(Ledger(path)) as again:
            assert (len(again), again.find(key("k3")) is not None) == (2, True)


def test_a_line_torn_by_another_process_does_not_swallow_the_next(path):
    ledger = Ledger(path)
    ledger.append(REPLY)
    with path.open("ab") as other:
        other.write(b'{"event": "reply", "ke')
    ledger.append(replace(REPLY, key=key("k2")))
    assert len(Ledger(path)) == 2


def changed(**values):
    return json.dumps({"event": "reply"} | asdict(REPLY) | values)


@pytest.mark.parametrize(
    "line",
    [
        *("{broken", "[1]", '{"key": "k"}', '{"event": "reply", "key": "00"}', "1", "\0\0\0", "[" * 100_000),
        *(changed(key="no hash"), changed(key=None), changed(prompt_tokens="many"), changed(dollars=[1])),
    ],
    ids=range(11),
)
def test_another_broken_line_is_an_error_that_names_it(path, tmp_path, line):
    first, second = lines_of(tmp_path, REPLY, replace(REPLY, key=key("k2")))
    path.parent.mkdir()
    path.write_bytes(first + line.encode() + b"\n" + second)
    with pytest.raises(InputError, match=r"ledger\.jsonl, line 2: is no ledger entry"):
        Ledger(path)


def test_two_open_ledgers_see_what_the_other_adds(path):
    one, other = Ledger(path), Ledger(path)
    one.append(REPLY)
    assert other.find(key("k")) == REPLY
    other.append(replace(REPLY, key=key("k2"), text="other"))
    one.note_sent(key("k3"), 0)
    reply = one.find(key("k2"))
    assert reply is not None
    assert reply.text == "other"


def test_what_was_spent_is_known_to_all_who_share_the_file(path):
    one, other = Ledger(path), Ledger(path)
    assert one.spent("tiny") == (Cost(), None)
    one.append(REPLY)
    other.append(replace(REPLY, key=key("k2"), dollars=0.04, prompt_tokens=1))
    other.append(replace(REPLY, key=key("k3"), model="large", dollars=None))
    other.append(replace(FAILED, key=key("k4")))
    for ledger in (one, other, Ledger(path)):
        spent, dearest = ledger.spent("tiny")
        assert (spent.tokens, round(spent.dollars, 6)) == (81, 0.05)
        assert dearest == Cost(30, 0.04)


def append_many(path, name: str) -> None:
    ledger = Ledger(path)

    def work(number: int) -> None:
        for step in range(10):
            ledger.note_sent(key(f"{name}-{number}-{step}"), 0)
            ledger.append(replace(REPLY, key=key(f"{name}-{number}-{step}"), text=f"{number} {step}" + "x" * 20_000))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.slow
def test_threads_and_processes_share_a_file_without_mixing_lines(path):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=append_many, args=(path, name)) for name in "ab"]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert len(records(path)) == 160
    ledger = Ledger(path)
    assert len(ledger) == 80
    reply = ledger.find(key("b-3-7"))
    assert reply is not None
    assert reply.text is not None
    assert reply.text.startswith("3 7x")


def test_a_full_disk_is_told_to_every_thread_that_wants_to_write():
    ledger = Ledger("/dev/full")
    all_are_there = threading.Barrier(8)

    def append(name: str) -> None:
        all_are_there.wait()
        ledger.append(replace(REPLY, key=key(name)))

    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(append, name) for name in "abcdefgh"]
    assert [future.exception().errno for future in futures] == [errno.ENOSPC] * 8
    assert len(ledger) == 0
