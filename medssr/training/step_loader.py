"""Loads the items of each training step, a pure function of (seed, name, step), so that resuming changes nothing."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Generic, TypeVar

import lightning as L
import torch

from medssr.questions import Question
from medssr.questions.option_order import shuffle_options
from medssr.utils.seeding import derive_seed

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StepBatch(Generic[T]):
    """The items of one training step.

    Attributes:
        step: The index of the step.
        items: The items of the step.
        further_items: Further items for dynamic sampling, `len(items)` for each round.
        spare_items: As many items that can take the place of some; none if the loader has no spares.
        following: The batch of the next step, without a following one of its own; None after the last.
    """

    step: int
    items: list[T]
    further_items: list[list[T]] = field(default_factory=list)
    spare_items: list[T] = field(default_factory=list)
    following: StepBatch[T] | None = None

    def shard(self, rank: int, num_processes: int) -> StepBatch[T]:
        """Returns the items of one process: every `num_processes`-th, so that each minibatch is divided equally.

        It has no spare items, since which of the step's items are replaced is the same for any number of processes.

        Example:
            >>> StepBatch(7, ["a", "b", "c", "d"]).shard(1, 2).items
            ['b', 'd']
        """
        further_items = [items[rank::num_processes] for items in self.further_items]
        following = None if self.following is None else self.following.shard(rank, num_processes)
        return StepBatch(self.step, self.items[rank::num_processes], further_items, following=following)


class StepLoader(Generic[T]):
    """Yields one batch per step; each epoch is a new permutation of the items, and steps may span two epochs.

    Lightning stores `state_dict()` in its checkpoints, so a resumed run continues with the next step.

    Args:
        items: All items.
        seed: Run seed.
        name: Name of the order, such as the stage.
        num_steps: Number of training steps.
        num_items_per_step: Number of items per step.
        num_rounds: Number of lists of further items per step. They come from a separate order, and the further items
            of a step do not depend on whether earlier steps used theirs.
        vary: Returns the variant of an item in an epoch, a pure function of both; None if items do not vary.
        has_spares: Whether each step has spare items, from a further separate order.
    """

    def __init__(
        self,
        items: Sequence[T],
        seed: int,
        name: str,
        num_steps: int,
        num_items_per_step: int,
        num_rounds: int = 0,
        vary: Callable[[T, int], T] | None = None,
        has_spares: bool = False,
    ) -> None:
        self._items = items
        self._seed = seed
        self._name = name
        self._num_steps = num_steps
        self._num_items_per_step = num_items_per_step
        self._num_rounds = num_rounds
        self._vary = vary
        self._has_spares = has_spares
        self._next_step = 0

    def __len__(self) -> int:
        """The number of steps of the whole training, finished ones included."""
        return self._num_steps

    def __iter__(self) -> Iterator[StepBatch[T]]:
        while self._next_step < self._num_steps:
            step = self._next_step
            self._next_step += 1
            following = self._batch(step + 1) if step + 1 < self._num_steps else None
            yield replace(self._batch(step), following=following)

    def state_dict(self) -> dict[str, Any]:
        """Returns the state for the checkpoint."""
        return {"next_step": self._next_step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the state of a checkpoint."""
        self._next_step = state["next_step"]

    def _batch(self, step: int) -> StepBatch[T]:
        rounds = range(step * self._num_rounds, (step + 1) * self._num_rounds)
        return StepBatch(
            step,
            self._items_of(self._name, step),
            [self._items_of(f"{self._name}/refill", number) for number in rounds],
            self._items_of(f"{self._name}/spare", step) if self._has_spares else [],
        )

    def _items_of(self, name: str, number: int) -> list[T]:
        """Returns the chunk with the given number of the endless sequence of epochs with this name."""
        first = number * self._num_items_per_step
        return [self._item(name, index) for index in range(first, first + self._num_items_per_step)]

    def _item(self, name: str, index: int) -> T:
        """Returns the item with the given index of the sequence of epochs with this name."""
        epoch, offset = divmod(index, len(self._items))
        item = self._items[_order(self._seed, name, epoch, len(self._items))[offset]]
        return self._vary(item, epoch) if self._vary else item


