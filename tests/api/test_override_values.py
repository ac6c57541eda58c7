"""Values in the syntax of Hydra: what is read back is what was written, or it is refused."""

from __future__ import annotations

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st

from medssr.api.override_values import NotExpressibleError, override_value

PIECES = st.sampled_from(
    ["null", "true", "1e3", "'", '"', "\\", "$", "{", "}", "[", ",", ":", "=", "~", "/", " ", "a", "1"]
)
TEXTS = st.lists(PIECES, max_size=5).map("".join) | st.text(max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "num_steps", "a-b", "true", "1", "x y"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def read_by_hydra(text: str):
    return OverridesParser.create().parse_override(f"key={text}").value()


@pytest.mark.slow
@settings(max_examples=40)
@given(VALUES)
def test_hydra_reads_back_what_is_written_or_it_is_refused(value):
    try:
        text = override_value(value)
    except NotExpressibleError:
        return
    assert repr(read_by_hydra(text)) == repr(value)


@pytest.mark.slow
@settings(max_examples=60)
@given(st.text(alphabet="nul1e3true'\"\\,:=[]()~/ a.-", max_size=8))
def test_every_text_without_control_characters_can_be_written(text):
    assert read_by_hydra(override_value(text)) == text


def test_keys_are_bare_and_texts_are_quoted_only_where_they_must_be():
    stages = [{"name": "first", "settings": {"num_steps": 3}, "note": "it's", "tags": ["null", "a b", "a,b"]}]
    written = r"[{name: first, settings: {num_steps: 3}, note: 'it\'s', tags: ['null', a b, 'a,b']}]"
    assert override_value(stages) == written
    assert [override_value(value) for value in (None, True, 3, 1e-05, "1e3")] == ["null", "true", "3", "1e-05", "'1e3'"]


@pytest.mark.parametrize("value", ["two\nlines", "a\tb", "${seed}", "\ud800", {"true": 1}, {"a: b": 1}, ["\0"]])
def test_what_would_be_read_as_something_else_is_refused(value):
    with pytest.raises(NotExpressibleError):
        override_value(value)
