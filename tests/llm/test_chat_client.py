"""A call of the client: what it sends, what comes back, and what is in the ledger."""

from __future__ import annotations

import json

import pytest
from support.chat_clients import PRICES, ask, records
from support.chat_server import KEY, ServerReply

from medssr.errors import InputError
from medssr.llm.budget import Budget

SCHEMA = {"title": "verdict", "type": "object", "properties": {}}


def test_a_reply_says_what_was_answered_and_what_it_took(make_client):
    reply = ask(make_client(prices=PRICES))
    assert (reply.outcome, reply.text, reply.error) == ("answer", "answer to prompt 0", None)
    assert (reply.prompt_tokens, reply.completion_tokens, reply.dollars) == (11, 7, 25.0)
    assert (reply.purpose, reply.model, reply.num_attempts, reply.failures) == (["test", 0], "tiny", 1, [])
    assert 0 <= reply.latency_s < 5


def test_the_call_holds_the_messages_and_the_sampling_parameters(server, make_client):
    ask(make_client())
    (call,) = server.calls
    assert call == {
        "model": "tiny",
        "messages": [{"role": "user", "content": "prompt 0"}],
        "temperature": 0.7,
        "max_tokens": 256,
        "seed": 5,
    }
    assert server.keys == [f"Bearer {KEY}"]


def test_a_server_without_a_key_needs_none(server, make_client):
    assert ask(make_client(api_key_env=None)).is_answered
    assert server.keys == [None]


def test_every_attempt_and_every_reply_is_in_the_ledger(server, make_client, tmp_path):
    server.answer = lambda prompt, before: ServerReply(status=500) if before == 0 else ServerReply("fine")
    reply = ask(make_client())
    first, second, last = records(tmp_path)
    assert [(line["event"], line["key"], line["attempt"]) for line in (first, second)] == [
        ("sent", reply.key, 0),
        ("sent", reply.key, 1),
    ]
    assert (last["event"], last["key"], last["text"], last["num_attempts"]) == ("reply", reply.key, "fine", 2)
    assert last["failures"] == ["HTTP 500: fault with key ***"]


def test_what_is_in_the_ledger_is_not_asked_again(server, make_client):
    client = make_client()
    first = ask(client)
    assert ask(client) == ask(make_client()) == first
    assert len(server.calls) == 1


@pytest.mark.parametrize("changes", [{"model": "other"}, {"temperature": 0.1}, {"max_tokens": 9}])
def test_other_sampling_is_another_call(server, make_client, changes):
    ask(make_client())
    ask(make_client(**changes))
    assert len(server.calls) == 2


@pytest.mark.parametrize(
    ("purpose", "content", "seed", "schema"),
    [
        (["judge", 0], "prompt 0", 5, None),
        (["test", 0], "other", 5, None),
        (["test", 0], "prompt 0", 6, None),
        (["test", 0], "prompt 0", 5, SCHEMA),
    ],
)
def test_another_purpose_conversation_seed_or_schema_is_another_call(
    server, make_client, purpose, content, seed, schema
):
    client = make_client()
    ask(client)
    client.ask(purpose, [{"role": "user", "content": content}], seed, schema)
    assert len(server.calls) == 2


@pytest.mark.parametrize(
    "changes",
    [{"max_concurrency": 9}, {"timeout_s": 9.0}, {"max_retries": 9}, {"prices": PRICES}, {"budget": Budget(None, 999)}],
)
def test_pace_and_money_do_not_change_the_call(server, make_client, changes):
    ask(make_client())
    ask(make_client(**changes))
    assert len(server.calls) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (ServerReply(refusal="I will not."), "refusal"),
        (ServerReply("No.", finish="content_filter"), "refusal"),
        (ServerReply(status=400, error={"code": "content_filter", "message": "filtered"}), "refusal"),
        (ServerReply("{", finish="length"), "truncated"),
        (ServerReply(""), "empty_response"),
        (ServerReply(None), "empty_response"),
        (ServerReply(body=b"<html>"), "malformed_response"),
        (ServerReply(body=b"[]"), "malformed_response"),
        (ServerReply(body=b'{"choices": [], "error": null}'), "malformed_response"),
        (ServerReply(["a", "list"]), "malformed_response"),
    ],
)
def test_an_answer_that_holds_no_text_is_an_outcome_and_is_not_asked_again(server, make_client, reply, outcome):
    server.answer = lambda prompt, _: reply
    assert ask(make_client()).outcome == ask(make_client()).outcome == outcome
    assert len(server.calls) == 1


def test_a_key_that_is_not_set_is_named(make_client):
    with pytest.raises(InputError, match="NO_SUCH_KEY is not set"):
        make_client(api_key_env="NO_SUCH_KEY")


