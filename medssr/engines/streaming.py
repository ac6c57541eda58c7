"""Feeds prompts to an engine as it has room for them, instead of waiting for the slowest completion of each batch."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from medssr.engines.types import Completion, RolloutEngine, Sampling

Answers = Generator[tuple[int, list[Completion]]]


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt to continue, or to score tokens behind.

    Attributes:
        index: The caller's number of it, which comes back with its completions.
        prompt: Token ids.
        seeds: The seed of each completion.
        scored: Tokens to score as the next one. If there are any, nothing is sampled: the request comes back as one
            completion, without text, of these tokens with the log-prob of each.
    """

    index: int
    prompt: list[int]
    seeds: list[int]
    scored: tuple[int, ...] = ()


@runtime_checkable
class StreamingEngine(RolloutEngine, Protocol):
    """A rollout engine that can begin with further prompts while completions of others are still under way."""

    def stream(self, batches: Iterable[Sequence[Request]], sampling: Sampling) -> Answers:
        """Yields the index of each request with its completions, in the order in which they are finished.

        The next batch is taken from `batches` once all requests before it have been sent and there is room for more, so
        that a stream over any number of prompts needs the memory of those under way. If the generator is closed before
        its end, the requests under way are ended.
        """
        ...


def stream_completions(engine: RolloutEngine, batches: Iterable[Sequence[Request]], sampling: Sampling) -> Answers:
    """Yields the index of each request with its completions, as soon as the engine has finished them.

    An engine that cannot stream, such as `rollout=hf`, finishes each batch before it gets the next. No request has
    tokens to score.
    """
    if isinstance(engine, StreamingEngine):
        yield from engine.stream(batches, sampling)
        return
    for batch in batches:
        groups = engine.generate([request.prompt for request in batch], [request.seeds for request in batch], sampling)
        yield from zip((request.index for request in batch), groups, strict=True)


def requests_of(prompts: Sequence[list[int]], seeds: Sequence[Sequence[int]]) -> list[Request]:
    """Returns the requests of all prompts, numbered in their order."""
    rows = zip(prompts, seeds, strict=True)
    return [Request(index, prompt, list(row)) for index, (prompt, row) in enumerate(rows)]


def in_order(answers: Iterable[tuple[int, list[Completion]]], number: int) -> list[list[Completion]]:
    """Returns the completions of requests 0 to `number` - 1, which came in any order."""
    by_index = dict(answers)
    return [by_index[index] for index in range(number)]
