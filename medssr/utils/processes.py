"""The processes of one training: which of them this is, and collective operations on Python objects.

Without a process group these functions act on a world of size 1.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from medssr.errors import InputError

T = TypeVar("T")

# How launchers tell a process its rank; unset means the first. torchrun, SLURM, and Lightning, which starts the others
# of a node itself.
_RANKS = ("RANK", "SLURM_PROCID", "NODE_RANK", "LOCAL_RANK")


def is_main_process() -> bool:
    """Returns whether this process is the one that writes, by the environment, also before processes are joined."""
    return all(os.environ.get(name, "0") == "0" for name in _RANKS)


def are_started_together() -> bool:
    """Returns whether a launcher starts all processes at once (torchrun, srun), so that none ran before the others."""
    return int(os.environ.get("SLURM_NTASKS", "1")) > 1 or (
        "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1
    )


def num_processes() -> int:
    """Returns the number of processes that are joined."""
    import torch.distributed as dist

    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather_objects(value: T) -> list[T]:
    """Returns the value of each process, in the order of their ranks; every process has to call it.

    Values travel as pickles, so they should be small and hold no tensors of a GPU, which would be restored on the GPU
    of the sender, and no views, which would take the whole tensor along.
    """
    import torch.distributed as dist

    if num_processes() == 1:
        return [value]
    values: list[Any] = [None] * num_processes()
    dist.all_gather_object(values, value)
    return values


def fail_together(action: Callable[[], T]) -> T:
    """Returns the result of an action of this process alone; every process has to call it.

    Raises:
        InputError: In all processes, when the action raises it in any.
    """
    problem = result = None
    try:
        result = action()
    except InputError as error:
        problem = error
    problems = [other for other in gather_objects(None if problem is None else str(problem)) if other is not None]
    if problems:
        raise problem or InputError(problems[0])
    return cast(T, result)


def rank() -> int:
    """Returns the number of this process among the joined ones, from 0."""
    import torch.distributed as dist

    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def from_first_process(compute: Callable[[], T]) -> T:
    """Returns in every process what `compute` returns in the first; every process has to call it.

    Raises:
        InputError: In every process, when the first raises it. What else it raises becomes one in the others.
    """
    outcome: tuple[T | None, str | None] = (None, None)
    failure: Exception | None = None
    if rank() == 0:
        try:
            outcome = compute(), None
        except InputError as error:
            failure, outcome = error, (None, str(error))
        except Exception as error:
            failure, outcome = error, (None, f"the first process failed: {type(error).__name__}: {error}")
    result, message = gather_objects(outcome)[0]
    if failure is not None:
        raise failure
    if message is not None:
        raise InputError(message)
    return cast(T, result)


def average_metrics(values: Mapping[str, float]) -> dict[str, float]:
    """Returns the mean of each value over all processes; what a process does not have counts as 0 there."""
    by_rank = gather_objects(dict(values))
    names = dict.fromkeys(name for local in by_rank for name in local)
    return {name: sum(local.get(name, 0.0) for local in by_rank) / len(by_rank) for name in names}


def average_number(value: float) -> float:
    """Returns the mean of a number over all processes, summed in float64."""
    return average_metrics({"": value})[""]


def pad_to_longest(items: list[T], filler: T) -> list[T]:
    """Returns the items, with fillers behind them until every process has as many as the one with the most.

    For loops of collective calls, which every process has to make equally often.
    """
    return items + [filler] * (max(gather_objects(len(items))) - len(items))
