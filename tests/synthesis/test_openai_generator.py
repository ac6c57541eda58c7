"""Tests the generator against a local server that implements the chat-completions protocol."""

from __future__ import annotations

import json
import time
from collections import Counter
from contextlib import ExitStack, closing

import pytest
from support.chat_server import CLIENT_FIELDS, KEY, OPTIONS, ServerReply, question_text, running_server

from medssr.knowledge.facts import Entity
from medssr.questions import Question
from medssr.synthesis.generators import Draft, Rejection
from medssr.synthesis.llm_generators import OpenAIGenerator
from medssr.synthesis.plan import Draw, SynthesisRequest

SEED = Question("q", "Which organ?", {"A": "liver", "B": "heart"}, "A", "seeds")


@pytest.fixture
def server():
    with running_server() as server:
        yield server


@pytest.fixture
def make(server, tmp_path, monkeypatch):
    monkeypatch.setenv("TEST_API_KEY", KEY)

    with ExitStack() as generators:

        def build(**changes) -> OpenAIGenerator:
            fields = CLIENT_FIELDS | {"base_url": server.url, "num_options": 4, "ledger_dir": tmp_path}
            return generators.enter_context(closing(OpenAIGenerator(**(fields | changes))))

        yield build


def request(slot: int, entity: Entity | None = None, attempt: int = 0) -> SynthesisRequest:
    drawn = Draw(slot, attempt, 0.5, entity is not None, entity, 0, (SEED, SEED), rng_seed=slot)
    return SynthesisRequest(drawn, (), f"prompt {slot}")


def run(generator: OpenAIGenerator, count: int = 1) -> list:
    return [outcome for _, outcome in generator.generate(request(slot) for slot in range(count))]


