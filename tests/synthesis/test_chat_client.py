"""The client against a real server on this machine that speaks the chat-completions protocol."""

from __future__ import annotations

import json
import socket
import threading
import time

import pytest
from chat_server import KEY, NO_BUDGET, NO_PRICES, ServerReply, running_server

from medssr.errors import InputError
from medssr.synthesis.budget import Budget, BudgetError, Prices
from medssr.synthesis.chat_client import ChatClient, pause_before_retry
from medssr.synthesis.chat_settings import ChatSettings

SCHEMA = {"title": "verdict", "type": "object", "properties": {}}
PRICES = Prices(prompt=1e6, completion=2e6)  # one and two dollars a token


@pytest.fixture
def server():
    with running_server() as server:
        server.answer = lambda prompt, _: ServerReply(f"answer to {prompt}")
        yield server


@pytest.fixture
def make(server, tmp_path, monkeypatch):
    monkeypatch.setenv("TEST_API_KEY", KEY)
    clients = []

    def build(**changes) -> ChatClient:
        fields = {
            "base_url": server.url,
            "model": "tiny",
            "api_key_env": "TEST_API_KEY",
            "temperature": 0.7,
            "max_tokens": 256,
            "max_concurrency": 4,
            "timeout_s": 5.0,
            "max_retries": 3,
            "prices": NO_PRICES,
            "budget": NO_BUDGET,
            "ledger_dir": tmp_path,
        }
        clients.append(ChatClient(ChatSettings(**(fields | changes)), "chat.jsonl"))
        return clients[-1]

    yield build
    for client in clients:
        client.close()


def ask(client: ChatClient, number: int = 0, **arguments):
    messages = [{"role": "user", "content": f"prompt {number}"}]
    return client.ask(["test", number], messages, seed=5, **arguments)


def records(tmp_path) -> list[dict]:
    return [json.loads(line) for line in (tmp_path / "chat.jsonl").read_text().splitlines()]


def test_a_reply_says_what_was_answered_and_what_it_took(make):
    reply = ask(make(prices=PRICES))
    assert (reply.outcome, reply.text, reply.error) == ("answer", "answer to prompt 0", None)
    assert (reply.prompt_tokens, reply.completion_tokens, reply.dollars) == (11, 7, 25.0)
    assert (reply.purpose, reply.model, reply.num_attempts, reply.failures) == (["test", 0], "tiny", 1, [])
    assert 0 <= reply.latency_s < 5


def test_the_call_holds_the_messages_and_the_sampling_parameters(server, make):
    ask(make())
    (call,) = server.calls
    assert call == {
        "model": "tiny",
        "messages": [{"role": "user", "content": "prompt 0"}],
        "temperature": 0.7,
        "max_tokens": 256,
        "seed": 5,
    }
    assert server.keys == [f"Bearer {KEY}"]


def test_a_server_without_a_key_needs_none(server, make):
    assert ask(make(api_key_env=None)).is_answered
    assert server.keys == [None]


def test_every_attempt_and_every_reply_is_in_the_ledger(server, make, tmp_path):
    server.answer = lambda prompt, before: ServerReply(status=500) if before == 0 else ServerReply("fine")
    reply = ask(make())
    first, second, last = records(tmp_path)
    assert [(line["event"], line["key"], line["attempt"]) for line in (first, second)] == [
        ("sent", reply.key, 0),
        ("sent", reply.key, 1),
    ]
    assert (last["event"], last["key"], last["text"], last["num_attempts"]) == ("reply", reply.key, "fine", 2)
    assert last["failures"] == ["HTTP 500: fault with key ***"]


def test_what_is_in_the_ledger_is_not_asked_again(server, make):
    client = make()
    first = ask(client)
    assert ask(client) == ask(make()) == first
    assert len(server.calls) == 1


@pytest.mark.parametrize("changes", [{"model": "other"}, {"temperature": 0.1}, {"max_tokens": 9}])
def test_other_sampling_is_another_call(server, make, changes):
    ask(make())
    ask(make(**changes))
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
def test_another_purpose_conversation_seed_or_schema_is_another_call(server, make, purpose, content, seed, schema):
    client = make()
    ask(client)
    client.ask(purpose, [{"role": "user", "content": content}], seed, schema)
    assert len(server.calls) == 2


