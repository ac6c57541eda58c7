"""Processes of a training that agree with each other, with gloo."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from support.trainers import TORCHRUN

from medssr.errors import InputError
from medssr.utils.processes import fail_together

PROGRAM = """
import torch.distributed as dist
from medssr.errors import InputError
from medssr.utils.processes import fail_together

def fail_on_the_second():
    if dist.get_rank() == 1:
        raise InputError("no memory left")
    return "started"

dist.init_process_group("gloo")
try:
    fail_together(fail_on_the_second)
except InputError as error:
    assert str(error) == "no memory left"
else:
    raise AssertionError("it did not fail")
assert fail_together(dist.get_rank) == dist.get_rank()
dist.destroy_process_group()
"""


def fail() -> None:
    raise InputError("no memory left")


def test_one_process_fails_as_without_others():
    assert fail_together(lambda: 3) == 3
    with pytest.raises(InputError, match="no memory left"):
        fail_together(fail)


@pytest.mark.slow
def test_the_fault_of_one_process_ends_all(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [*TORCHRUN, sys.executable, str(tmp_path / "program.py")],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
