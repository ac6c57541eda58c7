"""Measures the speed of this machine's GPU or CPU for the forecasts of `--info`: matrix products and memory."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medssr.models.hardware import Hardware

if TYPE_CHECKING:
    import torch

# Rows of the square matrices, and bytes of the array that is copied: large enough that a larger one is no faster, small
# enough for a CPU core (0.2 s a product).
_ROWS = {"cuda": 8192, "cpu": 2048}
_COPIED_BYTES = {"cuda": 2**31, "cpu": 2**28}
# The fastest of the repetitions counts, because other work on the machine only ever slows one down.
_SECONDS_PER_NUMBER = 4.0
_MIN_REPETITIONS = 5
_CPU_INFO = Path("/proc/cpuinfo")


def measure_hardware(clock: Callable[[], float] = time.perf_counter) -> Hardware:
    """Returns the speed of the first GPU, or of the CPU with torch's number of threads; takes about 12 seconds.

    Args:
        clock: Seconds; `time.process_time` measures one thread on a machine with other work.
    """
    import torch

    kind = "cuda" if torch.cuda.is_available() else "cpu"
    device, rows = torch.device(kind), _ROWS[kind]
    speeds = [_product_flops(rows, dtype, device, clock) for dtype in (torch.float32, torch.bfloat16)]
    num_threads = 0 if kind == "cuda" else torch.get_num_threads()
    return Hardware(
        name=torch.cuda.get_device_name() if kind == "cuda" else f"{_cpu_name()}, {num_threads} threads",
        is_gpu=kind == "cuda",
        num_threads=num_threads,
        float32_flops=speeds[0],
        bfloat16_flops=speeds[1],
        bytes_per_second=_copy_speed(_COPIED_BYTES[kind], device, clock),
        source=f"measured by medssr-doctor --measure on {datetime.now(tz=UTC):%Y-%m-%d} with torch {torch.__version__}",
    )


def _product_flops(rows: int, dtype: Any, device: torch.device, clock: Callable[[], float]) -> float:
    """Returns the FLOP/s of a product of two square matrices."""
    import torch

    left, right = (torch.randn(rows, rows, device=device).to(dtype) for _ in range(2))
    result = torch.empty_like(left)
    return 2 * rows**3 / _fastest(lambda: torch.mm(left, right, out=result), device, clock)


def _copy_speed(num_bytes: int, device: torch.device, clock: Callable[[], float]) -> float:
    """Returns the bytes read and written per second by a copy of an array."""
    import torch

    source = torch.ones(num_bytes, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * num_bytes / _fastest(lambda: target.copy_(source), device, clock)


def _fastest(task: Callable[[], Any], device: torch.device, clock: Callable[[], float]) -> float:
    """Returns the seconds of the fastest of the repetitions that a few seconds have room for."""
    import torch

    best, number, begin = float("inf"), 0, time.perf_counter()
    while number < _MIN_REPETITIONS or time.perf_counter() - begin < _SECONDS_PER_NUMBER:
        start = clock()
        task()
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, clock() - start)
        number += 1
    return best


def _cpu_name() -> str:
    """Returns the name of the processor, as exactly as the system has it."""
    if _CPU_INFO.is_file():
        for line in _CPU_INFO.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
