"""The cost of calls to a model, and a limit on it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from medssr.errors import InputError


@dataclass(frozen=True, slots=True)
class Prices:
    """Dollars per million tokens; None where they are not given.

    Attributes:
        prompt: Of the prompt.
        completion: Of the answer.
    """

    prompt: float | None
    completion: float | None

    def dollars(self, prompt_tokens: int, completion_tokens: int) -> float | None:
        """Returns what the tokens cost, or None without prices.

        Example:
            >>> Prices(prompt=0.5, completion=1.5).dollars(1_000_000, 200_000)
            0.8
        """
        if self.prompt is None or self.completion is None:
            return None
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that the answers in a ledger may cost, whichever run paid for them; None sets no limit.

    Failed attempts are not counted: a server does not say what it charges for them.

    Attributes:
        dollars: By the prices in the configuration.
        tokens: Of prompts and answers together.
    """

    dollars: float | None
    tokens: int | None

    def __post_init__(self) -> None:
        """Raises InputError for a limit below zero."""
        for name, limit in (("dollars", self.dollars), ("tokens", self.tokens)):
            if limit is not None and limit < 0:
                raise InputError(f"budget.{name}: {limit}; at least 0, or null for no limit.")

    def covers(self, cost: Cost) -> bool:
        """Returns whether the cost stays within the budget."""
        return (self.tokens is None or cost.tokens <= self.tokens) and (
            self.dollars is None or cost.dollars <= self.dollars
        )


@dataclass(frozen=True, slots=True)
class Cost:
    """Tokens of prompt and answer together, and dollars."""

    tokens: int = 0
    dollars: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.tokens + other.tokens, self.dollars + other.dollars)

    def __mul__(self, count: int) -> Cost:
        return Cost(self.tokens * count, self.dollars * count)

    def at_least(self, other: Cost) -> Cost:
        """Returns the greater number of tokens and the greater sum of dollars."""
        return Cost(max(self.tokens, other.tokens), max(self.dollars, other.dollars))

    def __str__(self) -> str:
        return f"{self.tokens} tokens and {self.dollars:.4f} dollars"


# Any call costs something, so a budget of nothing covers none.
_LEAST = Cost(1, 1e-9)


class BudgetError(InputError):
    """The budget does not cover another call."""


class Allowance:
    """Lets no call begin that the budget may not cover.

    A call is taken to cost as much as the model's dearest one before it. So the budget is exceeded only by a call that
    is dearer than all before it, such as the first one; and by what other processes have under
    way.

    Used by many threads at a time.

    Args:
        budget: The limit.
        spent: Returns what all calls have cost, and what the model's dearest one has cost; None before the first.
    """

    def __init__(self, budget: Budget, spent: Callable[[], tuple[Cost, Cost | None]]) -> None:
        self._budget = budget
        self._spent = spent
        self._changed = threading.Condition()
        self._num_open = 0

    @contextmanager
    def one_call(self) -> Iterator[None]:
        """Waits until the budget surely covers another call, and reserves its cost until the call has ended.

        Raises:
            BudgetError: When it does not, and no call is under way that could turn out cheaper.
        """
        with self._changed:
            while not self._may_begin():
                if self._num_open == 0:
                    raise BudgetError(self._message())
                self._changed.wait()  # ends, since each call under way has a time limit and notifies
            self._num_open += 1
        try:
            yield
        finally:
            with self._changed:
                self._num_open -= 1
                self._changed.notify_all()

    def _may_begin(self) -> bool:
        if self._budget == Budget(None, None):
            return True
        spent, dearest = self._spent()
        if dearest is None:
            return self._num_open == 0 and self._budget.covers(spent + _LEAST)
        return self._budget.covers(spent + dearest * (self._num_open + 1))

    def _message(self) -> str:
        limits = {"budget.dollars": self._budget.dollars, "budget.tokens": self._budget.tokens}
        limit = ", ".join(f"{name}={value:g}" for name, value in limits.items() if value is not None)
        spent, dearest = self._spent()
        return (
            f"{limit} does not cover another call: {spent} are spent, and a call costs up to {dearest or 'any sum'}. "
            "Raise the budget and start the same command again: what was answered is in the ledger, not paid for again."
        )
