"""What chat servers differ in: parameters that they refuse, where the answer stands, how they report errors."""

from __future__ import annotations

import json

import pytest
from support.chat_clients import ask, records
from support.chat_server import ServerReply, reasoning_only, refuse, tool_call

from medssr.errors import InputError
from medssr.llm.chat_client import ChatClient
from medssr.llm.chat_protocol import ServerError, refused_parameter
from medssr.llm.chat_response import read_response

SCHEMA = {"title": "verdict", "type": "object", "properties": {}}
OWN = ["temperature", "max_tokens", "seed", "response_format"]


def refusing(server, *names: str, **arguments):
    """Makes the server refuse a call with any of the parameters, by the first of them."""

    def answer(prompt, _):
        found = [name for name in names if name in server.calls[-1]]
        return refuse(found[0], **arguments) if found else ServerReply("fine")

    server.answer = answer


def all_of(client: ChatClient, count: int, **arguments):
    return [reply for _, reply in client.ask_all(lambda number: ask(client, number, **arguments), range(count))]


def test_a_limit_under_its_old_name_is_sent_under_the_new_one_when_it_is_refused(server, make_client, caplog):
    refusing(server, "max_tokens")
    client = make_client(max_retries=0)
    assert {reply.text for reply in all_of(client, 40)} == {"fine"}
    assert sum("max_tokens" in call for call in server.calls) <= 4  # as many as are under way at a time
    assert [call["max_completion_tokens"] for call in server.calls if "max_tokens" not in call] == [256] * 40
    assert client.usage() == {"num_answers": 40, "tokens": 720, "dollars": 0}  # nothing was left out
    assert caplog.text.count("does not take max_tokens") == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["temperature", "seed", "response_format"])
def test_a_parameter_that_a_server_does_not_support_is_left_out_and_recorded(
    server, make_client, tmp_path, caplog, name
):
    refusing(server, name)
    client = make_client(max_retries=0)
    replies = all_of(client, 20, schema=SCHEMA)
    assert {(reply.text, *reply.left_out) for reply in replies} == {("fine", name)}
    assert sum(name in call for call in server.calls) <= 4
    assert caplog.text.count(f"does not take {name}") == 1
    assert client.usage()["left_out"] == [name]
    again = make_client()
    all_of(again, 20, schema=SCHEMA)
    assert again.usage() == client.usage()  # a run that continues from the ledger says the same
    assert {tuple(line["left_out"]) for line in records(tmp_path) if line["event"] == "reply"} == {(name,)}


def test_several_parameters_are_left_out_one_after_the_other(server, make_client):
    refusing(server, "max_tokens", "temperature", "seed")
    reply = ask(make_client(max_retries=0))
    assert (reply.text, reply.num_attempts, reply.left_out) == ("fine", 4, ["seed", "temperature"])
    assert server.calls[-1].keys() == {"model", "messages", "max_completion_tokens"}


def test_a_limit_refused_under_both_names_is_an_error(server, make_client):
    refusing(server, "max_tokens", "max_completion_tokens")
    reply = ask(make_client())
    assert (reply.outcome, reply.num_attempts) == ("invalid_request", 2)


