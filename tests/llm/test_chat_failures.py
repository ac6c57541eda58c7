"""What fails is tried again, and what cannot be put right by that stops the run."""

from __future__ import annotations

import json
import socket
import threading
import time
import traceback

import pytest
from support.chat_clients import ask, records
from support.chat_server import KEY, ServerReply
from support.helpers import typed

from medssr.config.composition import plain
from medssr.errors import InputError
from medssr.llm.chat_client import pause_before_retry
from medssr.tracking.loggers import _provenance

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (ServerReply(status=500), "api_error"),
        (ServerReply(status=429), "api_error"),
        (ServerReply(body=b'{"error": {"message": "the model behind is busy", "code": 503}}'), "api_error"),
        (ServerReply(drops_connection=True), "connection"),
    ],
)
def test_a_failure_is_tried_again_to_the_limit_and_by_the_next_run(server, make_client, tmp_path, reply, outcome):
    server.answer = lambda prompt, _: reply
    failed = ask(make_client(max_retries=1))
    assert (failed.outcome, failed.text, failed.num_attempts, len(failed.failures)) == (outcome, None, 2, 1)
    assert len(server.calls) == 2
    server.answer = lambda prompt, _: ServerReply("fine")
    assert ask(make_client()).text == "fine"
    assert [line["outcome"] for line in records(tmp_path) if line["event"] == "reply"] == [outcome, "answer"]


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_request_that_the_server_does_not_take_is_not_tried_again(server, make_client, status):
    server.answer = lambda prompt, _: ServerReply(status=status)
    reply = ask(make_client())
    assert (reply.outcome, reply.num_attempts, reply.is_answered) == ("invalid_request", 1, False)


def test_failures_of_all_kinds_one_after_the_other_end_in_an_answer(server, make_client):
    faults = [ServerReply(status=429), ServerReply(drops_connection=True), ServerReply(status=503)]
    server.answer = lambda prompt, before: faults[before] if before < 3 else ServerReply("fine")
    reply = ask(make_client(max_retries=3))
    assert (reply.text, reply.num_attempts) == ("fine", 4)


def test_an_answer_that_does_not_come_is_a_timeout(server, make_client):
    release = threading.Event()

    def answer(prompt, _):
        release.wait(timeout=10)
        return ServerReply("late")

    server.answer = answer
    reply = ask(make_client(timeout_s=0.05, max_retries=0))
    release.set()
    assert (reply.outcome, reply.error) == ("timeout", "no whole answer within chat.timeout_s=0.05 seconds")


def test_the_server_s_pause_is_kept_and_ours_grows():
    keys = [f"{number:064x}" for number in range(50)]
    asked = [pause_before_retry(key, 0, 7.0) for key in keys]
    assert min(asked) >= 7.0
    assert max(asked) <= 7.7
    assert len(set(asked)) == 50
    for num_retries, longest in [(0, 0.5), (1, 1.0), (3, 4.0), (60, 30.0)]:
        pauses = [pause_before_retry(key, num_retries, None) for key in keys]
        assert longest / 2 <= min(pauses) < max(pauses) <= longest


def test_retry_after_in_seconds_is_heeded(server, make_client):
    times = []

    def answer(prompt, before):
        times.append(time.monotonic())
        return ServerReply("fine") if before else ServerReply(status=429, headers={"retry-after": "1"})

    server.answer = answer
    assert ask(make_client()).text == "fine"
    assert times[1] - times[0] >= 1


def test_a_very_long_pause_stops_the_run(server, make_client):
    server.answer = lambda prompt, _: ServerReply(status=429, headers={"retry-after": "86400"})
    with pytest.raises(InputError, match="asks to wait 86400 s"):
        ask(make_client())
    assert len(server.calls) == 1


@pytest.mark.parametrize("status", [401, 402, 403, 404])
def test_a_refused_key_or_model_stops_the_run(server, make_client, status):
    server.answer = lambda prompt, _: ServerReply(status=status)
    client = make_client()
    with pytest.raises(InputError, match=rf'model "tiny": HTTP {status}.*put it right') as caught:
        list(client.ask_all(lambda number: ask(client, number), range(200)))
    assert KEY not in str(caught.value)
    assert len(server.calls) <= 8


def test_an_empty_account_stops_the_run(server, make_client):
    server.answer = lambda prompt, _: ServerReply(status=429, error={"code": "insufficient_quota", "message": "empty"})
    with pytest.raises(InputError, match="empty"):
        ask(make_client())
    assert len(server.calls) == 1


def test_a_server_that_fails_call_after_call_stops_the_run(server, make_client):
    ask(make_client(), -1)
    faults = [ServerReply(status=500), ServerReply(status=503), ServerReply(drops_connection=True)]
    server.answer = lambda prompt, _: faults[len(server.calls) % 3]
    client = make_client(max_retries=0)
    with pytest.raises(InputError, match=r"the last 5\d calls failed"):
        list(client.ask_all(lambda number: ask(client, number), range(500)))
    assert len(server.calls) < 60


@pytest.mark.parametrize(
    ("location", "advice"),
    [
        ("/moved/v1/chat/completions", "to go there, set chat.base_url={host}/moved/v1;"),
        (
            "https://elsewhere.invalid/v1/chat/completions",
            "to go there, set chat.base_url=https://elsewhere.invalid/v1;",
        ),
        ("/login", "sends the client to {host}/login, which answers no chat; correct chat.base_url;"),
    ],
)
def test_a_redirect_stops_the_run_and_the_key_stays(server, make_client, location, advice):
    server.answer = lambda prompt, _: ServerReply(status=308, headers={"Location": location})
    client = make_client(max_concurrency=1)
    with pytest.raises(InputError) as caught:
        list(client.ask_all(lambda number: ask(client, number), range(200)))
    assert advice.format(host=server.url.removesuffix("/v1")) in str(caught.value)
    assert len(server.calls) == 1


def test_answers_that_stop_to_be_usable_stop_the_run_which_goes_on_when_the_server_is_well(server, make_client):
    is_well = True
    server.answer = lambda prompt, before: ServerReply("fine") if is_well else ServerReply(body=b"<html>Portal</html>")
    client = make_client(max_concurrency=1)
    ask(client, -1)
    is_well = False
    with pytest.raises(InputError, match=r"none of the last 50 calls gave a usable answer: malformed.*Portal"):
        list(client.ask_all(lambda number: ask(client, number), range(200)))
    assert len(server.calls) == 51
    is_well = True
    client = make_client(max_concurrency=1)
    replies = [reply for _, reply in client.ask_all(lambda number: ask(client, number), range(-1, 60))]
    assert sum(reply.outcome == "answer" for reply in replies) == 11
    assert len(server.calls) == 61


def test_an_address_that_nobody_answers_at_stops_the_run(make_client):
    with socket.socket() as taken, pytest.raises(InputError, match="cannot be reached"):
        taken.bind(("127.0.0.1", 0))  # held, but not listened at
        ask(make_client(max_retries=0, base_url=f"http://127.0.0.1:{taken.getsockname()[1]}/v1"))


def test_a_key_is_in_no_traceback_and_no_configuration_that_is_logged(server, make_client, monkeypatch):
    server.answer = lambda prompt, _: ServerReply(status=401, error=f"Incorrect API key provided: {KEY}.")
    client = make_client()
    with pytest.raises(InputError) as caught:
        ask(client)
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=False).format())
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    config = typed("synthesize", "generator=openai", "generator.model=m", "logger=default")
    logged = json.dumps(plain(config) | _provenance(), default=str)
    assert "OPENAI_API_KEY" in logged
    assert KEY not in shown + logged + repr(client) + repr(config)
