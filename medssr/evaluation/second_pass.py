"""The second pass by an engine: it compares letters behind answers without one, while it samples further answers."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass

from medssr.engines.likelihood import prefixes_to_score, sums_of_scores
from medssr.engines.sampled_answers import SampledAnswer
from medssr.engines.streaming import Request, StreamingEngine
from medssr.engines.types import Completion, Sampling
from medssr.evaluation.letter_likelihood import contexts_of_unread, letter_tokens, with_recovered
from medssr.models.policy import Policy
from medssr.questions import Question

Prefix = tuple[int, ...]


@dataclass(slots=True)
class _Comparison:
    """The letters of one answer, as far as the engine has scored them.

    Attributes:
        question: Index of the question.
        sample: Index of the answer among those to the question.
        letters: Token ids behind the context, by letter.
        scores: Log-probs of the tokens behind the context and each prefix of a letter's tokens.
        num_open: Number of prefixes without scores.
    """

    question: int
    sample: int
    letters: dict[str, list[int]]
    scores: dict[Prefix, dict[int, float]]
    num_open: int


class SecondPass:
    """Answers to questions, of which those without a letter wait for an engine to compare the question's letters.

    A letter that is one token behind its context, the usual case, needs one token of the engine for all letters; one of
    several tokens is scored prefix by prefix.

    Args:
        policy: Encodes contexts and letters.
        cue: The text between an answer and its letter.
        first_index: The index of the first request to the engine; those below it are of questions.
    """

    def __init__(self, policy: Policy, cue: str, first_index: int) -> None:
        self._policy = policy
        self._cue = cue
        self._next_index = first_index
        self._answers: dict[int, list[SampledAnswer]] = {}  # of questions with open comparisons
        self._num_open: dict[int, int] = {}  # comparisons of each of them
        self._comparisons: dict[int, tuple[_Comparison, Prefix]] = {}  # by index of the request
        self._requests: list[Request] = []

    def begin(self, index: int, question: Question, prompt: str, answers: list[SampledAnswer]) -> bool:
        """Adds the requests of the answers to a question that have no letter; returns whether there are any.

        Args:
            index: The question's index.
            question: The question.
            prompt: Its prompt, as text.
            answers: Its answers.
        """
        unread = [sample for sample, answer in enumerate(answers) if answer.letter is None]
        if not unread:
            return False
        contexts = contexts_of_unread(self._policy, prompt, [answers[sample] for sample in unread], self._cue)
        prompts, letters = letter_tokens(self._policy, contexts, [question] * len(unread))
        for sample, tokens, by_letter in zip(unread, prompts, letters, strict=True):
            plan = prefixes_to_score(list(by_letter.values()))
            comparison = _Comparison(index, sample, by_letter, {}, len(plan))
            for prefix, scored in plan.items():
                self._comparisons[self._next_index] = comparison, prefix
                self._requests.append(Request(self._next_index, [*tokens, *prefix], [], scored))
                self._next_index += 1
        self._answers[index] = list(answers)
        self._num_open[index] = len(unread)
        return True

    def take(self) -> list[Request]:
        """Returns the requests that were added since the last call."""
        requests, self._requests = self._requests, []
        return requests

    def end(self, index: int, scored: Completion) -> tuple[int, list[SampledAnswer]] | None:
        """Takes the scores of a request; returns the question's index and its answers if they were the last of it."""
        comparison, prefix = self._comparisons.pop(index)
        comparison.scores[prefix] = dict(zip(scored.token_ids, scored.logps, strict=True))
        comparison.num_open -= 1
        if comparison.num_open:
            return None
        question = comparison.question
        sums = sums_of_scores(list(comparison.letters.values()), comparison.scores)
        logps = dict(zip(comparison.letters, sums, strict=True))
        row = self._answers[question]
        row[comparison.sample] = with_recovered(row[comparison.sample], logps)
        self._num_open[question] -= 1
        if self._num_open[question]:
            return None
        del self._num_open[question]
        return question, self._answers.pop(question)


def answers_in_two_passes(
    engine: StreamingEngine,
    batches: Iterable[Sequence[Request]],
    sampling: Sampling,
    second: SecondPass,
    questions: Sequence[Question],
    read: Callable[[int, list[Completion]], tuple[str, list[SampledAnswer]]],
) -> Generator[tuple[int, list[SampledAnswer]]]:
    """Yields the index of each question with its answers after the second pass, in the order in which they are done.

    Requests of the second pass are sent between the batches of the first, and those of the last answers behind them.

    Args:
        engine: Samples and scores.
        batches: The requests of the questions, by index.
        sampling: How answers are sampled.
        second: The second pass.
        questions: All questions.
        read: Returns the prompt of a question as text, and the answers in its completions.
    """

    def both() -> Generator[Sequence[Request]]:
        for batch in batches:
            if requests := second.take():
                yield requests
            yield batch

    feed: Iterable[Sequence[Request]] = both()
    while True:
        with closing(engine.stream(feed, sampling)) as stream:
            for index, completions in stream:
                if index < len(questions):
                    prompt, answers = read(index, completions)
                    if not second.begin(index, questions[index], prompt, answers):
                        yield index, answers
                elif (done := second.end(index, completions[0])) is not None:
                    yield done
        requests = second.take()
        if not requests:
            return
        feed = [requests]
