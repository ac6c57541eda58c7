"""Work of a process among several that hold a part of each weight; the processes of a test import it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh

from medssr.config import ModelConfig
from medssr.models.loading import empty_model, load_model, stored_dtype
from medssr.models.sharding import fill, shard

CPU = torch.device("cpu")


def in_processes(number: int, work: Callable[..., None], folder: Path, *args: Any) -> None:
    """Calls `work(rank, *args)` in each of several processes that are joined by gloo."""
    torch.multiprocessing.start_processes(
        partial(_joined, number, work, folder), args=args, nprocs=number, start_method="spawn"
    )


def _joined(number: int, work: Callable[..., None], folder: Path, rank: int, *args: Any) -> None:
    import os

    os.environ |= {"RANK": str(rank), "GLOO_SOCKET_IFNAME": "lo"}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'joined'}", rank=rank, world_size=number)
    try:
        work(rank, *args)
        dist.barrier()
    finally:
        dist.destroy_process_group()


def sharded(config: ModelConfig, *dtypes: torch.dtype, load_whole: Callable[[], Any] | None = None) -> list[Any]:
    """Returns the model of a configuration in each of some dtypes, sharded over all processes."""
    models = [empty_model(config, dtype) for dtype in dtypes]
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    for model in models:
        shard(model, mesh, torch.float32)
    fill(models, load_whole or (lambda: load_model(config, stored_dtype(config))), CPU)
    return models
