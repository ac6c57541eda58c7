"""Answers by the likelihood of option letters: instead of a completion, or after one from which no letter was read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from medssr.engines.likelihood import continuation_logps
from medssr.engines.sampled_answers import SampledAnswer
from medssr.models.chat import escape_answer
from medssr.models.policy import Policy
from medssr.models.prompts import encode_with_continuations
from medssr.questions import Question

LIKELIHOOD = "likelihood"


def letter_logps(policy: Policy, contexts: Sequence[str], questions: Sequence[Question]) -> list[dict[str, float]]:
    """Returns the log-likelihood of each option's letter, with a blank before it, after each context.

    Only the letters of the question's own options are compared, by the sum over their tokens; letters that a tokenizer
    makes one token of have no length to correct for. A context that is too long for the model loses its beginning.
    """
    prompts, letters = letter_tokens(policy, contexts, questions)
    logps = continuation_logps(policy, prompts, [list(row.values()) for row in letters])
    return [dict(zip(row, values, strict=True)) for row, values in zip(letters, logps, strict=True)]


def letter_tokens(
    policy: Policy, contexts: Sequence[str], questions: Sequence[Question]
) -> tuple[list[list[int]], list[dict[str, list[int]]]]:
    """Returns the token ids of each context, and behind it those of each option's letter with a blank before it.

    A context that is too long for the model loses its beginning.
    """
    letters = [list(question.options) for question in questions]
    prompts, continuations = encode_with_continuations(
        contexts, [[f" {letter}" for letter in row] for row in letters], policy.tokenizer
    )
    longest = policy.model.config.max_position_embeddings
    prompts = [prompt[-(longest - max(map(len, ends))) :] for prompt, ends in zip(prompts, continuations, strict=True)]
    return prompts, [dict(zip(row, ends, strict=True)) for row, ends in zip(letters, continuations, strict=True)]


def likeliest_letter(logps: Mapping[str, float]) -> str:
    """Returns the letter with the greatest log-likelihood, the first of several.

    Example:
        >>> likeliest_letter({"A": -2.5, "B": -0.1, "C": -3.0})
        'B'
    """
    return max(logps, key=lambda letter: logps[letter])


def likelihood_answers(
    policy: Policy, contexts: Sequence[str], questions: Sequence[Question]
) -> list[list[SampledAnswer]]:
    """Returns one answer per question: the likeliest letter after its context; nothing is generated."""
    return [
        [SampledAnswer("", 0, False, likeliest_letter(logps), LIKELIHOOD, letter_logps=logps)]
        for logps in letter_logps(policy, contexts, questions)
    ]


def recover(
    policy: Policy,
    prompts: Sequence[str],
    questions: Sequence[Question],
    answers: Sequence[Sequence[SampledAnswer]],
    cue: str,
) -> list[list[SampledAnswer]]:
    """Returns the answers; those without a letter get the one that is likeliest after their text and a cue.

    What was read from the text stays as it is: `recovered` is a field of its own, so that scores with and without the
    second pass come from the same answers.

    Args:
        policy: Compares the letters.
        prompts: The prompt of each question, as text.
        questions: The questions.
        answers: For each question its answers.
        cue: The text between an answer and its letter.
    """
    unread = [
        (index, sample)
        for index, row in enumerate(answers)
        for sample, answer in enumerate(row)
        if answer.letter is None
    ]
    contexts = [
        context
        for prompt, row in zip(prompts, answers, strict=True)
        for context in contexts_of_unread(policy, prompt, [answer for answer in row if answer.letter is None], cue)
    ]
    result = [list(row) for row in answers]
    if unread:
        logps_of_unread = letter_logps(policy, contexts, [questions[index] for index, _ in unread])
        for (index, sample), logps in zip(unread, logps_of_unread, strict=True):
            result[index][sample] = with_recovered(answers[index][sample], logps)
    return result


def contexts_of_unread(policy: Policy, prompt: str, answers: Sequence[SampledAnswer], cue: str) -> list[str]:
    """Returns the text behind which the letters of each answer to a prompt are compared."""
    return [prompt + escape_answer(answer.text, policy.tokenizer) + cue for answer in answers]


def with_recovered(answer: SampledAnswer, logps: dict[str, float]) -> SampledAnswer:
    """Returns an answer without a letter with the likeliest letter behind it."""
    return replace(answer, recovered=likeliest_letter(logps), letter_logps=logps)
