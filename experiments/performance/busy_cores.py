"""Measures products of small matrices on all cores, for several spin times of waiting OpenMP threads.

    python experiments/performance/busy_cores.py [--rounds 3] [--seconds 5]

Three settings take turns: libgomp's default, GOMP_SPINCOUNT=1000, and threads that sleep at once. Each is measured with
no other process and beside one and three others, which do the same work and start first.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from statistics import median

SETTINGS = {
    "libgomp's default": {},
    "GOMP_SPINCOUNT=1000": {"GOMP_SPINCOUNT": "1000"},
    "asleep at once": {"GOMP_SPINCOUNT": "0"},
}
WIDTH, HIDDEN, ROWS = 128, 512, 256
NUM_OTHERS = (0, 1, 3)
_LOADING_S = 4.0  # the time in which a process loads torch


def products_per_second(seconds: float) -> float:
    """Returns how many times per second a layer is computed."""
    import torch

    inputs, first, second = torch.randn(ROWS, WIDTH), torch.randn(WIDTH, HIDDEN), torch.randn(HIDDEN, WIDTH)
    number, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        torch.nn.functional.silu(inputs @ first) @ second
        number += 1
    return number / (time.perf_counter() - start)


def measure(environment: dict[str, str], num_others: int, seconds: float) -> float:
    """Returns the products per second of a new process while others do the same work."""
    inherited = {key: value for key, value in os.environ.items() if key not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    command = [sys.executable, __file__, "--worker", "--seconds"]

    def start(seconds: float) -> subprocess.Popen[str]:
        call = [*command, str(seconds)]
        return subprocess.Popen(call, env=inherited | environment, stdout=subprocess.PIPE, text=True)

    others = [start(seconds + (num_others + 2) * _LOADING_S) for _ in range(num_others)]
    try:
        time.sleep(_LOADING_S * num_others)
        output, _ = start(seconds).communicate()
    finally:
        for other in others:
            other.terminate()
            other.communicate()
    return float(output)


def main() -> None:
    """Prints the median of the rounds for each setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(products_per_second(arguments.seconds))
        return
    rates: dict[tuple[str, int], list[float]] = {}
    for _ in range(arguments.rounds):
        for name, environment in SETTINGS.items():
            for number in NUM_OTHERS:
                rates.setdefault((name, number), []).append(measure(environment, number, arguments.seconds))
    for name in SETTINGS:
        cells = (f"{median(rates[name, number]):,.0f} beside {number} others" for number in NUM_OTHERS)
        print(f"{name}, products per second: {', '.join(cells)}")


if __name__ == "__main__":
    main()
