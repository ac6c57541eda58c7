"""Answers by the likelihood of letters: in place of a completion, or behind one from which no option could be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from medssr.engines.likelihood import continuation_logps
from medssr.engines.sampled_answers import SampledAnswer
from medssr.models.policy import Policy
from medssr.models.prompts import encode_with_continuations
from medssr.questions import Question

LIKELIHOOD = "likelihood"


def letter_logps(policy: Policy, contexts: Sequence[str], questions: Sequence[Question]) -> list[dict[str, float]]:
    """Returns the log-likelihood of each option's letter, with the blank before it, behind each context.

    Only the letters of the question's own options are compared, by the sum over their tokens; letters that a tokenizer
    makes one token of have no length to correct for. A context that is too long for the model loses its beginning.
    """
    letters = [list(question.options) for question in questions]
    prompts, continuations = encode_with_continuations(
        contexts, [[f" {letter}" for letter in row] for row in letters], policy.tokenizer
    )
    longest = policy.model.config.max_position_embeddings
    prompts = [prompt[-(longest - max(map(len, ends))) :] for prompt, ends in zip(prompts, continuations, strict=True)]
    logps = continuation_logps(policy, prompts, continuations)
    return [dict(zip(row, found, strict=True)) for row, found in zip(letters, logps, strict=True)]


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
    """Returns one answer per question: the likeliest letter behind its context; nothing is generated."""
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
    """Returns the answers, those without a letter with the one that is likeliest behind their text and a cue.

    What was read from the text stays as it is: `recovered` is a field of its own, so that scores with and without the
    second pass come from the same answers.

    Args:
        policy: Compares the letters.
        prompts: The prompt of each question, as text.
        questions: What was asked.
        answers: For each question what was answered.
        cue: What leads over from an answer's text to a letter.
    """
    unread = [
        (index, place) for index, row in enumerate(answers) for place, answer in enumerate(row) if answer.letter is None
    ]
    contexts = [prompts[index] + answers[index][place].text + cue for index, place in unread]
    result = [list(row) for row in answers]
    if unread:
        for (index, place), logps in zip(
            unread, letter_logps(policy, contexts, [questions[index] for index, _ in unread]), strict=True
        ):
            result[index][place] = replace(answers[index][place], recovered=likeliest_letter(logps), letter_logps=logps)
    return result