def replies(tmp_path) -> list[dict]:
    lines = [json.loads(line) for line in (tmp_path / "openai.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == "reply"]


def test_answers_become_drafts_in_the_order_of_the_requests(server, make):
    def answer(prompt, _):
        time.sleep(0.02 if prompt in ("prompt 0", "prompt 5") else 0)
        return ServerReply(question_text(prompt))

    server.answer = answer
    results = list(make().generate(request(slot) for slot in range(12)))
    assert [item.draw.slot for item, _ in results] == list(range(12))
    assert [draft.stem for _, draft in results] == [f"Which organ is meant by prompt {slot}?" for slot in range(12)]
    draft = results[0][1]
    assert sorted(draft.options.values()) == sorted(OPTIONS.values())
    assert (draft.entity, draft.is_rare, draft.truth) == (None, None, None)
    assert draft.details == {"model": "tiny", "num_calls": 1, "prompt_tokens": 11, "completion_tokens": 7}


def test_the_entity_of_the_request_is_the_entity_of_the_draft(make):
    ((_, draft),) = make().generate([request(0, Entity("Fabry disease", True))])
    assert (draft.entity, draft.is_rare) == ("Fabry disease", True)


@pytest.mark.slow
def test_options_are_shuffled_by_the_request_s_seed(make):
    drafts = run(make(), 200)
    places = Counter(list(draft.options.values()).index("liver") for draft in drafts)
    assert all(list(draft.options) == list("ABCD") for draft in drafts)
    assert min(places[place] for place in range(4)) > 30
    assert run(make(), 200) == drafts


def test_the_call_holds_prompt_sampling_parameters_and_the_form_of_the_answer(server, make):
    run(make())
    (call,) = server.calls
    assert call["messages"] == [{"role": "user", "content": "prompt 0"}]
    expected = {"model": "tiny", "temperature": 0.7, "max_tokens": 256, "seed": 0}
    assert {name: call[name] for name in expected} == expected
    schema = call["response_format"]["json_schema"]["schema"]
    assert list(schema["properties"]["options"]["properties"]) == ["A", "B", "C", "D"]


@pytest.mark.parametrize(
    "text",
    [
        "```json\n{object}\n```",
        "Here is the question:\n\n{object}\n\nI hope that helps {smile}.",
        '<think>Perhaps {"question": "?"} or {this}.</think>{object}',
    ],
)
def test_text_around_the_object_is_tolerated(server, make, text):
    server.answer = lambda prompt, _: ServerReply(text.replace("{object}", question_text(prompt)))
    (draft,) = run(make())
    assert draft.stem == "Which organ is meant by prompt 0?"
    assert len(server.calls) == 1


def test_an_answer_that_cannot_be_read_is_repaired_once(server, make, tmp_path):
    broken = '{"question": "Which organ?", "options": {"A": "liver"'
    server.answer = lambda prompt, _: ServerReply(broken if prompt == "prompt 0" else question_text("repair"))
    (draft,) = run(make())
    assert draft.stem == "Which organ is meant by repair?"
    assert draft.details["num_calls"] == 2
    assert draft.details["completion_tokens"] == 14
    first, answer, repair = server.calls[1]["messages"]
    assert first["content"] == "prompt 0"
    assert answer == {"role": "assistant", "content": broken}
    assert "The JSON is broken" in repair["content"]
    assert [reply["purpose"] for reply in replies(tmp_path)] == [["synthesis", 0, 0, 0], ["synthesis", 0, 0, 1]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("I cannot do that.", "no JSON object"),
        ('{"question": "Which organ?"}', '"options"'),
        ('{"question": "Which organ?", "options": {"A": "liver"}}', 'Field "options"'),
        ('{"question": "Which organ?", "options": {"A": "liver", "C": "heart"}}', "lettered A, B, C"),
        ('{"question": "Which organ?", "options": ["liver", "heart"]}', 'Field "options"'),
        ('{"question": "Which organ?", "options": {"A": "liver", "B": " "}}', "option B is empty"),
        ('{"question": " ", "options": {"A": "liver", "B": "heart"}}', 'Field "question"'),
        ('{"question": "Half \\ud83d?", "options": {"A": "liver", "B": "heart"}}', "surrogate"),
        ("Half \ud83d", "no JSON object"),
        ('{"a":' * 2_000, "JSON is broken"),
    ],
)
def test_an_answer_that_stays_unreadable_is_rejected(server, make, text, problem):
    server.answer = lambda prompt, _: ServerReply(text)
    (rejection,) = run(make())
    assert (rejection.reason, rejection.is_transient) == ("unparsable", False)
    assert problem in rejection.detail
    assert len(server.calls) == 2


@pytest.mark.parametrize(
    ("reply", "reason", "is_transient"),
    [
        (ServerReply(refusal="I will not."), "refusal", False),
        (ServerReply(question_text("x")[:-5], finish="length"), "truncated", False),
        (ServerReply(""), "empty_response", False),
        (ServerReply(status=400), "invalid_request", False),
        (ServerReply(status=500), "api_error", True),
        (ServerReply(drops_connection=True), "connection", True),
    ],
)
def test_what_is_no_answer_is_rejected_with_its_reason(server, make, reply, reason, is_transient):
    server.answer = lambda prompt, _: ServerReply(question_text(prompt)) if prompt == "prompt 1" else reply
    rejection, draft = run(make(max_retries=0), 2)
    assert isinstance(rejection, Rejection)
    assert (rejection.reason, rejection.is_transient) == (reason, is_transient)
    assert isinstance(draft, Draft)


def test_the_key_is_in_no_file_and_no_error(server, make, tmp_path):
    server.answer = lambda prompt, _: ServerReply(status=400)
    (rejection,) = run(make())
    assert KEY not in rejection.detail
    assert KEY not in (tmp_path / "openai.jsonl").read_text()
    assert KEY not in repr(make())


def test_a_second_run_is_answered_from_the_ledger(server, make):
    others = {
        "prompt 1": ServerReply("no JSON"),
        "prompt 2": ServerReply(refusal="No."),
        "prompt 3": ServerReply("{", finish="length"),
    }
    server.answer = lambda prompt, _: others.get(prompt, ServerReply(question_text(prompt)))
    first = run(make(), 6)
    paid = len(server.calls)
    assert run(make(), 6) == first
    assert len(server.calls) == paid


def test_a_killed_run_continues_without_paying_twice(server, make, tmp_path):
    whole = run(make(ledger_dir=tmp_path / "other"), 10)
    server.calls.clear()
    killed = make().generate(request(slot) for slot in range(10))
    assert [next(killed)[1] for _ in range(3)] == whole[:3]
    killed.close()
    with (tmp_path / "openai.jsonl").open("a") as stream:
        stream.write('{"key": "torn')
    assert run(make(), 10) == whole
    assert len(server.calls) == 10


def test_an_answer_is_in_the_ledger_before_it_is_used(make, tmp_path):
    for item, _ in make(max_concurrency=1).generate(request(slot) for slot in range(5)):
        assert item.draw.slot in {reply["purpose"][1] for reply in replies(tmp_path)}


def test_another_attempt_at_a_slot_is_another_call(server, make):
    generator = make()
    outcomes = list(generator.generate([request(0), request(0, attempt=1)]))
    assert len(server.calls) == len(outcomes) == 2
    assert generator.usage() == {"num_answers": 2, "tokens": 36, "dollars": 0.0}
