"""What calls cost, and the budget that they are kept to."""

from __future__ import annotations

import pytest
from support.chat_clients import PRICES, ask, records
from support.chat_server import ServerReply

from medssr.errors import InputError
from medssr.llm.budget import Budget, BudgetError, Prices


def spent(tmp_path) -> float:
    return sum(line["dollars"] for line in records(tmp_path) if line["event"] == "reply")


def test_a_budget_in_dollars_is_kept_to_and_a_larger_one_goes_on(server, make_client, tmp_path):
    def run(dollars):
        client = make_client(prices=PRICES, budget=Budget(dollars=dollars, tokens=None), max_concurrency=8)
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


def test_a_budget_in_tokens_is_kept_to(server, make_client):
    client = make_client(budget=Budget(dollars=None, tokens=18 * 7))
    with pytest.raises(BudgetError, match="126 tokens"):
        list(client.ask_all(lambda number: ask(client, number), range(20)))
    assert len(server.calls) == 7


def test_tokens_that_the_server_does_not_count_are_estimated(server, make_client, tmp_path):
    server.answer = lambda prompt, _: ServerReply("x" * 400, usage=None)
    client = make_client(budget=Budget(dollars=None, tokens=1000))
    with pytest.raises(BudgetError):
        list(client.ask_all(lambda number: ask(client, number), range(20)))
    assert 5 <= len(server.calls) < 10
    guesses = {(line["is_estimated"], line["completion_tokens"]) for line in records(tmp_path) if "text" in line}
    assert guesses == {(True, 101)}


def test_no_budget_at_all_makes_no_call(server, make_client):
    for budget in (Budget(dollars=None, tokens=0), Budget(dollars=0.0, tokens=None)):
        with pytest.raises(BudgetError):
            ask(make_client(budget=budget, prices=PRICES))
    assert server.calls == []


def test_another_model_s_dear_answers_do_not_count_as_the_price_of_a_call(server, make_client):
    ask(make_client(prices=PRICES))
    cheap = make_client(
        prices=Prices(prompt=0.0, completion=1e6), model="cheap", budget=Budget(dollars=40.0, tokens=None)
    )
    ask(cheap, 1)
    ask(cheap, 2)
    with pytest.raises(BudgetError):
        ask(cheap, 3)


def test_failures_cost_nothing(server, make_client):
    server.answer = lambda prompt, before: ServerReply("fine") if before else ServerReply(status=500)
    client = make_client(budget=Budget(dollars=None, tokens=36))
    assert [reply.text for _, reply in client.ask_all(lambda number: ask(client, number), range(2))] == ["fine"] * 2


def test_a_budget_in_dollars_needs_prices(make_client):
    with pytest.raises(InputError, match=r"needs prices\.prompt"):
        make_client(budget=Budget(dollars=1.0, tokens=None))


def test_usage_counts_what_earlier_starts_paid_too(make_client):
    ask(make_client(prices=PRICES))
    client = make_client(prices=PRICES)
    ask(client)
    ask(client, 1)
    ask(client)  # The same answer again costs nothing.
    assert client.usage() == {"num_answers": 2, "tokens": 36, "dollars": 50.0}


def test_a_budget_below_zero_is_an_error():
    with pytest.raises(InputError, match=r"budget\.tokens: -1"):
        Budget(dollars=None, tokens=-1)
