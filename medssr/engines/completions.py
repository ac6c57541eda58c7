"""Makes completions of sampled tokens: their text, whether they ended, and where a stop string cuts them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from medssr.engines.types import Completion, Sampling
from medssr.models.policy import Policy


def stop_strings(policy: Policy, sampling: Sampling) -> tuple[str, ...]:
    """Returns the strings that end a completion: those of the policy, and those of the sampling."""
    return tuple(dict.fromkeys([*policy.stop, *sampling.stop]))


def find_stop(text: str, stop: Collection[str]) -> int | None:
    r"""Returns where a completion is cut, which is before the stop string that is complete first, or None.

    vLLM cuts there too: the first in the list counts if several are complete at the same place.

    Example:
        >>> find_stop("The answer is B.\nQ: And now?", ["\nQuestion:", "\nQ:"])
        16
    """
    stops = [(index + len(string), index) for string in stop if (index := text.find(string)) >= 0]
    if not stops:
        return None
    first_end = min(end for end, _ in stops)
    return next(index for end, index in stops if end == first_end)


def read_completions(
    policy: Policy, token_rows: Sequence[list[int]], logp_rows: Sequence[list[float]], sampling: Sampling
) -> list[Completion]:
    """Returns the completions of sampled tokens.

    A stop string ends a completion: its text ends before the string, and its tokens with the token that completes the
    string, so that training has the tokens that were sampled.

    Args:
        policy: Decodes the tokens, and has the end tokens.
        token_rows: Token ids of each completion; they may go on behind a stop string.
        logp_rows: Log-prob of each token; empty rows if the sampling does not need them.
        sampling: How the tokens were sampled.
    """
    eos_ids, stop = policy.eos_token_ids, stop_strings(policy, sampling)
    has_ended = [row[-1] in eos_ids for row in token_rows]
    # The end token is left out here, because one that is not marked as special would be decoded.
    bodies = [row[:-1] if is_ended else row for row, is_ended in zip(token_rows, has_ended, strict=True)]
    texts = policy.tokenizer.batch_decode(bodies, skip_special_tokens=True)
    completions = []
    for tokens, logps, text, is_ended in zip(token_rows, logp_rows, texts, has_ended, strict=True):
        end = find_stop(text, stop)
        if end is None:
            completions.append(Completion(tokens, logps, text, is_truncated=not is_ended))
        else:
            length = num_tokens_to_stop(tokens, policy.tokenizer, stop)
            completions.append(Completion(tokens[:length], logps[:length], text[:end], is_truncated=False))
    return completions


def num_tokens_to_stop(tokens: list[int], tokenizer: Any, stop: Collection[str]) -> int:
    """Returns the number of tokens up to the one that completes a stop string; the text of all has one."""
    low, high = 1, len(tokens)
    while low < high:  # bisection: a text has a stop string if the text of fewer tokens has one
        middle = (low + high) // 2
        if find_stop(tokenizer.decode(tokens[:middle], skip_special_tokens=True), stop) is None:
            low = middle + 1
        else:
            high = middle
    return low
