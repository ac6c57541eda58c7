"""A model behind an OpenAI-compatible address, and how it is called."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from medssr.errors import InputError
from medssr.synthesis.budget import Budget, Prices


@dataclass(frozen=True, kw_only=True)
class ChatSettings:
    """A model behind an OpenAI-compatible address, and how it is called.

    Attributes:
        base_url: Address of the API, e.g. "http://localhost:8000/v1".
        model: Name of the model there.
        api_key_env: Name of the environment variable that holds the key; None for a server without one.
        temperature: Sampling temperature.
        max_tokens: The most tokens of an answer.
        max_concurrency: Calls under way at a time.
        timeout_s: Seconds until an attempt is given up.
        max_retries: Further attempts of a call, with growing pauses, after 429, 5xx, a lost connection or a time-out.
        prices: Of the model's tokens.
        budget: The most that all answers in the ledger may cost.
        ledger_dir: Folder of the ledgers. Runs may share one.
    """

    base_url: str
    model: str
    api_key_env: str | None
    temperature: float
    max_tokens: int
    max_concurrency: int
    timeout_s: float
    max_retries: int
    prices: Prices
    budget: Budget
    ledger_dir: Path | str

    def __post_init__(self) -> None:
        """Checks what the types do not say.

        Raises:
            InputError: When the address is none or holds credentials, a number is out of range, or there is a budget in
                dollars without prices.
        """
        address = urlsplit(self.base_url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise InputError(f'base_url: "{self.base_url}" is no address; it starts with http:// or https://.')
        if address.username or address.password:
            raise InputError("base_url: holds credentials, which logs would show; name their variable in api_key_env.")
        for name, least in (("max_concurrency", 1), ("max_retries", 0), ("max_tokens", 1), ("temperature", 0)):
            if getattr(self, name) < least:
                raise InputError(f"{name}: {getattr(self, name)}; at least {least}.")
        if self.timeout_s <= 0:
            raise InputError(f"timeout_s: {self.timeout_s}; above 0.")
        if self.budget.dollars is not None and None in (self.prices.prompt, self.prices.completion):
            problem = "needs prices.prompt and prices.completion, in dollars per million tokens."
            raise InputError(f"budget.dollars: {problem}")

    def api_key(self) -> str | None:
        """Returns the key, or None for a server without one.

        Raises:
            InputError: When its environment variable is not set or holds what no key is made of.
        """
        if self.api_key_env is None:
            return None
        key = os.environ.get(self.api_key_env, "").strip()
        if not key or not key.isascii() or not key.isprintable():
            problem = f"The environment variable {self.api_key_env} {'holds no key' if key else 'is not set'}"
            remedy = f"put the key of {self.base_url} in it, or set api_key_env=null for a server without one"
            raise InputError(f"{problem}; {remedy}.")
        return key
