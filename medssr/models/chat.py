"""How a tokenizer writes conversations: its chat template, the tokens that end a turn, control tokens within a text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from functools import lru_cache
from typing import Any

from medssr.errors import InputError

# Some templates write today's date. It is fixed, because prompts must not change at midnight; this is the date that the
# templates of Llama fall back to.
_DATE = date(2024, 7, 26)
# Added tokens of this form are control tokens even if the tokenizer does not mark them as special, such as <think>.
_CONTROL_FORM = re.compile(r"<\S+>|\[\S+\]")
# Of these, those that a model writes into its answers, where they remain tokens.
_TAG = re.compile(r"</?\w+>")
# The text of a turn whose end is looked for. One word, because some templates strip or split their texts.
_SENTINEL = "Sentinel7319"


def render_chat(messages: Sequence[dict[str, str]], tokenizer: Any) -> str:
    """Returns the text that a model continues with the next turn of a conversation.

    Without a chat template, the turns are separated by blank lines. The answer begins a line of its own, unless the
    last turn ends in a colon: after "Answer:", a base model goes on in the same line.
    """
    if tokenizer.chat_template is None:
        text = "\n\n".join(message["content"] for message in messages)
        return text if text.endswith(":") else f"{text}\n"
    return _render(messages, tokenizer, add_generation_prompt=True)


def _render(messages: Sequence[dict[str, str]], tokenizer: Any, add_generation_prompt: bool) -> str:
    text = tokenizer.apply_chat_template(
        list(messages),
        tokenize=False,
        add_generation_prompt=add_generation_prompt,
        strftime_now=_DATE.strftime,  # shadows the function of the same name that templates are given
    )
    return str(text)


def encode_texts(texts: Sequence[str], tokenizer: Any) -> list[list[int]]:
    """Returns the token ids of each text."""
    # A chat template adds the special tokens itself; without one, the tokenizer adds its BOS token.
    encoded: list[list[int]] = tokenizer(list(texts), add_special_tokens=tokenizer.chat_template is None)["input_ids"]
    return encoded


def has_more_tokens(text: str, max_tokens: int, tokenizer: Any) -> bool:
    """Returns whether a text is so long that it has more tokens, even if each of them is the longest of all."""
    if len(text) <= max_tokens:  # whatever the tokens are
        return False
    return len(text) > max_tokens * _longest_token(tokenizer)


@lru_cache(maxsize=8)
def _longest_token(tokenizer: Any) -> int:
    return max(map(len, tokenizer.get_vocab()))


def set_template_defaults(tokenizer: Any, values: Mapping[str, Any]) -> None:
    """Sets defaults of the variables of a tokenizer's chat template, such as `enable_thinking`.

    They become a part of the template. So every user of the tokenizer, and of a model that is saved with it, renders
    the same prompts, and can still pass other values.

    Raises:
        InputError: When a name is no variable, or a value cannot be written in a template.
    """
    for name in values:
        if not str(name).isidentifier():
            raise InputError(f"model.chat_template_kwargs: {name!r} is no name of a variable.")
    if tokenizer.chat_template is None or not values:
        return
    # The line break is removed by the template engine, instead of one that the template begins with.
    defaults = "".join(
        f"{{%- if {name} is not defined %}}{{%- set {name} = {_literal(value)} %}}{{%- endif %}}"
        for name, value in values.items()
    )
    if isinstance(tokenizer.chat_template, dict):  # templates by name
        named = tokenizer.chat_template.items()
        tokenizer.chat_template = {name: _with_prefix(template, f"{defaults}\n") for name, template in named}
    else:
        tokenizer.chat_template = _with_prefix(tokenizer.chat_template, f"{defaults}\n")


def _with_prefix(template: str, prefix: str) -> str:
    return template if template.startswith(prefix) else prefix + template


def _literal(value: Any) -> str:
    """Returns a value as a template writes it."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float | str):
        return repr(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_literal(key)}: {_literal(item)}" for key, item in value.items()) + "}"
    raise InputError(f"model.chat_template_kwargs: {value!r} is no text, number, true, false, null, list or mapping.")


def escape_control_tokens(text: str, tokenizer: Any) -> str:
    """Returns a user's text in which no control token of the tokenizer occurs, so that it cannot begin another turn.

    A space after the first character makes a control token ordinary text. A text without one is returned unchanged.
    """
    return _escape(text, _control_pattern(tokenizer, in_answer=False))


def escape_answer(text: str, tokenizer: Any) -> str:
    """Returns a model's answer, or the start of one, in which no token of the tokenizer ends or begins a turn.

    Tags that are no special tokens, such as <think>, remain tokens, because models write them into their answers.
    """
    return _escape(text, _control_pattern(tokenizer, in_answer=True))


def escape_messages(messages: Sequence[Mapping[str, str]], tokenizer: Any) -> list[dict[str, str]]:
    """Returns a conversation whose texts have no control tokens of the tokenizer."""
    return [{**message, "content": escape_control_tokens(message["content"], tokenizer)} for message in messages]


def _escape(text: str, pattern: re.Pattern[str] | None) -> str:
    while pattern is not None and pattern.search(text):  # a replacement can complete another control token
        text = pattern.sub(lambda match: f"{match[0][0]} {match[0][1:]}", text)
    return text


def control_token_ids(tokenizer: Any) -> frozenset[int]:
    """Returns the ids of all control tokens: special tokens, and added tokens such as <think> or [INST]."""
    return frozenset(index for index, token in tokenizer.added_tokens_decoder.items() if _is_control(token))


def _is_control(token: Any) -> bool:
    return bool(token.special) or _CONTROL_FORM.fullmatch(token.content) is not None


@lru_cache(maxsize=8)
def _control_pattern(tokenizer: Any, in_answer: bool) -> re.Pattern[str] | None:
    tokens = [token for token in tokenizer.added_tokens_decoder.values() if _is_control(token)]
    if in_answer:
        tokens = [token for token in tokens if token.special or not _TAG.fullmatch(token.content)]
    texts = sorted({token.content.strip() for token in tokens}, key=lambda text: (-len(text), text))
    texts = [text for text in texts if len(text) > 1]
    return re.compile("|".join(map(re.escape, texts))) if texts else None


def turn_end_ids(tokenizer: Any) -> tuple[int, ...]:
    """Returns the ids of the tokens with which the chat template ends an answer, that of the last turn first.

    They are read from rendered conversations, because the tokenizer's EOS token may be another one: that of the base
    models of Qwen3 is <|endoftext|>, and their turns end in <|im_end|>. Without a chat template there are none.
    """
    template = tokenizer.chat_template
    return () if template is None else _turn_end_ids(tokenizer, repr(template))


@lru_cache(maxsize=8)
def _turn_end_ids(tokenizer: Any, template: str) -> tuple[int, ...]:
    from jinja2.exceptions import TemplateError

    question, answer = {"role": "user", "content": "Question?"}, {"role": "assistant", "content": _SENTINEL}
    control_ids = control_token_ids(tokenizer)
    ends: list[int] = []
    for messages in ([question, answer], [question, answer, question]):
        try:
            text = _render(messages, tokenizer, add_generation_prompt=False)
        except TemplateError:  # such as a template for single questions
            continue
        _, is_found, rest = text.rpartition(_SENTINEL)
        rest_ids = tokenizer(rest, add_special_tokens=False)["input_ids"] if is_found else []
        ends += [index for index in rest_ids if index in control_ids][:1]
    return tuple(dict.fromkeys(ends))
