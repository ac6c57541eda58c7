"""Demonstrations for supervised fine-tuning: a prompt and the completion to imitate."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from medssr.errors import InputError, shown
from medssr.models.chat import encode_texts, escape_answer, has_more_tokens
from medssr.models.prompts import PromptInput, prompt_text, render_prompt
from medssr.questions import open_questions, read_labelled_questions
from medssr.utils.files import write_lines_atomically

if TYPE_CHECKING:
    from medssr.models.policy import Policy

# Token ids of a prompt and of its completion, which ends with the token that ends a turn.
Sample = tuple[list[int], list[int]]


@dataclass(frozen=True, slots=True)
class Demonstration:
    """What is asked, and a completion to imitate.

    Attributes:
        asked: What is asked.
        completion: What is imitated.
        prefix: The beginning of the completion, which is given and not trained.
        is_open: Whether the completion goes on behind its text, so that its end is not imitated.
    """

    asked: PromptInput
    completion: str
    prefix: str = ""
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A demonstration that is not trained on: its number in the file from 1, the reason, and what that rests on."""

    number: int
    reason: str
    detail: str = ""


class Demonstrations(Protocol):
    """Where demonstrations come from.

    Attributes:
        source: What messages call it.
    """

    source: str

    def draw(self, seed: int) -> list[Demonstration]:
        """Returns the demonstrations; whatever is random in them derives from the seed."""
        ...


@runtime_checkable
class ScreenedDemonstrations(Demonstrations, Protocol):
    """Demonstrations some of which are left out.

    Attributes:
        left_out: Those that the last draw left out, with the reasons.
        numbers: The number in the file, from 1, of each that the last draw returned.
    """

    left_out: Sequence[LeftOut]
    numbers: Sequence[int]

    def counts(self) -> dict[str, Any]:
        """Returns what the last draw counted, for the manifest."""
        ...


class FileDemonstrations:
    """The demonstrations of a question file of any form whose records have a field `completion` as well.

    Args:
        path: The file.
    """

    def __init__(self, path: Path | str) -> None:
        self.source = str(path)

    def draw(self, seed: int) -> list[Demonstration]:
        """Returns them in the order of the file.

        Raises:
            InputError: As for question files, or when a completion is missing.
        """
        demonstrations = []
        for record, question in open_questions(self.source).items(beside="completion"):
            completion = record.value.get("completion")
            if not isinstance(completion, str) or not completion.strip():
                raise record.error(f"expected a text, found {shown(completion)}.", "completion")
            demonstrations.append(Demonstration(question, completion))
        return demonstrations


class LabelDemonstrations:
    """Labelled questions, each with the sentence that names its label: fine-tuning without reasoning.

    Args:
        path: A file of labelled questions.
    """

    def __init__(self, path: Path | str) -> None:
        self.source = str(path)

    def draw(self, seed: int) -> list[Demonstration]:
        """Returns them in the order of the file.

        Raises:
            InputError: As for question files, or when a label is missing.
        """
        questions = read_labelled_questions(self.source)
        return [Demonstration(question, f"The answer is {question.answer}.") for question in questions]


def demonstrated_texts(demonstrations: Sequence[Demonstration], prompt_template: str) -> list[str]:
    """Returns the turns of the demonstrations, for training a tokenizer on them."""
    texts = []
    for demonstration in demonstrations:
        content = prompt_text(demonstration.asked, prompt_template)
        texts.append("\n".join(["user", content, "assistant", demonstration.completion]))
    return texts


def write_left_out(left_out: Sequence[LeftOut], path: Path) -> None:
    """Writes the demonstrations that are left out as JSONL, in the order of their numbers."""
    ordered = sorted(left_out, key=lambda each: each.number)
    write_lines_atomically(path, (json.dumps(asdict(each), ensure_ascii=False) for each in ordered))


@dataclass(frozen=True, slots=True)
class Encoded:
    """Demonstrations as token ids.

    Attributes:
        samples: Those that are short enough, in their order.
        too_long: What is known of the length of the others, by their index.
    """

    samples: list[Sample]
    too_long: dict[int, str]


def encode_demonstrations(
    policy: Policy, demonstrations: Sequence[Demonstration], max_tokens: int | None, source: str
) -> Encoded:
    """Returns the demonstrations as token ids.

    Args:
        policy: The policy, whose chat template the prompts have.
        demonstrations: The demonstrations.
        max_tokens: The most tokens of prompt and completion together; longer ones are left out. None: the model's
            context, and longer ones are an error.
        source: The file of the demonstrations, for the error message.

    Raises:
        InputError: When one is too long and `max_tokens` is None, or all are.
    """
    if max_tokens is None:
        completions = _encoded_completions(policy, demonstrations)
        longest = max(len(prefix) + len(completion) for prefix, completion in completions)
        prompts = policy.encode([demonstration.asked for demonstration in demonstrations], longest, source)
        return Encoded(_samples(prompts, completions), {})
    context = policy.model.config.max_position_embeddings
    if max_tokens > context:
        raise InputError(f"sft.max_tokens: {max_tokens}, but the model's context has {context} tokens; give fewer.")
    tokenizer = policy.tokenizer
    samples, too_long, fitting = [], {}, {}
    for index, demonstration in enumerate(demonstrations):
        prompt = render_prompt(demonstration.asked, policy.prompt_template, tokenizer)
        texts = prompt, demonstration.prefix + demonstration.completion
        # Not tokenised, because a tokenizer takes a hundred bytes for each character of a text.
        if any(has_more_tokens(text, max_tokens, tokenizer) for text in texts):
            too_long[index] = f"more than {max_tokens} tokens"
        else:
            fitting[index] = prompt
    prompts = encode_texts(list(fitting.values()), tokenizer) if fitting else []
    completions = _encoded_completions(policy, [demonstrations[index] for index in fitting]) if fitting else []
    for index, sample in zip(fitting, _samples(prompts, completions), strict=True):
        if (num_tokens := sum(map(len, sample))) > max_tokens:
            too_long[index] = f"{num_tokens} tokens"
        else:
            samples.append(sample)
    if not samples:
        problem = f"sft.max_tokens: none of {len(demonstrations)} demonstrations of {source} has at most {max_tokens}"
        raise InputError(f"{problem} tokens; give more, or a model with a longer context.")
    return Encoded(samples, too_long)


def _encoded_completions(policy: Policy, demonstrations: Sequence[Demonstration]) -> list[Sample]:
    """Returns the token ids of the given beginning of each completion, and of what is imitated."""
    targets = policy.encode_targets([demonstration.completion for demonstration in demonstrations])
    prefixes = [escape_answer(demonstration.prefix, policy.tokenizer) for demonstration in demonstrations]
    given = policy.tokenizer(prefixes, add_special_tokens=False)["input_ids"]
    ends = [-1 if demonstration.is_open else None for demonstration in demonstrations]  # the last token ends a turn
    return [(prefix, target[:end]) for prefix, target, end in zip(given, targets, ends, strict=True)]


def _samples(prompts: Sequence[list[int]], completions: Sequence[Sample]) -> list[Sample]:
    pairs = zip(prompts, completions, strict=True)
    return [([*prompt, *prefix], completion) for prompt, (prefix, completion) in pairs]