@pytest.mark.parametrize(
    ("payload", "name"),
    [
        ({"error": {"message": "Unsupported value: 'temperature' does not support 0.7 with this model.",
                    "param": "temperature", "code": "unsupported_value"}}, "temperature"),
        ({"error": {"message": "Only the default (1) of 'temperature' is supported."}}, "temperature"),
        ({"error": {"message": "Unrecognized request argument supplied: seed"}}, "seed"),
        ({"error": "Unknown parameter: 'seed'."}, "seed"),
        ({"error": ["temperature is deprecated for this model"]}, "temperature"),
        ({"error": {"message": "`temperature` may only be set to 1 when thinking is enabled."}}, "temperature"),
        ({"error": {"message": "invalid temperature: only 1 is allowed for this model"}}, "temperature"),
        ({"object": "error", "message": "property 'seed' is unsupported", "code": 400}, "seed"),
        ({"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]}, "seed"),
        ({"message": {"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]}}, "seed"),
        ([{"error": {"code": 400, "message": 'Unknown name "seed": Cannot find field.'}}], "seed"),
        ({"error": {"message": "Provider returned error", "metadata": {"raw": "seed is not supported"}}}, "seed"),
        ({"error": {"message": "This model does not support response_format of type json_schema"}}, "response_format"),
        ({"error": {"message": "max_tokens is not supported, use max_completion_tokens"}}, "max_tokens"),
        ({"error": {"code": "BadRequest", "message": "response_format value as json_schema is enabled only for api "
                    "versions 2024-08-01-preview and later"}}, "response_format"),
        ({"error": {"message": "This response_format type is unavailable now"}}, "response_format"),
        ({"error": {"message": "'response_format.type' : value is not one of the allowed values ['text']"}},
         "response_format"),
        ({"error": {"message": "Seed is not a recognized parameter"}}, "seed"),
        ({"error": {"message": "The parameter `seed` is invalid for this model."}}, "seed"),
        ({"error": {"message": "This model doesn't accept temperature values other than 1"}}, "temperature"),
        ({"error": {"message": "temperature has been removed for this model"}}, "temperature"),
        # Not unsupported: the value is out of range, or the fault lies elsewhere.
        ({"error": {"message": "Invalid 'temperature': expected <= 2, but got 3.", "param": "temperature"}}, None),
        ({"error": {"message": "max_tokens is too large: 9999. This model supports at most 4096.",
                    "param": "max_tokens"}}, None),
        ({"error": {"message": "This model's maximum context length is 4096 tokens"}}, None),
        ({"error": {"message": "images are not supported", "param": "messages"}}, None),
        ({"error": {"message": "reseeded and temperatures are not supported"}}, None),
    ],
)  # fmt: skip
def test_the_parameter_that_a_server_does_not_support_is_recognised_in_the_forms_of_errors(payload, name):
    error = read_response(400, {}, json.dumps(payload).encode()).server_error
    assert error is not None
    assert refused_parameter(error, OWN) == name


def test_only_a_refused_request_is_searched_for_a_parameter():
    for status in (401, 404, 429, 500):
        assert refused_parameter(ServerError(status, frozenset(), None, "seed is not supported"), OWN) is None


def test_additions_are_sent_and_replace_what_is_of_the_same_name(server, make_client):
    extra = {"top_p": 0.9, "temperature": 0.1, "seed": 7, "chat_template_kwargs": {"enable_thinking": False}}
    extra |= {"max_completion_tokens": 99, "response_format": {"type": "json_object"}}
    ask(make_client(extra_body=extra), schema=SCHEMA)
    (call,) = server.calls
    assert {name: call.pop(name) for name in extra} == extra
    assert call == {"model": "tiny", "messages": [{"role": "user", "content": "prompt 0"}]}


def test_an_addition_makes_another_call_and_none_the_same_one(server, make_client):
    ask(make_client())
    ask(make_client(extra_body={"top_p": 0.9}))
    ask(make_client(extra_body={"top_p": 0.8}))
    ask(make_client(extra_body={}))
    assert [call.get("top_p") for call in server.calls] == [None, 0.9, 0.8]


def test_an_addition_is_never_left_out(server, make_client):
    refusing(server, "temperature")
    assert ask(make_client(extra_body={"temperature": 0.2})).outcome == "invalid_request"
    assert len(server.calls) == 1


@pytest.mark.parametrize("extra", [{"messages": []}, {"stream": True}])
def test_additions_with_which_nothing_can_be_read_are_refused(make_client, extra):
    with pytest.raises(InputError, match=rf"extra_body\.{next(iter(extra))}"):
        make_client(extra_body=extra)


PARTS = [{"type": "text", "text": "an "}, {"type": "output_text", "text": "answer"}]
THINKING = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reply", "outcome", "text"),
    [
        (ServerReply(PARTS), "answer", "an answer"),
        (ServerReply([THINKING, *PARTS]), "answer", "an answer"),
        (ServerReply([THINKING]), "answer", "hm"),
        (ServerReply([{"type": "refusal", "refusal": "No."}]), "refusal", "No."),
        (ServerReply("answer", message={"reasoning_content": "thoughts"}), "answer", "answer"),
        (ServerReply("answer", message={"reasoning": "thoughts"}), "answer", "answer"),
        (reasoning_only("stop"), "answer", "Let me think."),
        (reasoning_only("stop", "reasoning"), "answer", "Let me think."),
        (ServerReply("", message={"reasoning_content": "thoughts"}), "answer", "thoughts"),
        (ServerReply("", message={"reasoning_details": [{"type": "reasoning.text", "text": "B"}]}), "answer", "B"),
        (reasoning_only("length"), "truncated", ""),
        (ServerReply("half", finish="model_length"), "truncated", "half"),
        (ServerReply("half", finish="sensitive"), "refusal", "half"),
        (tool_call(), "empty_response", ""),
        (ServerReply("answer", finish="tool_calls", message=tool_call().message), "answer", "answer"),
        (ServerReply("half", finish="MAX_TOKENS"), "truncated", "half"),
        (ServerReply({"text": "x"}), "malformed_response", None),
    ],
)
def test_the_answer_is_found_where_servers_put_it(server, make_client, reply, outcome, text):
    server.answer = lambda prompt, _: reply
    found = ask(make_client())
    assert found.outcome == outcome
    assert text is None or found.text == text


USED_UP = "reasoning used up all tokens and left none for the answer"


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (reasoning_only("length"), f"{USED_UP}; raise chat.max_tokens, which is 256"),
        (ServerReply("half", finish="length"), "the answer was cut; raise chat.max_tokens, which is 256: half"),
        (tool_call(), "the model called a tool in place of an answer"),
        (ServerReply(None), "the answer is empty"),
    ],
)  # fmt: skip
def test_an_unusable_answer_says_why_and_which_setting_helps(server, make_client, reply, problem):
    server.answer = lambda prompt, _: reply
    assert ask(make_client()).why_unusable == problem


def test_the_setting_to_raise_is_the_one_that_was_sent(server, make_client):
    server.answer = lambda prompt, _: ServerReply("half", finish="length")
    reply = ask(make_client(extra_body={"max_completion_tokens": 9}))
    assert reply.problem == "the answer was cut; raise chat.extra_body.max_completion_tokens, which is 9"


@pytest.mark.parametrize(
    ("payload", "outcome", "error"),
    [
        ({"error": "overloaded"}, "api_error", "HTTP 502: overloaded"),
        ({"error": ["busy", "later"]}, "api_error", "HTTP 502: busy; later"),
        ({"error": [{"message": "busy", "code": "503"}]}, "api_error", "HTTP 503: busy"),
        ({"error": {"message": "busy", "code": "503"}}, "api_error", "HTTP 503: busy"),
        ({"error": {"message": "no", "type": "invalid_request_error"}}, "invalid_request", "HTTP 400: no"),
        ([{"error": {"message": "busy", "code": 503}}], "api_error", "HTTP 503: busy"),
        ({"choices": [{"error": {"message": "cut off", "code": 502}}]}, "api_error", "HTTP 502: cut off"),
        ({"object": "error", "message": "boom", "code": 500}, "api_error", "HTTP 500: boom"),
        ({"type": "error", "message": "boom"}, "api_error", "HTTP 502: boom"),
        ({"detail": "the worker is gone"}, "api_error", "HTTP 502: the worker is gone"),
        ({"choices": []}, "malformed_response", None),
        ({"choices": [{"message": None}]}, "malformed_response", None),
        ({"choices": [{}]}, "malformed_response", None),
        ({"choices": {"a": 1}}, "malformed_response", None),
        ("text", "malformed_response", None),
        (None, "malformed_response", None),
    ],
)
def test_an_error_with_status_200_is_an_error(payload, outcome, error):
    ending = read_response(200, {}, json.dumps(payload).encode())
    assert (ending.outcome, ending.error) == (outcome, error)
    assert ending.is_worth_retry == (outcome == "api_error")


@pytest.mark.slow
@pytest.mark.parametrize("reason", ["error", "abort", "insufficient_system_resource"])
@pytest.mark.parametrize("text", ["half an ans", "", None])
def test_an_answer_that_the_server_has_broken_off_is_asked_for_again(server, make_client, reason, text):
    replies = iter([ServerReply(text, finish=reason), ServerReply("whole")])
    server.answer = lambda prompt, _: next(replies)
    reply = ask(make_client(max_retries=1))
    assert (reply.outcome, reply.text, reply.num_attempts) == ("answer", "whole", 2)
    assert reason in reply.failures[0]


def test_an_error_in_a_stream_is_an_error():
    body = b': hello\n\ndata: {"choices": [{"delta": {}}]}\n\ndata: {"error": {"message": "busy", "code": 503}}\n\n'
    ending = read_response(200, {}, body)
    assert (ending.outcome, ending.error, ending.is_worth_retry) == ("api_error", "HTTP 503: busy", True)


ALIKE = [
    ServerReply(status=400, error={"message": "the model is being retired"}),
    ServerReply(status=500, error={"message": "out of order"}),
    ServerReply(body=b'{"error": "no backend"}'),
    ServerReply(body=b"<html>Welcome to the portal</html>"),
    ServerReply(body=b'{"choices": []}'),
    ServerReply(refusal="I do not write questions."),
    reasoning_only("length"),
    tool_call(),
    ServerReply(""),
]


@pytest.mark.slow
@pytest.mark.parametrize("reply", ALIKE)
def test_a_server_of_which_no_answer_is_of_use_stops_the_run_early(server, make_client, reply):
    server.answer = lambda prompt, _: reply
    client = make_client(max_retries=0)
    with pytest.raises(
        InputError, match=r"the last 1\d calls ended alike, and no call has given a usable answer: "
    ) as caught:
        all_of(client, 800)
    assert len(server.calls) <= 14
    said = ("retired", "out of order", "no backend", "portal", "choices", "do not write", "raise", "a tool", "empty")
    assert said[ALIKE.index(reply)] in str(caught.value)


def test_a_run_that_stopped_for_unusable_answers_pays_for_no_further_one_when_it_is_started_again(server, make_client):
    server.answer = lambda prompt, _: reasoning_only("length")
    for _ in range(2):
        with pytest.raises(InputError, match=r"raise chat\.max_tokens"):
            all_of(make_client(max_concurrency=1), 800)
    assert len(server.calls) == 10
    server.answer = lambda prompt, _: ServerReply("fine")
    assert len(all_of(make_client(max_tokens=999), 20)) == 20


def test_answers_of_which_the_caller_can_use_none_stop_the_run_early_and_are_shown(server, make_client):
    server.answer = lambda prompt, _: ServerReply("How can I help you?")
    client = make_client(max_concurrency=1)

    def use(number):
        reply = client.ask(["test", number], [{"role": "user", "content": f"prompt {number}"}], seed=5)
        client.note_use(reply, "There is no question.")

    with pytest.raises(InputError, match=r"the last 10 calls.*There is no question. The answer: How can I help you\?"):
        list(client.ask_all(use, range(200)))
    assert len(server.calls) == 10


def test_after_a_usable_answer_unusable_ones_do_not_stop_the_run(server, make_client):
    server.answer = lambda prompt, _: ServerReply("fine") if prompt == "prompt 0" else ServerReply(refusal="No.")
    assert len(all_of(make_client(max_concurrency=1), 40)) == 40


@pytest.mark.slow
def test_failures_of_several_kinds_do_not_count_as_one_but_stop_the_run_in_the_end(server, make_client):
    faults = [ServerReply(status=400), ServerReply(refusal="No.")]
    server.answer = lambda prompt, _: faults[len(server.calls) % 2]
    client = make_client(max_concurrency=1)
    assert len(all_of(client, 40)) == 40
    with pytest.raises(InputError, match="none of the last 50 calls gave a usable answer"):
        list(client.ask_all(lambda number: ask(client, number), range(40, 200)))


@pytest.mark.slow
def test_a_rate_limit_is_given_more_patience(server, make_client):
    server.answer = lambda prompt, _: ServerReply(status=429)
    with pytest.raises(InputError, match=r"the last 5\d calls failed: HTTP 429"):
        all_of(make_client(max_retries=0), 800)


@pytest.mark.slow
def test_a_resumed_run_stops_early_where_the_server_has_died_since(server, make_client):
    all_of(make_client(), 9)
    server.answer = lambda prompt, _: ServerReply(status=500, error={"message": "out of order"})
    num_calls = len(server.calls)
    with pytest.raises(InputError, match=r"the last 1\d calls ended alike, and no call of this run was answered: "):
        all_of(make_client(max_retries=0), 800)
    assert len(server.calls) - num_calls <= 14