def test_a_key_that_is_none_is_named_and_not_shown(make_client, monkeypatch):
    for value in ("sk-ä", "sk-\x01", "  "):
        monkeypatch.setenv("TEST_API_KEY", value)
        with pytest.raises(InputError, match=r"TEST_API_KEY (holds no key|is not set)") as caught:
            make_client()
        assert "sk-" not in str(caught.value)
    monkeypatch.setenv("TEST_API_KEY", f" {KEY}\n")  # as from a file
    assert ask(make_client()).is_answered


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base_url": "localhost:8000"}, "localhost:8000"),
        ({"base_url": "http://"}, "is no address"),
        ({"base_url": "http://me:sk-1@localhost"}, "holds credentials"),
        ({"max_concurrency": 0}, "max_concurrency: 0; at least 1"),
        ({"max_retries": -1}, "max_retries: -1"),
        ({"timeout_s": 0}, "timeout_s: 0; above 0"),
    ],
)
def test_settings_out_of_range_are_named(make_client, changes, message):
    with pytest.raises(InputError, match=message) as caught:
        make_client(**changes)
    assert "sk-1" not in str(caught.value)


ECHOES = [
    ServerReply(status=400),
    ServerReply(status=500),
    ServerReply(status=502, error=f"upstream said: Authorization: Bearer {KEY}"),
    ServerReply(status=400, error={"message": "x" * 490 + f" {KEY}"}),  # the message is cut within the key
    ServerReply(body=f"<html>Authorization: Bearer {KEY}</html>".encode()),
    ServerReply(body=json.dumps({"error": {"message": f"no key {KEY}"}}).encode()),
    ServerReply(status=422, body=json.dumps({"detail": [{"loc": ["header"], "msg": f"bad {KEY}"}]}).encode()),
]


@pytest.mark.parametrize("echo", ECHOES)
def test_a_key_that_a_server_repeats_is_in_no_file_and_no_message(server, make_client, tmp_path, caplog, echo):
    server.answer = lambda prompt, _: echo
    with caplog.at_level("DEBUG"):
        reply = ask(make_client(max_retries=1))
    assert KEY[:6] not in (tmp_path / "chat.jsonl").read_text() + caplog.text + repr(reply)


def test_what_the_model_writes_is_never_changed(server, make_client, monkeypatch):
    for key in ("pain", "neuropathic", "sk-very-secret-1234"):
        monkeypatch.setenv("TEST_API_KEY", key)
        server.answer = lambda prompt, _, key=key: ServerReply(f"neuropathic pain, {key}")
        assert ask(make_client(model=key)).text == f"neuropathic pain, {key}"


def test_a_word_that_is_the_key_of_a_local_server_stays_in_errors(server, make_client, monkeypatch):
    monkeypatch.setenv("TEST_API_KEY", "pain")
    server.answer = lambda prompt, _: ServerReply(status=400, error="Bearer pain: neuropathic pain")
    assert ask(make_client()).error == "HTTP 400: Bearer ***: neuropathic pain"


def test_a_key_in_place_of_the_name_of_its_variable_is_refused_and_not_shown(make_client):
    with pytest.raises(InputError, match="api_key_env: is not the name of an environment variable") as caught:
        make_client(api_key_env="sk-proj-123456")
    assert "123456" not in str(caught.value)


def test_the_schema_goes_to_servers_that_take_it(server, make_client):
    ask(make_client(), schema=SCHEMA)
    (call,) = server.calls
    form = {"name": "verdict", "strict": True, "schema": SCHEMA}
    assert call["response_format"] == {"type": "json_schema", "json_schema": form}


def test_a_server_that_knows_no_schemas_is_asked_without(server, make_client, tmp_path):
    def answer(prompt, _):
        return ServerReply(status=400) if "response_format" in server.calls[-1] else ServerReply("fine")

    server.answer = answer
    client = make_client(max_retries=0)
    first = ask(client, schema=SCHEMA)
    assert (first.text, first.num_attempts) == ("fine", 2)
    assert ask(client, 1, schema=SCHEMA).num_attempts == 1
    assert ask(make_client(), schema=SCHEMA) == first
    assert len(server.calls) == 3


def test_a_request_with_another_fault_does_not_turn_schemas_off(server, make_client):
    server.answer = lambda prompt, _: ServerReply(status=400) if prompt == "prompt 0" else ServerReply("fine")
    client = make_client()
    assert ask(client, schema=SCHEMA).outcome == "invalid_request"
    ask(client, 1, schema=SCHEMA)
    assert "response_format" in server.calls[-1]