@pytest.mark.parametrize(
    "changes",
    [{"max_concurrency": 9}, {"timeout_s": 9.0}, {"max_retries": 9}, {"prices": PRICES}, {"budget": Budget(None, 999)}],
)
def test_pace_and_money_do_not_change_the_call(server, make, changes):
    ask(make())
    ask(make(**changes))
    assert len(server.calls) == 1


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
def test_an_answer_that_holds_no_text_is_an_outcome_and_is_not_asked_again(server, make, reply, outcome):
    server.answer = lambda prompt, _: reply
    assert ask(make()).outcome == ask(make()).outcome == outcome
    assert len(server.calls) == 1


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (ServerReply(status=500), "api_error"),
        (ServerReply(status=429), "api_error"),
        (ServerReply(body=b'{"error": {"message": "the model behind is busy", "code": 503}}'), "api_error"),
        (ServerReply(drops_connection=True), "connection"),
    ],
)
def test_a_failure_is_tried_again_to_the_limit_and_by_the_next_run(server, make, tmp_path, reply, outcome):
    server.answer = lambda prompt, _: reply
    failed = ask(make(max_retries=1))
    assert (failed.outcome, failed.text, failed.num_attempts, len(failed.failures)) == (outcome, None, 2, 1)
    assert len(server.calls) == 2
    server.answer = lambda prompt, _: ServerReply("fine")
    assert ask(make()).text == "fine"
    assert [line["outcome"] for line in records(tmp_path) if line["event"] == "reply"] == [outcome, "answer"]


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_request_that_the_server_does_not_take_is_not_tried_again(server, make, status):
    server.answer = lambda prompt, _: ServerReply(status=status)
    reply = ask(make())
    assert (reply.outcome, reply.num_attempts, reply.is_answered) == ("invalid_request", 1, False)


def test_failures_of_all_kinds_one_after_the_other_end_in_an_answer(server, make):
    faults = [ServerReply(status=429), ServerReply(drops_connection=True), ServerReply(status=503)]
    server.answer = lambda prompt, before: faults[before] if before < 3 else ServerReply("fine")
    reply = ask(make(max_retries=3))
    assert (reply.text, reply.num_attempts) == ("fine", 4)


def test_an_answer_that_does_not_come_is_a_timeout(server, make):
    release = threading.Event()

    def answer(prompt, _):
        release.wait(timeout=10)
        return ServerReply("late")

    server.answer = answer
    reply = ask(make(timeout_s=0.05, max_retries=0))
    release.set()
    assert (reply.outcome, reply.error) == ("timeout", "no answer within 0.05 s")


def test_the_server_s_pause_is_kept_and_ours_grows():
    keys = [f"{number:064x}" for number in range(50)]
    asked = [pause_before_retry(key, 0, 7.0) for key in keys]
    assert min(asked) >= 7.0
    assert max(asked) <= 7.7
    assert len(set(asked)) == 50
    for num_retries, longest in [(0, 0.5), (1, 1.0), (3, 4.0), (60, 30.0)]:
        pauses = [pause_before_retry(key, num_retries, None) for key in keys]
        assert longest / 2 <= min(pauses) < max(pauses) <= longest


def test_retry_after_in_seconds_is_heeded(server, make):
    times = []

    def answer(prompt, before):
        times.append(time.monotonic())
        return ServerReply("fine") if before else ServerReply(status=429, headers={"retry-after": "1"})

    server.answer = answer
    assert ask(make()).text == "fine"
    assert times[1] - times[0] >= 1


def test_a_very_long_pause_stops_the_run(server, make):
    server.answer = lambda prompt, _: ServerReply(status=429, headers={"retry-after": "86400"})
    with pytest.raises(InputError, match="asks to wait 86400 s"):
        ask(make())
    assert len(server.calls) == 1


@pytest.mark.parametrize("status", [401, 402, 403, 404])
def test_a_refused_key_or_model_stops_the_run(server, make, status):
    server.answer = lambda prompt, _: ServerReply(status=status)
    client = make()
    with pytest.raises(InputError, match=rf'model "tiny": HTTP {status}.*put it right') as caught:
        list(client.ask_all(lambda number: ask(client, number), range(200)))
    assert KEY not in str(caught.value)
    assert len(server.calls) <= 8


def test_an_empty_account_stops_the_run(server, make):
    server.answer = lambda prompt, _: ServerReply(status=429, error={"code": "insufficient_quota", "message": "empty"})
    with pytest.raises(InputError, match="empty"):
        ask(make())
    assert len(server.calls) == 1