class InterleavedLoader(Generic[T]):
    """Yields for each step one batch with the items of several loaders, in a random order.

    Args:
        loaders: Loaders of the same number of steps.
        seed: Run seed.
        name: Name of the order, such as the stage.
    """

    def __init__(self, loaders: Sequence[StepLoader[T]], seed: int, name: str) -> None:
        self._loaders = loaders
        self._seed = seed
        self._name = name

    def __len__(self) -> int:
        """The number of steps of the whole training, finished ones included."""
        return len(self._loaders[0])

    def __iter__(self) -> Iterator[StepBatch[T]]:
        for batches in zip(*self._loaders, strict=True):
            following = [batch.following for batch in batches if batch.following is not None]
            yield replace(self._mixed(batches), following=self._mixed(following) if following else None)

    def state_dict(self) -> dict[str, Any]:
        """Returns the state for the checkpoint."""
        return self._loaders[0].state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the state of a checkpoint."""
        for loader in self._loaders:
            loader.load_state_dict(state)

    def _mixed(self, batches: Sequence[StepBatch[T]]) -> StepBatch[T]:
        """Returns one batch with the items of several, all of the same step."""
        step = batches[0].step
        seed = derive_seed(self._seed, self._name, "mix", step)
        return StepBatch(step, mixed([batch.items for batch in batches], seed))


def mixed(lists: Sequence[Sequence[T]], seed: int) -> list[T]:
    """Returns the items of all lists in a random order.

    So each process, which takes every W-th item, and each minibatch has about its share of every list. With places at
    equal distances, one item in four that is labelled would always fall to the same one of four processes.

    Args:
        lists: The lists.
        seed: Of the order.

    Example:
        >>> mixed(["ab", "wxyz"], seed=1)
        ['w', 'x', 'z', 'a', 'y', 'b']
    """
    items = [item for part in lists for item in part]
    random.Random(seed).shuffle(items)
    return items


@lru_cache(maxsize=16)
def _order(seed: int, name: str, epoch: int, num_items: int) -> list[int]:
    order = list(range(num_items))
    random.Random(derive_seed(seed, name, "epoch", epoch)).shuffle(order)
    return order


class PromptDataModule(L.LightningDataModule):
    """Provides the questions of each training step.

    Args:
        questions: The questions of the stage, or of its first source.
        seed: Run seed.
        stage: Name of the stage.
        num_steps: Number of training steps.
        num_prompts_per_step: Number of questions per step, of all sources together.
        num_rounds: Number of rounds of dynamic sampling per step.
        has_shuffled_options: Whether the options of a question are shuffled anew in each epoch.
        further: Further sources by name: their questions, and the number of these per step.
        has_spares: Whether each step has spare questions, of the first source.
    """

    def __init__(
        self,
        questions: Sequence[Question],
        seed: int,
        stage: str,
        num_steps: int,
        num_prompts_per_step: int,
        num_rounds: int = 0,
        has_shuffled_options: bool = False,
        further: Mapping[str, tuple[Sequence[Question], int]] | None = None,
        has_spares: bool = False,
    ) -> None:
        super().__init__()

        def shuffled(question: Question, epoch: int) -> Question:
            return shuffle_options(question, derive_seed(seed, stage, "options", epoch, question.id))

        vary = shuffled if has_shuffled_options else None
        sources = further or {}
        num_first = num_prompts_per_step - sum(number for _, number in sources.values())
        first = StepLoader(questions, seed, stage, num_steps, num_first, num_rounds, vary, has_spares)
        others = [
            StepLoader(items, seed, f"{stage}/source/{name}", num_steps, number, vary=vary)
            for name, (items, number) in sources.items()
        ]
        self._loader = InterleavedLoader([first, *others], seed, stage) if others else first

    def train_dataloader(self) -> StepLoader[Question] | InterleavedLoader[Question]:
        """Returns the loader of the stage."""
        return self._loader

    def transfer_batch_to_device(
        self, batch: StepBatch[Question], device: torch.device, dataloader_idx: int
    ) -> StepBatch[Question]:
        """Returns the batch unchanged: questions are text."""
        return batch
