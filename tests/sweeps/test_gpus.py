from __future__ import annotations

import os
import subprocess
import sys

import pytest

from medssr.sweeps.gpus import visible_gpus

PROGRAM = """
from medssr.sweeps.gpus import take_gpu
print(take_gpu(), take_gpu(), flush=True)
input()
"""


def holder(folder, gpus="0,GPU-5a") -> subprocess.Popen[str]:
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": gpus, "TMPDIR": str(folder)}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )


@pytest.mark.slow
def test_each_process_has_a_gpu_of_its_own_until_it_dies(tmp_path):
    processes = [holder(tmp_path) for _ in range(2)]
    try:
        taken = [process.stdout.readline().split() for process in processes]
        assert sorted(taken) == [["0", "0"], ["GPU-5a", "GPU-5a"]]
        processes.append(holder(tmp_path))
        processes[0].kill()
        assert processes[2].stdout.readline().split() == taken[0]
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.mark.parametrize(("value", "gpus"), [("", []), ("-1", []), ("3", ["3"]), ("0, 2", ["0", "2"])])
def test_the_gpus_are_those_that_the_process_may_use(monkeypatch, value, gpus):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert visible_gpus() == gpus