def test_a_server_that_fails_call_after_call_stops_the_run(server, make):
    server.answer = lambda prompt, _: ServerReply(status=500)
    client = make(max_retries=0)
    with pytest.raises(InputError, match=r"the last 5\d calls failed"):
        list(client.ask_all(lambda number: ask(client, number), range(500)))
    assert len(server.calls) < 60


def test_an_address_that_nobody_answers_at_stops_the_run(make):
    with socket.socket() as taken, pytest.raises(InputError, match="cannot be reached"):
        taken.bind(("127.0.0.1", 0))  # held, but not listened at
        ask(make(max_retries=0, base_url=f"http://127.0.0.1:{taken.getsockname()[1]}/v1"))


def test_a_key_that_is_not_set_is_named(make):
    with pytest.raises(InputError, match="NO_SUCH_KEY is not set"):
        make(api_key_env="NO_SUCH_KEY")


def test_a_key_that_is_none_is_named_and_not_shown(make, monkeypatch):
    for value in ("sk-ä", "sk-\x01", "  "):
        monkeypatch.setenv("TEST_API_KEY", value)
        with pytest.raises(InputError, match=r"TEST_API_KEY (holds no key|is not set)") as caught:
            make()
        assert "sk-" not in str(caught.value)
    monkeypatch.setenv("TEST_API_KEY", f" {KEY}\n")  # as from a file
    assert ask(make()).is_answered


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
def test_settings_out_of_range_are_named(make, changes, message):
    with pytest.raises(InputError, match=message) as caught:
        make(**changes)
    assert "sk-1" not in str(caught.value)


def test_a_budget_below_zero_is_an_error():
    with pytest.raises(InputError, match=r"budget\.tokens: -1"):
        Budget(dollars=None, tokens=-1)


def test_the_key_is_in_no_file(server, make, tmp_path):
    server.answer = lambda prompt, _: ServerReply(KEY) if prompt == "prompt 1" else ServerReply(status=400)
    assert ask(make()).error == "HTTP 400: fault with key ***"
    assert ask(make(), 1).text == "***"
    assert KEY not in (tmp_path / "chat.jsonl").read_text()


def test_the_schema_goes_to_servers_that_take_it(server, make):
    ask(make(), schema=SCHEMA)
    (call,) = server.calls
    form = {"name": "verdict", "strict": True, "schema": SCHEMA}
    assert call["response_format"] == {"type": "json_schema", "json_schema": form}


def test_a_server_that_knows_no_schemas_is_asked_without(server, make, tmp_path):
    def answer(prompt, _):
        return ServerReply(status=400) if "response_format" in server.calls[-1] else ServerReply("fine")

    server.answer = answer
    client = make(max_retries=0)
    first = ask(client, schema=SCHEMA)
    assert (first.text, first.num_attempts) == ("fine", 2)
    assert ask(client, 1, schema=SCHEMA).num_attempts == 1
    assert ask(make(), schema=SCHEMA) == first
    assert len(server.calls) == 3


def test_a_request_with_another_fault_does_not_turn_schemas_off(server, make):
    server.answer = lambda prompt, _: ServerReply(status=400) if prompt == "prompt 0" else ServerReply("fine")
    client = make()
    assert ask(client, schema=SCHEMA).outcome == "invalid_request"
    ask(client, 1, schema=SCHEMA)
    assert "response_format" in server.calls[-1]


def test_answers_come_in_the_order_of_the_items(server, make):
    def answer(prompt, _):
        time.sleep(0.02 if prompt in ("prompt 0", "prompt 5") else 0)
        return ServerReply(prompt)

    server.answer = answer
    client = make()
    results = list(client.ask_all(lambda number: ask(client, number).text, range(12)))
    assert results == [(number, f"prompt {number}") for number in range(12)]


def test_as_many_calls_as_allowed_are_under_way_at_a_time(server, make):
    together = threading.Barrier(3)

    def answer(prompt, _):
        together.wait(timeout=10)  # Three calls have to wait here at once for any to be answered.
        return ServerReply("fine")

    server.answer = answer
    client = make(max_concurrency=3)
    assert all(reply.is_answered for _, reply in client.ask_all(lambda number: ask(client, number), range(9)))


