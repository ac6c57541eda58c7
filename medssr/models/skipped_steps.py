"""Optimiser steps that were skipped since their loss or gradient was not finite: some are weather, a run is a fault."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from medssr.errors import InputError

log = logging.getLogger(__name__)

_NUM_NAMED = 50


class SkippedSteps:
    """The run of skipped optimiser steps up to now; `state_dict()` belongs into checkpoints.

    Args:
        limit: As many in a row end the training.
        limit_key: The configuration key of the limit, for the message.
    """

    def __init__(self, limit: int, limit_key: str) -> None:
        self._limit = limit
        self._limit_key = limit_key
        self._steps: list[int] = []
        self._items: list[str] = []

    def took(self) -> None:
        """Ends the run: an optimiser step was taken."""
        self._steps, self._items = [], []

    def skipped(self, step: int, items: Iterable[str]) -> None:
        """Adds an optimiser step to the run.

        Args:
            step: The training step that it belongs to.
            items: Names of what it was about, such as the ids of questions.

        Raises:
            InputError: When it is the last that the limit allows.
        """
        names = list(dict.fromkeys(items))
        self._steps.append(step)
        self._items += names
        log.warning("step %d: loss or gradient is not finite, so it changes no weights (%s)", step, _listed(names))
        if len(self._steps) >= self._limit:
            raise InputError(
                f"{self._limit_key}: {self._limit} optimiser steps in a row (in training steps {self._steps[0]} to "
                f"{self._steps[-1]}) had a loss or gradient that is not finite. They were about "
                f"{_listed(dict.fromkeys(self._items))}. Look at these; else lower optim.optimizer.lr or compute in "
                "float32 (trainer.precision=32-true model.dtype=float32)."
            )

    def state_dict(self) -> dict[str, Any]:
        """Returns what a checkpoint keeps."""
        return {"steps": list(self._steps), "items": list(self._items)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where the checkpoint was made."""
        self._steps, self._items = list(state["steps"]), list(state["items"])


def _listed(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _NUM_NAMED} more" if len(listed) > _NUM_NAMED else ""
    return ", ".join(listed[:_NUM_NAMED]) + more
