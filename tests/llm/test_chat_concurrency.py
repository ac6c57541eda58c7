"""Many calls at a time: their number, their order, and what happens when the caller stops."""

from __future__ import annotations

import threading
import time

from support.chat_clients import ask, records
from support.chat_server import ServerReply


def test_answers_come_in_the_order_of_the_items(server, make_client):
    def answer(prompt, _):
        time.sleep(0.02 if prompt in ("prompt 0", "prompt 5") else 0)
        return ServerReply(prompt)

    server.answer = answer
    client = make_client()
    results = list(client.ask_all(lambda number: ask(client, number).text, range(12)))
    assert results == [(number, f"prompt {number}") for number in range(12)]


def test_as_many_calls_as_allowed_are_under_way_at_a_time(server, make_client):
    together = threading.Barrier(3)

    def answer(prompt, _):
        together.wait(timeout=10)  # Three calls have to wait here at once for any to be answered.
        return ServerReply("fine")

    server.answer = answer
    client = make_client(max_concurrency=3)
    assert all(reply.is_answered for _, reply in client.ask_all(lambda number: ask(client, number), range(9)))


def test_no_more_calls_than_allowed_are_under_way(server, make_client):
    under_way, most = [], []

    def answer(prompt, _):
        under_way.append(prompt)
        most.append(len(under_way))
        time.sleep(0.005)
        under_way.remove(prompt)
        return ServerReply("fine")

    server.answer = answer
    client = make_client(max_concurrency=2)
    list(client.ask_all(lambda number: ask(client, number), range(10)))
    assert max(most) <= 2


def test_items_are_taken_only_as_they_are_needed(make_client):
    taken = []

    def numbers():
        for number in range(1000):
            taken.append(number)
            yield number

    client = make_client(max_concurrency=2)
    results = client.ask_all(lambda number: ask(client, number), numbers())
    next(results)
    assert len(taken) <= 128
    results.close()


def test_when_the_caller_stops_the_calls_under_way_are_recorded_and_no_other_begins(server, make_client, tmp_path):
    client = make_client(max_concurrency=2)
    results = client.ask_all(lambda number: ask(client, number), range(1000))
    next(results)
    results.close()
    answered = [line for line in records(tmp_path) if line["event"] == "reply"]
    assert len(answered) == len(server.calls) < 200
