"""Renders questions as prompts, and encodes them as token ids."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from medssr.errors import InputError
from medssr.models.chat import encode_texts, escape_control_tokens, has_more_tokens, render_chat
from medssr.questions import Question, render_options, render_question
from medssr.utils.text_files import read_template

# A question, which is inserted into the prompt template, or the text of a user turn, which is used unchanged.
PromptInput = Question | str
AnyInput = TypeVar("AnyInput", bound=PromptInput)
# Number of prompts that are encoded at a time where only their lengths are wanted.
_NUM_AT_A_TIME = 1000
_PLACEHOLDER = re.compile(r"\{(?:question|stem|options)\}")


def read_prompt_template(path: Path | str) -> str:
    """Returns the text of a prompt template.

    `{question}` stands for stem and options, `{stem}` and `{options}` for either of them.

    Raises:
        InputError: When the file is absent or no UTF-8 text, or shows no question or no options.
    """
    path = Path(path)
    template = read_template(path, "model.prompt_path").strip()
    if "{question}" not in template and not ("{stem}" in template and "{options}" in template):
        problem = "lacks the placeholder {question}, or {stem} and {options} in place of it."
        raise InputError.at(path, problem, field="model.prompt_path")
    return template


def prompt_text(prompt_input: PromptInput, template: str, escape: Callable[[str], str] = str) -> str:
    """Returns the text of the user turn.

    Args:
        prompt_input: A question, or the whole text.
        template: The text of a prompt template.
        escape: Escapes control tokens in the question or text; those of the template remain.
    """
    if isinstance(prompt_input, str):
        return escape(prompt_input)
    parts = {
        "{question}": render_question(prompt_input),
        "{stem}": prompt_input.stem,
        "{options}": render_options(prompt_input),
    }
    # In one pass, so that a placeholder in the question remains text.
    return _PLACEHOLDER.sub(lambda match: escape(parts[match[0]]), template)


def prompt_messages(prompt_input: PromptInput, template: str, tokenizer: Any) -> list[dict[str, str]]:
    """Returns the conversation that the policy answers: one user turn, in which control tokens are escaped."""
    escape = partial(escape_control_tokens, tokenizer=tokenizer)
    return [{"role": "user", "content": prompt_text(prompt_input, template, escape)}]


def render_prompt(prompt_input: PromptInput, template: str, tokenizer: Any) -> str:
    """Returns the text that the policy continues, in chat format if the tokenizer has a chat template."""
    return render_chat(prompt_messages(prompt_input, template, tokenizer), tokenizer)


def encode_with_continuations(
    contexts: Sequence[str], continuations: Sequence[Sequence[str]], tokenizer: Any
) -> tuple[list[list[int]], list[list[list[int]]]]:
    """Returns the token ids of each context, and the further token ids of each of its continuations.

    Context and continuation are encoded together, as a model would read them. If a continuation changes the tokens at
    the end of its context, the context ends before these tokens for all of its continuations.
    """
    plain = encode_texts(contexts, tokenizer)
    pairs = [context + end for context, ends in zip(contexts, continuations, strict=True) for end in ends]
    joined = iter(encode_texts(pairs, tokenizer))
    prompts, additions = [], []
    for prompt, ends in zip(plain, continuations, strict=True):
        wholes = [next(joined) for _ in ends]
        shared = min(_common_prefix_length(prompt, whole) for whole in wholes)
        prompts.append(prompt[:shared])
        additions.append([whole[shared:] for whole in wholes])
    return prompts, additions


def _common_prefix_length(prompt: list[int], whole: list[int]) -> int:
    """Returns the length of the common prefix of two lists, less than the length of `whole`."""
    limit = min(len(prompt), len(whole) - 1)
    return next((index for index in range(limit) if prompt[index] != whole[index]), limit)


def encode_prompts(
    inputs: Sequence[PromptInput], template: str, tokenizer: Any, max_tokens: int, source: Path | str
) -> list[list[int]]:
    """Returns the token ids of each prompt.

    Args:
        inputs: The questions or texts.
        template: The text of a prompt template.
        tokenizer: The policy's tokenizer.
        max_tokens: Maximum length of a prompt: the policy's context without the completion.
        source: The file of the questions, for the error message.

    Raises:
        InputError: When a prompt is longer than `max_tokens`.
    """
    texts = [render_prompt(prompt_input, template, tokenizer) for prompt_input in inputs]
    return encode_rendered(inputs, texts, tokenizer, max_tokens, source)


def encode_rendered(
    inputs: Sequence[PromptInput], texts: Sequence[str], tokenizer: Any, max_tokens: int, source: Path | str
) -> list[list[int]]:
    """Returns the token ids of each prompt, whose text is rendered already; arguments as of `encode_prompts`.

    A text that cannot fit is not tokenised: a tokenizer takes a hundred bytes of memory for each of its characters.

    Raises:
        InputError: When a prompt is longer than `max_tokens`.
    """
    for prompt_input, text in zip(inputs, texts, strict=True):
        if has_more_tokens(text, max_tokens, tokenizer):
            raise _too_long(prompt_input, f"{len(text)} characters", max_tokens, source)
    encoded = encode_texts(texts, tokenizer)
    for prompt_input, token_ids in zip(inputs, encoded, strict=True):
        if len(token_ids) > max_tokens:
            raise _too_long(prompt_input, f"{len(token_ids)} tokens", max_tokens, source)
    return encoded


def longest_prompt(inputs: Sequence[AnyInput], encode: Callable[[Sequence[AnyInput]], list[list[int]]]) -> int:
    """Returns the number of tokens of the longest prompt, and keeps no prompt.

    Args:
        inputs: The questions or texts.
        encode: Returns the token ids of the prompts of some of them; raises InputError where one is too long.
    """
    batches = (inputs[start : start + _NUM_AT_A_TIME] for start in range(0, len(inputs), _NUM_AT_A_TIME))
    return max((len(prompt) for batch in batches for prompt in encode(batch)), default=0)


def check_prompts(
    inputs: Sequence[AnyInput],
    encode: Callable[[Sequence[AnyInput]], list[list[int]]],
    own_text: Callable[[AnyInput], str],
    max_tokens: int,
) -> None:
    """Raises InputError where a prompt is too long.

    A prompt whose text cannot have too many tokens, since each has a byte or more, is not encoded: encoding 200,000
    questions takes a minute.

    Args:
        inputs: The questions or texts.
        encode: Returns the token ids of the prompts of some of them; raises InputError where one is too long.
        own_text: Returns the part of an input's prompt in which it differs from other prompts.
        max_tokens: Maximum length of a prompt.
    """
    if not inputs:
        return
    sizes = [len(own_text(prompt_input).encode(errors="surrogatepass")) for prompt_input in inputs]
    num_constant = len(encode(inputs[:1])[0])  # of template, chat markup and examples, and of the first input
    suspects = [prompt for prompt, size in zip(inputs, sizes, strict=True) if num_constant + size > max_tokens]
    for start in range(0, len(suspects), _NUM_AT_A_TIME):
        encode(suspects[start : start + _NUM_AT_A_TIME])


def input_text(prompt_input: PromptInput) -> str:
    """Returns the text that an input contributes to its prompt."""
    return prompt_input if isinstance(prompt_input, str) else render_question(prompt_input)


def _too_long(prompt_input: PromptInput, length: str, max_tokens: int, source: Path | str) -> InputError:
    name = f'"{prompt_input[:40]}..."' if isinstance(prompt_input, str) else f'of question "{prompt_input.id}"'
    return InputError.at(
        source,
        f"the prompt {name} has {length}; at most {max_tokens} tokens leave room for the completion in the model's "
        "context. Shorten it, lower max_new_tokens or take a model with a longer context.",
        field="stem",
    )
