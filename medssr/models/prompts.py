"""How a question becomes the token ids that a policy continues."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medssr.errors import InputError
from medssr.questions import Question, render_question

# A question, which is put into the policy's prompt template, or the text of a user's turn as it is.
PromptInput = Question | str


def read_prompt_template(path: Path | str) -> str:
    """Returns the text of a prompt template, in which `{question}` stands for stem and options.

    Raises:
        InputError: When the file is absent or lacks `{question}`.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError.at(path, "there is no such prompt template.", field="model.prompt_path")
    template = path.read_text(encoding="utf-8").strip()
    if "{question}" not in template:
        raise InputError.at(path, "lacks the placeholder {question}.", field="model.prompt_path")
    return template


def prompt_messages(asked: PromptInput, template: str) -> list[dict[str, str]]:
    """Returns the conversation that the policy answers: one turn of the user."""
    content = asked if isinstance(asked, str) else template.replace("{question}", render_question(asked))
    return [{"role": "user", "content": content}]


def render_prompt(asked: PromptInput, template: str, tokenizer: Any) -> str:
    """Returns the text that the policy continues: a chat turn where the tokenizer has a chat template."""
    return render_chat(prompt_messages(asked, template), tokenizer)


def render_chat(messages: Sequence[dict[str, str]], tokenizer: Any) -> str:
    """Returns the text that a model continues with the next turn of a conversation.

    Without a chat template the turns stand one below the other.
    """
    if tokenizer.chat_template is None:
        return "\n\n".join(message["content"] for message in messages) + "\n"
    return str(tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True))


def encode_texts(texts: Sequence[str], tokenizer: Any) -> list[list[int]]:
    """Returns the token ids of each text that a model is to continue."""
    # The chat template writes the special tokens itself; a base model's prompt gets its BOS from the tokenizer.
    encoded: list[list[int]] = tokenizer(list(texts), add_special_tokens=tokenizer.chat_template is None)["input_ids"]
    return encoded


def encode_with_continuations(
    contexts: Sequence[str], continuations: Sequence[Sequence[str]], tokenizer: Any
) -> tuple[list[list[int]], list[list[list[int]]]]:
    """Returns the token ids of each context, and of what each of its continuations adds to it.

    Context and continuation are encoded together, as a model would read them. Where a continuation changes how the end
    of its context is split, the context ends before that place, for all of its continuations.
    """
    plain = encode_texts(contexts, tokenizer)
    pairs = [context + end for context, ends in zip(contexts, continuations, strict=True) for end in ends]
    joined = iter(encode_texts(pairs, tokenizer))
    prompts, additions = [], []
    for prompt, ends in zip(plain, continuations, strict=True):
        wholes = [next(joined) for _ in ends]
        shared = min(_num_equal(prompt, whole) for whole in wholes)
        prompts.append(prompt[:shared])
        additions.append([whole[shared:] for whole in wholes])
    return prompts, additions


def _num_equal(prompt: list[int], whole: list[int]) -> int:
    """Returns how many tokens two lists have in common from the start; at least one of `whole` is left over."""
    limit = min(len(prompt), len(whole) - 1)
    return next((place for place in range(limit) if prompt[place] != whole[place]), limit)


def encode_prompts(
    asked: Sequence[PromptInput], template: str, tokenizer: Any, max_tokens: int, source: Path | str
) -> list[list[int]]:
    """Returns the token ids of each prompt.

    Args:
        asked: What to ask.
        template: The text of a prompt template.
        tokenizer: The policy's tokenizer.
        max_tokens: The longest prompt that leaves room for the completion in the policy's context.
        source: The file that the questions are from, for the error's message.

    Raises:
        InputError: When a prompt is longer than `max_tokens`.
    """
    encoded = encode_texts([render_prompt(one, template, tokenizer) for one in asked], tokenizer)
    require_room(asked, encoded, max_tokens, source)
    return encoded


def require_room(
    asked: Sequence[PromptInput], prompts: Sequence[list[int]], max_tokens: int, source: Path | str
) -> None:
    """Raises InputError for the first whose prompt has more than `max_tokens` tokens."""
    for one, token_ids in zip(asked, prompts, strict=True):
        if len(token_ids) > max_tokens:
            name = f'"{one[:40]}..."' if isinstance(one, str) else f'of question "{one.id}"'
            raise InputError.at(
                source,
                f"the prompt {name} has {len(token_ids)} tokens; at most {max_tokens} leave room "
                "for the completion in the model's context. Shorten it, lower max_new_tokens or take a model with a "
                "longer context.",
                field="stem",
            )