def test_no_more_calls_than_allowed_are_under_way(server, make):
    under_way, most = [], []

    def answer(prompt, _):
        under_way.append(prompt)
        most.append(len(under_way))
        time.sleep(0.005)
        under_way.remove(prompt)
        return ServerReply("fine")

    server.answer = answer
    client = make(max_concurrency=2)
    list(client.ask_all(lambda number: ask(client, number), range(10)))
    assert max(most) <= 2


def test_items_are_taken_only_as_they_are_needed(make):
    taken = []

    def numbers():
        for number in range(1000):
            taken.append(number)
            yield number

    client = make(max_concurrency=2)
    results = client.ask_all(lambda number: ask(client, number), numbers())
    next(results)
    assert len(taken) <= 128
    results.close()


def test_when_the_caller_stops_the_calls_under_way_are_recorded_and_no_other_begins(server, make, tmp_path):
    client = make(max_concurrency=2)
    results = client.ask_all(lambda number: ask(client, number), range(1000))
    next(results)
    results.close()
    answered = [line for line in records(tmp_path) if line["event"] == "reply"]
    assert len(answered) == len(server.calls) < 200


def spent(tmp_path) -> float:
    return sum(line["dollars"] for line in records(tmp_path) if line["event"] == "reply")


def test_a_budget_in_dollars_is_kept_to_and_a_larger_one_goes_on(server, make, tmp_path):
    def run(dollars):
        client = make(prices=PRICES, budget=Budget(dollars=dollars, tokens=None), max_concurrency=8)
        return len(list(client.ask_all(lambda number: ask(client, number), range(20))))

    for _ in range(2):  # The second start has no money left either.
        with pytest.raises(BudgetError, match=r"budget\.dollars=120 does not cover.*Raise the budget"):
            run(120)  # Each answer costs 25 dollars.
        assert len(server.calls) == 4
    assert spent(tmp_path) == 100
    with pytest.raises(BudgetError):
        run(130)
    assert len(server.calls) == 5
    assert run(500) == 20
    assert len(server.calls) == 20


def test_a_budget_in_tokens_is_kept_to(server, make):
    client = make(budget=Budget(dollars=None, tokens=18 * 7))
    with pytest.raises(BudgetError, match="126 tokens"):
        list(client.ask_all(lambda number: ask(client, number), range(20)))
    assert len(server.calls) == 7


def test_tokens_that_the_server_does_not_count_are_estimated(server, make, tmp_path):
    server.answer = lambda prompt, _: ServerReply("x" * 400, usage=None)
    client = make(budget=Budget(dollars=None, tokens=1000))
    with pytest.raises(BudgetError):
        list(client.ask_all(lambda number: ask(client, number), range(20)))
    assert 5 <= len(server.calls) < 10
    guesses = {(line["is_estimated"], line["completion_tokens"]) for line in records(tmp_path) if "text" in line}
    assert guesses == {(True, 101)}


def test_no_budget_at_all_makes_no_call(server, make):
    for budget in (Budget(dollars=None, tokens=0), Budget(dollars=0.0, tokens=None)):
        with pytest.raises(BudgetError):
            ask(make(budget=budget, prices=PRICES))
    assert server.calls == []


def test_another_model_s_dear_answers_do_not_count_as_the_price_of_a_call(server, make):
    ask(make(prices=PRICES))
    cheap = make(prices=Prices(prompt=0.0, completion=1e6), model="cheap", budget=Budget(dollars=40.0, tokens=None))
    ask(cheap, 1)
    ask(cheap, 2)
    with pytest.raises(BudgetError):
        ask(cheap, 3)


def test_failures_cost_nothing(server, make):
    server.answer = lambda prompt, before: ServerReply("fine") if before else ServerReply(status=500)
    client = make(budget=Budget(dollars=None, tokens=36))
    assert [reply.text for _, reply in client.ask_all(lambda number: ask(client, number), range(2))] == ["fine"] * 2


def test_a_budget_in_dollars_needs_prices(make):
    with pytest.raises(InputError, match=r"needs prices\.prompt"):
        make(budget=Budget(dollars=1.0, tokens=None))


def test_usage_counts_what_earlier_starts_paid_too(make):
    ask(make(prices=PRICES))
    client = make(prices=PRICES)
    ask(client)
    ask(client, 1)
    ask(client)  # The same answer again costs nothing.
    assert client.usage() == {"num_answers": 2, "tokens": 36, "dollars": 50.0}
