"""What vLLM in this process and vLLM servers have in common: which requests they take, and how answers are read."""

from __future__ import annotations

from collections.abc import Sequence

from medssr.errors import InputError
from medssr.models.policy import Policy
from medssr.rollout.types import Completion, Sampling

# The first version that takes new weights, and returns token ids, in the way that the engines rely on.
OLDEST_VERSION = (0, 32)


def is_too_old(version: str) -> bool:
    """Returns whether a version of vLLM is older than `OLDEST_VERSION`.

    Example:
        >>> is_too_old("0.31.2"), is_too_old("0.32.0+cpu"), is_too_old("1.0")
        (True, False, False)
    """
    return tuple(int(part) for part in version.split(".")[:2]) < OLDEST_VERSION


def check_requests(prompts: Sequence[list[int]], sampling: Sampling, max_len: int) -> None:
    """Checks what vLLM would refuse, or change without a word.

    Args:
        prompts: Token ids.
        sampling: How tokens are drawn.
        max_len: The most tokens of a prompt with its completion.

    Raises:
        InputError: When the temperature is out of vLLM's range, or a prompt is too long.
    """
    if sampling.temperature != 0 and not 0.01 <= sampling.temperature <= 2:
        raise InputError(
            f"rollout: temperature {sampling.temperature}; vLLM takes 0.01 to 2, and 0. Or take rollout=hf."
        )
    longest = max((len(prompt) for prompt in prompts), default=0)
    needed = longest + sampling.max_new_tokens
    if needed > max_len:
        raise InputError(
            f"rollout: vLLM's max_model_len is {max_len}; a prompt of {longest} tokens and a completion of "
            f"{sampling.max_new_tokens} need {needed}."
        )


def num_different(num_samples: int, sampling: Sampling) -> int:
    """Returns how many completions of a prompt to ask for: at temperature 0 one, since vLLM refuses to repeat it.

    Example:
        >>> num_different(4, Sampling(temperature=1.0, max_new_tokens=8)), num_different(4, Sampling(0.0, 8))
        (4, 1)
    """
    return num_samples if sampling.temperature > 0 else 1


def read_completions(
    policy: Policy,
    token_rows: Sequence[list[int]],
    logp_rows: Sequence[list[float]],
    num_samples: int,
    sampling: Sampling,
) -> list[Completion]:
    """Returns the completions of a prompt from the token ids and log-probs that vLLM has returned.

    Args:
        policy: Reads the tokens.
        token_rows: As many as `num_different` says.
        logp_rows: Of each token; empty rows where the sampling does not ask for them.
        num_samples: How many completions are wanted.
        sampling: How the tokens were drawn.
    """
    if sampling.temperature == 0:  # vLLM gives the log-probs of temperature 1; the likeliest token was certain
        logp_rows = [[0.0] * len(row) for row in logp_rows]
    texts = policy.tokenizer.batch_decode(token_rows, skip_special_tokens=True)
    completions = [
        Completion(tokens, logps, text, is_truncated=tokens[-1] not in policy.eos_token_ids)
        for tokens, logps, text in zip(token_rows, logp_rows, texts, strict=True)
    ]
    return completions * (num_samples // len(completions))
