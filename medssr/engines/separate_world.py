"""A torch.distributed for vLLM alone, apart from the process group of the trainers.

vLLM in a trainer's process is an engine of one process, like vLLM in a program without trainers. But it takes the
default process group that it finds for its own: it would create groups with all trainers, which could start it only
together, and its shutdown would destroy the default group. So within vLLM's code there are other process groups than in
the trainer's. torch.distributed keeps them in one object, which is exchanged.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch.distributed import destroy_process_group, distributed_c10d

# Groups of all worlds are registered in one table under their numbers, so those of this one are counted from here.
_FIRST_NUMBER = 1_000_000


@dataclass(eq=False, slots=True)
class _World:
    """The attributes of `torch.distributed.distributed_c10d._World`."""

    default_pg: Any = None
    pg_map: dict[Any, Any] = field(default_factory=dict)
    pg_names: dict[Any, Any] = field(default_factory=dict)
    pg_group_ranks: dict[Any, Any] = field(default_factory=dict)
    pg_backend_config: dict[Any, Any] = field(default_factory=dict)
    group_count: int = _FIRST_NUMBER
    tags_to_pg: dict[str, Any] = field(default_factory=dict)
    pg_to_tag: dict[Any, str] = field(default_factory=dict)
    pg_coalesce_state: dict[Any, Any] = field(default_factory=dict)
    comms: list[Any] = field(default_factory=list)


class SeparateWorld:
    """Process groups that exist only within `entered()`; those outside exist within `left()` and outside."""

    def __init__(self) -> None:
        self._world = _World()
        self._outer: Any = None

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Within the block, torch.distributed has the groups of this world."""
        assert self._outer is None, "already entered"
        self._outer = distributed_c10d._world
        distributed_c10d._world = self._world  # type: ignore[assignment]
        try:
            yield
        finally:
            distributed_c10d._world, self._outer = self._outer, None

    @contextmanager
    def left(self) -> Iterator[None]:
        """Within the block, which is inside `entered()`, torch.distributed has the outer groups."""
        assert self._outer is not None, "not entered"
        distributed_c10d._world = self._outer
        try:
            yield
        finally:
            distributed_c10d._world = self._world  # type: ignore[assignment]

    @contextmanager
    def default_group_destroyed(self) -> Iterator[None]:
        """Hides the default group in the block, which is inside `entered()`, and destroys it at the end.

        To destroy a default group as such unregisters the groups of all worlds, those of the trainers too.
        """
        default, self._world.default_pg = self._world.default_pg, None
        try:
            yield
        finally:
            if default is not None:
                destroy_process_group(default)
