"""Whatever a server sends, it is read as the ending of a call, with a text that can be written."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medssr.llm.chat_response import Ending, read_response

NAMES = ["error", "choices"]
NAMES += ["message", "content", "detail", "msg", "errors", "title", "code", "status", "type", "param"]
NAMES += ["finish_reason", "text", "reasoning", "usage", "prompt_tokens", "completion_tokens", "tool_calls", "refusal"]
NAMES += ["loc", "metadata", "raw", "object", "value"]
TEXTS = ["stop", "length", "error", "9" * 5000, "429", "\ud800", "content_filter", "invalid_request_error"]
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(
        ["stop", "length", "error", "9" * 5000, "429", "\ud800", "content_filter", "invalid_request_error"]
    ),
)
BODIES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=20,
)
HEADERS = st.dictionaries(
    st.sampled_from(["retry-after", "retry-after-ms"]),
    st.text(max_size=6) | st.sampled_from(["nan", "1e400", "-1", "Wed, 21 Oct 99999 07:28:00 GMT", "9" * 5000]),
)


@pytest.mark.slow
@given(st.sampled_from([200, 400, 429, 500]), HEADERS, BODIES)
def test_any_body_is_an_ending(status, headers, body):
    check(read_response(status, headers, json.dumps(body).encode(), "key"))


@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b"[" * 900 + b"]" * 900,
        b'{"error":' * 900 + b"1" + b"}" * 900,
        b'{"message":' * 450 + b'"x"' + b"}" * 450,
        b'{"error": {"code": "' + b"9" * 5000 + b'"}}',
        b'{"choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": ' + b"9" * 10_000 + b"}}",
        b'data: {"error": ' + b"[" * 100_000,
        b"\xff\xfe\x00",
        b"",
    ],
)
def test_a_hostile_body_is_an_ending(status, body):
    check(read_response(status, {}, body))


def check(ending: Ending) -> None:
    for text in (ending.text, ending.error, ending.problem):
        assert text is None or isinstance(text.encode(), bytes)
    assert ending.pause_s is None or ending.pause_s >= 0
    for count in (ending.prompt_tokens, ending.completion_tokens):
        assert count is None or 0 <= count <= 10**9
