"""How a question becomes the token ids that a policy continues."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medssr.errors import InputError
from medssr.questions import Question, render_question


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


def prompt_messages(question: Question, template: str) -> list[dict[str, str]]:
    """Returns the conversation that the policy answers: one turn of the user."""
    return [{"role": "user", "content": template.replace("{question}", render_question(question))}]


def render_prompt(question: Question, template: str, tokenizer: Any) -> str:
    """Returns the text that the policy continues: a chat turn where the tokenizer has a chat template."""
    return render_chat(prompt_messages(question, template), tokenizer)


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


def encode_prompts(
    questions: Sequence[Question], template: str, tokenizer: Any, max_tokens: int, source: Path | str
) -> list[list[int]]:
    """Returns the token ids of each question's prompt.

    Args:
        questions: What to ask.
        template: The text of a prompt template.
        tokenizer: The policy's tokenizer.
        max_tokens: The longest prompt that leaves room for the completion in the policy's context.
        source: The file that the questions are from, for the error's message.

    Raises:
        InputError: When a prompt is longer than `max_tokens`.
    """
    texts = [render_prompt(question, template, tokenizer) for question in questions]
    encoded = encode_texts(texts, tokenizer)
    for question, token_ids in zip(questions, encoded, strict=True):
        if len(token_ids) > max_tokens:
            raise InputError.at(
                source,
                f'the prompt of question "{question.id}" has {len(token_ids)} tokens; at most {max_tokens} leave room '
                "for the completion in the model's context. Shorten it, lower max_new_tokens or take a model with a "
                "longer context.",
                field="stem",
            )
    return encoded
