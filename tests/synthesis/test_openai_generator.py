"""The generator against a real server on this machine that speaks the chat-completions protocol."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from medssr.errors import InputError
from medssr.knowledge.facts import Entity
from medssr.questions import Question
from medssr.synthesis.controls import Draw
from medssr.synthesis.generators import Draft, Rejection, SynthesisRequest
from medssr.synthesis.openai_generator import OpenAIGenerator

OPTIONS = {"A": "liver", "B": "heart", "C": "kidney", "D": "lung"}
SEED = Question("q", "Which organ?", {"A": "liver", "B": "heart"}, "A", "seeds")
KEY = "sk-very-secret"


class Reply:
    """What the server sends back to one call."""

    def __init__(self, text: str | None = None, *, status: int = 200, finish: str = "stop", refusal: str | None = None):
        self.status = status
        message = {"role": "assistant", "content": text, "refusal": refusal}
        self.body = {
            "id": "x",
            "object": "chat.completion",
            "created": 0,
            "model": "tiny",
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
            "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
        }
        if status != 200:
            self.body = {"error": {"message": f"fault with key {KEY}", "type": "fault", "code": None, "param": None}}


class Server:
    """Answers by a function of the last message and of how many calls that message had before."""

    def __init__(self) -> None:
        self.answer: Callable[[str, int], Reply] = lambda prompt, _: Reply(question(prompt))
        self.calls: list[dict] = []
        self.keys: list[str | None] = []
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                server.handle(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        call = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        prompt = call["messages"][-1]["content"]
        with self._lock:
            before = sum(other["messages"][-1]["content"] == prompt for other in self.calls)
            self.calls.append(call)
            self.keys.append(handler.headers["Authorization"])
        reply = self.answer(prompt, before)
        body = json.dumps(reply.body).encode()
        try:
            handler.send_response(reply.status)
            handler.send_header("Content-Type", "application/json")
            handler.send_header("Content-Length", str(len(body)))
            handler.send_header("retry-after-ms", "1")
            handler.end_headers()
            handler.wfile.write(body)
        except ConnectionError:
            pass  # The client has given up waiting, as the test of time-outs wants.


def question(prompt: str) -> str:
    return json.dumps({"question": f"Which organ is meant by {prompt}?", "options": OPTIONS})


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.http.shutdown()
    server.http.server_close()
    thread.join()


@pytest.fixture
def make(server, tmp_path, monkeypatch):
    monkeypatch.setenv("TEST_API_KEY", KEY)

    def build(**changes) -> OpenAIGenerator:
        fields = {
            "base_url": server.url,
            "model": "tiny",
            "api_key_env": "TEST_API_KEY",
            "temperature": 0.7,
            "max_tokens": 256,
            "seed": 5,
            "max_concurrency": 4,
            "timeout_s": 5.0,
            "max_retries": 3,
            "ledger_dir": tmp_path,
        }
        return OpenAIGenerator(**(fields | changes))

    return build


def request(index: int, entity: Entity | None = None) -> SynthesisRequest:
    drawn = Draw(index, 0.5, entity is not None, entity, 0, (SEED, SEED), rng_seed=index)
    return SynthesisRequest(index, drawn, (), f"prompt {index}")


def run(generator: OpenAIGenerator, count: int = 1) -> list:
    return [outcome for _, outcome in generator.generate(request(index) for index in range(count))]


def ledger(tmp_path) -> list[dict]:
    return [json.loads(line) for line in (tmp_path / "openai.jsonl").read_text().splitlines()]


def test_answers_become_drafts_in_the_order_of_the_requests(server, make):
    def answer(prompt, _):
        time.sleep(0.02 if prompt in ("prompt 0", "prompt 5") else 0)
        return Reply(question(prompt))

    server.answer = answer
    results = list(make().generate(request(index) for index in range(12)))
    assert [item.index for item, _ in results] == list(range(12))
    assert [draft.stem for _, draft in results] == [f"Which organ is meant by prompt {index}?" for index in range(12)]
    assert results[0][1] == Draft(
        "Which organ is meant by prompt 0?",
        OPTIONS,
        entity=None,
        is_rare=None,
        truth=None,
        details={"model": "tiny", "num_calls": 1, "prompt_tokens": 11, "completion_tokens": 7},
    )


def test_the_entity_of_the_request_is_the_entity_of_the_draft(make):
    ((_, draft),) = make().generate([request(0, Entity("Fabry disease", True))])
    assert (draft.entity, draft.is_rare) == ("Fabry disease", True)


def test_the_call_holds_the_prompt_and_the_sampling_parameters(server, make):
    run(make())
    (call,) = server.calls
    assert call["messages"] == [{"role": "user", "content": "prompt 0"}]
    expected = {"model": "tiny", "temperature": 0.7, "max_tokens": 256, "seed": 5}
    assert {name: call[name] for name in expected} == expected
    assert server.keys == [f"Bearer {KEY}"]


def test_as_many_calls_as_allowed_are_under_way_at_a_time(server, make):
    together = threading.Barrier(3)

    def answer(prompt, _):
        together.wait(timeout=10)  # Three calls have to wait here at once for any to be answered.
        return Reply(question(prompt))

    server.answer = answer
    assert all(isinstance(outcome, Draft) for outcome in run(make(max_concurrency=3), 9))


def test_no_more_calls_than_allowed_are_under_way(server, make):
    under_way, most = [], []

    def answer(prompt, _):
        under_way.append(prompt)
        most.append(len(under_way))
        time.sleep(0.005)
        under_way.remove(prompt)
        return Reply(question(prompt))

    server.answer = answer
    run(make(max_concurrency=2), 10)
    assert max(most) <= 2


def test_requests_are_taken_only_as_they_are_needed(make):
    taken = []

    def requests():
        for index in range(100):
            taken.append(index)
            yield request(index)

    results = make(max_concurrency=2).generate(requests())
    next(results)
    assert len(taken) <= 5
    results.close()


@pytest.mark.parametrize(
    "text",
    [
        "```json\n{object}\n```",
        "Here is the question:\n\n{object}\n\nI hope that helps {smile}.",
        '<think>Perhaps {"question": "?"} or {this}.</think>{object}',
    ],
)
def test_text_around_the_object_is_tolerated(server, make, text):
    server.answer = lambda prompt, _: Reply(text.replace("{object}", question(prompt)))
    (draft,) = run(make())
    assert draft.stem == "Which organ is meant by prompt 0?"
    assert len(server.calls) == 1


def test_an_answer_that_cannot_be_read_is_repaired_once(server, make, tmp_path):
    broken = '{"question": "Which organ?", "options": {"A": "liver"'
    server.answer = lambda prompt, _: Reply(broken if prompt == "prompt 0" else question("repair"))
    (draft,) = run(make())
    assert draft.stem == "Which organ is meant by repair?"
    assert draft.details["num_calls"] == 2
    assert draft.details["completion_tokens"] == 14
    first, answer, repair = server.calls[1]["messages"]
    assert first["content"] == "prompt 0"
    assert answer == {"role": "assistant", "content": broken}
    assert "The JSON is broken" in repair["content"]
    assert [entry["attempt"] for entry in ledger(tmp_path)] == [0, 1]


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
    server.answer = lambda prompt, _: Reply(text)
    (rejection,) = run(make())
    assert rejection.reason == "unparsable"
    assert problem in rejection.detail
    assert len(server.calls) == 2


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(refusal="I will not."), "refusal"),
        (Reply("No.", finish="content_filter"), "refusal"),
        (Reply(question("x")[:-5], finish="length"), "truncated"),
        (Reply(""), "empty_response"),
        (Reply(None), "empty_response"),
        (Reply(status=400), "api_error"),
        (Reply(status=500), "api_error"),
        (Reply(status=429), "api_error"),
    ],
)
def test_what_is_no_answer_is_rejected_with_its_reason(server, make, reply, reason):
    server.answer = lambda prompt, _: Reply(question(prompt)) if prompt == "prompt 1" else reply
    rejection, draft = run(make(max_retries=1), 2)
    assert isinstance(rejection, Rejection)
    assert rejection.reason == reason
    assert isinstance(draft, Draft)


def test_too_many_requests_and_server_faults_are_tried_again(server, make):
    faults = [Reply(status=429), Reply(status=500), Reply(status=503)]
    server.answer = lambda prompt, before: faults[before] if before < 3 else Reply(question(prompt))
    (draft,) = run(make(max_retries=3))
    assert isinstance(draft, Draft)
    assert len(server.calls) == 4


def test_an_answer_that_does_not_come_is_a_timeout(server, make):
    release = threading.Event()

    def answer(prompt, _):
        release.wait(timeout=10)
        return Reply(question(prompt))

    server.answer = answer
    (rejection,) = run(make(timeout_s=0.05, max_retries=0))
    release.set()
    assert rejection == Rejection("timeout", "no answer within 0.05 s")


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refused_key_or_model_stops_the_run(server, make, status):
    server.answer = lambda prompt, _: Reply(status=status)
    with pytest.raises(InputError, match=rf'model "tiny" with HTTP {status}.*check the address') as caught:
        run(make(), 20)
    assert KEY not in str(caught.value)
    assert len(server.calls) < 20


def test_an_address_that_nobody_answers_at_stops_the_run(server, make):
    server.http.server_close()
    with pytest.raises(InputError, match="cannot be reached"):
        run(make(max_retries=0))


def test_a_key_that_is_not_set_is_named(make):
    with pytest.raises(InputError, match="NO_SUCH_KEY is not set"):
        run(make(api_key_env="NO_SUCH_KEY"))


def test_a_server_without_a_key_needs_none(make):
    (draft,) = run(make(api_key_env=None))
    assert isinstance(draft, Draft)


def test_the_key_is_in_no_file_and_no_error(server, make, tmp_path):
    server.answer = lambda prompt, _: Reply(status=400)
    (rejection,) = run(make())
    assert KEY not in rejection.detail
    assert KEY not in (tmp_path / "openai.jsonl").read_text()
    assert KEY not in repr(make())


def test_a_second_run_is_answered_from_the_ledger(server, make):
    replies = {"prompt 1": Reply("no JSON"), "prompt 2": Reply(refusal="No."), "prompt 3": Reply("{", finish="length")}
    server.answer = lambda prompt, _: replies.get(prompt, Reply(question(prompt)))
    first = run(make(), 6)
    paid = len(server.calls)
    assert run(make(), 6) == first
    assert len(server.calls) == paid


def test_a_killed_run_continues_without_paying_twice(server, make, tmp_path):
    whole = run(make(ledger_dir=tmp_path / "other"), 10)
    server.calls.clear()
    killed = make().generate(request(index) for index in range(10))
    assert [next(killed)[1] for _ in range(3)] == whole[:3]
    killed.close()
    with (tmp_path / "openai.jsonl").open("a") as stream:
        stream.write('{"key": "torn')
    assert run(make(), 10) == whole
    assert len(server.calls) == 10


def test_an_answer_is_in_the_ledger_before_it_is_used(server, make, tmp_path):
    for item, _ in make(max_concurrency=1).generate(request(index) for index in range(5)):
        assert item.index in {entry["index"] for entry in ledger(tmp_path)}


def test_errors_are_in_the_ledger_and_asked_again_by_the_next_run(server, make, tmp_path):
    server.answer = lambda prompt, _: Reply(status=500)
    assert run(make(max_retries=0))[0].reason == "api_error"
    assert [(entry["outcome"], entry["response"]) for entry in ledger(tmp_path)] == [("api_error", None)]
    server.answer = lambda prompt, _: Reply(question(prompt))
    assert isinstance(run(make())[0], Draft)


@pytest.mark.parametrize("changes", [{"model": "other"}, {"temperature": 0.1}, {"max_tokens": 9}, {"seed": 6}])
def test_other_sampling_is_another_call(server, make, changes):
    run(make())
    run(make(**changes))
    assert len(server.calls) == 2


def test_the_ledger_says_what_a_call_cost(make, tmp_path):
    run(make())
    (entry,) = ledger(tmp_path)
    assert (entry["index"], entry["attempt"], entry["outcome"]) == (0, 0, "response")
    assert (entry["prompt_tokens"], entry["completion_tokens"]) == (11, 7)
    assert entry["latency_s"] >= 0
