from __future__ import annotations

import errno

import pytest
from hydra.errors import ConfigCompositionException

from medssr.cli.disk_messages import disk_message, path_fault
from medssr.cli.error_messages import error_message
from medssr.utils.nearest import did_you_mean, nearest_names


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.EACCES, "paths.root_dir=FOLDER"), (errno.ENOSPC, "Make room"), (errno.ENOENT, "Check the setting")],
)
def test_a_fault_of_the_disk_names_the_file_and_what_to_do(number, remedy):
    message = disk_message(OSError(number, "what happened", "/there/file"), [])
    assert message.startswith("/there/file: what happened. ")
    assert remedy in message


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EACCES, "no file is named"),
        ConnectionResetError(errno.ECONNRESET, "reset", "/there/socket"),
        OSError("neither number nor name"),
    ],
)
def test_other_faults_of_the_system_are_not_explained_away(error):
    assert path_fault(error) is None
    assert error_message(error, "train", []) is None


@pytest.mark.parametrize(
    "error", [RuntimeError("a bug"), AssertionError("a bug"), KeyError("a bug"), TypeError("a bug")]
)
def test_a_bug_stays_a_bug(error):
    assert error_message(error, "train", ["grpo.num_steps=3"]) is None


def test_what_is_not_known_is_passed_on_in_one_line():
    assert error_message(ConfigCompositionException("Something new\nin two lines"), "train", []) == "Something new"


def test_nothing_is_proposed_where_nothing_is_near():
    assert nearest_names("zzz", ["alpha", "beta"]) == []
    assert did_you_mean("zzz", ["alpha", "beta"]) == ""


def test_the_same_last_part_comes_first():
    names = ["grpo.num_steps", "sft.num_steps", "probe.min_steps", "optim.num_stops"]
    assert nearest_names("optim.num_steps", names) == ["grpo.num_steps", "sft.num_steps", "optim.num_stops"]
