"""The probability of a question's own answer after the reasoning of each completion (RLPR, arXiv 2506.18254).

The statement of the answer at the end of a completion is replaced by one of the label in the same form: " B" by " A",
"warfarin" by "aspirin". What is measured is the mean probability of the tokens that name the label, in one pass of the
policy over reasoning and label, and in the same pass that of the label right behind the prompt, without reasoning.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile

import torch
from torch import Tensor

from medssr.grpo.rollouts import RolloutGroup, Sample
from medssr.questions import Question
from medssr.rewards.groups import AnswerProbabilities

# What stands before the label without reasoning: the form in which prompts ask for the answer.
_CUE = "The answer is "

Encode = Callable[[str], list[int]]


@dataclass(frozen=True, slots=True)
class Named:
    """Tokens that name an answer.

    Attributes:
        token_ids: With the tokens that lead to it.
        num_scored: How many of them, at the end, name it; at least 1.
    """

    token_ids: list[int]
    num_scored: int


def answer_probabilities(
    groups: Sequence[RolloutGroup],
    is_read: Sequence[bool],
    statements: Sequence[Sequence[tuple[range, ...] | None]],
    encode: Encode,
    decode: Callable[[list[int]], str],
    logps_of: Callable[[list[Sample]], list[Tensor]],
) -> list[AnswerProbabilities | None]:
    """Returns the probabilities of each group's label; None for a question without one, or if nobody reads them.

    Args:
        groups: P groups of G rollouts.
        is_read: `[P]`, whether a reward of the question reads them; else they are not computed.
        statements: `[P][G]`, the tokens that state the answer of each completion, the last statement first.
        encode: Returns the tokens of a text, without special ones.
        decode: Returns the text of tokens.
        logps_of: Returns the policy's log-probs of the completion tokens of samples, `[T]` each.
    """
    samples: list[Sample] = []
    scored: list[int] = []

    def add(group: RolloutGroup, before: list[int], named: Named) -> int:
        ids = [*before, *named.token_ids]
        samples.append(Sample(group.question.id, group.prompt_ids, ids, torch.zeros(len(ids))))
        scored.append(named.num_scored)
        return len(samples) - 1

    sample_indices: list[tuple[int, list[int | None]] | None] = []
    for group, needed, row in zip(groups, is_read, statements, strict=True):
        label = group.question.answer
        if label is None or not needed:
            sample_indices.append(None)
            continue
        reasoned: list[int | None] = []
        for rollout, letter, stated in zip(group.rollouts, group.letters, row, strict=True):
            if letter is None or stated is None:
                reasoned.append(None)
                continue
            ids = rollout.completion.token_ids
            lead, name = restated(decode(ids[stated[0].start : stated[0].stop]), group.question, letter, label)
            reasoned.append(add(group, ids[: stated[0].start], named_tokens(lead, name, encode)))
        sample_indices.append((add(group, [], named_tokens(_CUE, label, encode)), reasoned))
    logps = logps_of(samples)
    means = [row[-number:].double().exp().mean().item() for row, number in zip(logps, scored, strict=True)]
    return [
        None
        if indices is None
        else AnswerProbabilities([None if index is None else means[index] for index in indices[1]], means[indices[0]])
        for indices in sample_indices
    ]


def restated(statement: str, question: Question, letter: str, label: str) -> tuple[str, str]:
    """Returns what leads to the name of an answer in a statement, and the name of the label in the same form.

    Args:
        statement: A text that states the answer `letter`.
        question: The question.
        letter: The answer that it states.
        label: The answer that is to be stated.

    Example:
        >>> question = Question("q", "Which organ?", {"A": "liver", "B": "heart"}, "A", "example")
        >>> restated(" (B) heart", question, "B", "A"), restated(" is the heart", question, "B", "A")
        ((' (', 'A'), (' is the ', 'liver'))
    """
    by_letter = re.search(rf"(?<![A-Za-z]){letter}(?![A-Za-z])", statement)
    if by_letter is not None:
        return statement[: by_letter.start()], label
    by_text = re.search(re.escape(question.options[letter]), statement, re.IGNORECASE)
    if by_text is not None:
        return statement[: by_text.start()], question.options[label]
    return statement[: len(statement) - len(statement.lstrip())], label


def named_tokens(lead: str, name: str, encode: Encode) -> Named:
    """Returns the tokens of a text that ends with the name of an answer; those that differ without it are scored.

    Example:
        >>> named_tokens("is ", "B", lambda text: text.replace(" B", "#").encode())  # "is", and " B" as one token
        Named(token_ids=[105, 115, 35], num_scored=1)
    """
    leading, whole = encode(lead), encode(lead + name)
    num_shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(leading, whole, strict=False)))
    return Named(list(whole), max(1, len(whole) - num_shared))
