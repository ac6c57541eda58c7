"""The settings of a model behind an OpenAI-compatible address: where it is, and how it is called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from medssr.errors import InputError
from medssr.llm.budget import Budget, Prices
from medssr.llm.chat_protocol import check_extra_body


@dataclass(frozen=True, kw_only=True)
class ChatSettings:
    """A model behind an OpenAI-compatible address, and how it is called.

    Attributes:
        base_url: Address of the API, e.g. "http://localhost:8000/v1".
        model: Name of the model there.
        api_key_env: Name of the environment variable that holds the key; None for a server without one.
        temperature: Sampling temperature.
        max_tokens: The most tokens of an answer.
        extra_body: Additions to the JSON of each request, which replace fields of the same name.
        max_concurrency: Calls under way at a time.
        timeout_s: Seconds until an attempt is given up.
        max_retries: Further attempts of a call, with growing pauses, after 429, 5xx, a lost connection or a time-out.
        prices: Of the model's tokens.
        budget: The most that all answers in the ledger may cost.
        ledger_dir: Folder of the ledgers. Runs may share one.
        group: The configuration group that these settings are in, for messages.
    """

    group: ClassVar[str] = "chat"

    base_url: str
    model: str
    api_key_env: str | None
    temperature: float
    max_tokens: int
    extra_body: Mapping[str, Any]
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
        check_extra_body(self.extra_body)
        for name, least in (("max_concurrency", 1), ("max_retries", 0), ("max_tokens", 1), ("temperature", 0)):
            if getattr(self, name) < least:
                raise InputError(f"{name}: {getattr(self, name)}; at least {least}.")
        if self.timeout_s <= 0:
            raise InputError(f"timeout_s: {self.timeout_s}; above 0.")
        if self.budget.dollars is not None and None in (self.prices.prompt, self.prices.completion):
            problem = "needs prices.prompt and prices.completion, in dollars per million tokens."
            raise InputError(f"budget.dollars: {problem}")
