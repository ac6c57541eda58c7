"""A moving average of the weights that a model trains: a slower copy of the policy, without a second model.

The average has the trained weights alone, in their number format, and each process has those that it trains: whole
ones, its shards of them (FSDP2), or adapters. To compute with the average, it changes places with the weights of the
model, so that log-probs, sampling and the transfer of weights to an engine work as for the policy itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from medssr.utils.stopping import undisturbed


class AveragedWeights(nn.Module):
    """The average of a model's trained weights, which begins with those that it has now.

    Args:
        model: The model that is trained, on every process alike.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._is_in_place = False
        self.restart(model)

    def restart(self, model: Any) -> None:
        """Begins anew with the weights that the model has now, as where they have only just been read."""
        copies = [weight.detach().clone() for weight in _trained(model)]
        # Parameters, since processes exchange the buffers of a module in every pass; a list, since the names of weights
        # hold dots. They are part of the checkpoint of the module that this one belongs to.
        self.weights = nn.ParameterList([nn.Parameter(copy, requires_grad=False) for copy in copies])

    @torch.no_grad()
    def update(self, model: Any, decay: float) -> None:
        """Sets each weight m of the average to decay m + (1 - decay) w, for the weight w of the model.

        Args:
            model: The model.
            decay: 0 to 1.
        """
        assert not self._is_in_place
        for average, weight in self._pairs(model):
            average.lerp_(weight, 1 - decay)

    @contextmanager
    def in_place_of(self, model: Any) -> Iterator[None]:
        """Lets the model compute with the average in the block, which must not train it."""
        try:
            undisturbed(lambda: self._exchange(model))
            yield
        finally:
            try:
                if self._is_in_place:
                    undisturbed(lambda: self._exchange(model))
            finally:
                if self._is_in_place:  # a signal came before that began; none comes a second time
                    self._exchange(model)

    @torch.no_grad()
    def _exchange(self, model: Any) -> None:
        """Exchanges the values of the average and of the model's weights, one weight after the other."""
        for average, weight in self._pairs(model):
            kept = weight.clone()
            weight.copy_(average)
            average.copy_(kept)
        self._is_in_place = not self._is_in_place

    def _pairs(self, model: Any) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields each weight of the average with the model's; this process's parts of those that are sharded."""
        for average, weight in zip(self.weights, _trained(model), strict=True):
            yield _local(average), _local(weight)


def _trained(model: Any) -> list[Tensor]:
    return [weight for weight in model.parameters() if weight.requires_grad]


def _local(weight: Tensor) -> Tensor:
    return weight.to_local() if hasattr(weight, "to_local") else weight
