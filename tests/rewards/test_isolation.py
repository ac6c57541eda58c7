"""If a user-defined reward fails in any way, only its completion is unscored, and the run continues."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.helpers import completion, toy_question

from medssr.answers import Choice
from medssr.errors import InputError
from medssr.rewards.isolation import IsolatedReward, open_rewards
from medssr.rewards.label_match import LabelMatch
from medssr.rewards.scoring import FaultKind, ScoredInput

pytestmark = pytest.mark.slow

HOSTILE = {"_target_": "support.user_rewards.Hostile", "weight": 0.5}
TIMEOUT_S = 1.0


def cases(*texts):
    choice = Choice("A", "answer_phrase")
    return [ScoredInput(toy_question(number), completion(text=text), choice) for number, text in enumerate(texts)]


def score(reward, inputs, order=None):
    """The results of the inputs, which arrive in the given order of their indices."""
    reward.begin()
    for index in order or range(len(inputs)):
        reward.add(index, inputs[index])
    return list(reward.results().values())


@pytest.fixture(scope="module")
def hostile():
    reward = IsolatedReward("mine", HOSTILE, TIMEOUT_S)
    yield reward
    reward.close()


@pytest.fixture(scope="module")
def hostile_twins():
    reward = IsolatedReward("mine", HOSTILE, TIMEOUT_S, num_workers=2)
    yield reward
    reward.close()


@pytest.fixture
def leaves_no_process():
    """The number of processes before; there are as many afterwards."""
    before = len(multiprocessing.active_children())
    yield before
    assert len(multiprocessing.active_children()) == before


def kinds(results):
    return [result.fault and result.fault.kind for result in results]


def test_its_weight_and_its_numbers_come_back(hostile):
    assert hostile.weight == 0.5
    results = score(hostile, cases("fine", "true", "none", "ünïcode \N{PILE OF POO}"))
    assert [result.value for result in results] == [1.0, 1.0, pytest.approx(math.nan, nan_ok=True), 1.0]
    assert kinds(results) == [None] * 4


@pytest.mark.parametrize(
    ("action", "kind", "detail"),
    [
        ("raises", FaultKind.raised, "ZeroDivisionError"),
        ("recurses", FaultKind.raised, "RecursionError"),
        ("exits", FaultKind.raised, "SystemExit"),
        ("dies", FaultKind.died, "code 3"),
        ("is killed", FaultKind.died, "code -9"),
        ("loops", FaultKind.timed_out, "hang_in_a_regex"),
        ("sleeps", FaultKind.timed_out, "hang_and_ignore_signals"),
        ("nan", FaultKind.not_finite, "nan"),
        ("inf", FaultKind.not_finite, "-inf"),
        ("huge", FaultKind.not_finite, "1e+30"),
        ("text", FaultKind.wrong_type, "'1.0'"),
        ("list", FaultKind.wrong_type, "[1.0]"),
        ("lambda", FaultKind.wrong_type, "function"),
    ],
)
def test_every_faulty_action_is_one_fault_between_two_rewards(hostile, action, kind, detail):
    before, bad, after = score(hostile, cases("fine", action, "fine"))
    assert before.value == after.value == 1.0
    assert math.isnan(bad.value)
    assert bad.fault.kind is kind
    assert detail in bad.fault.detail


def test_a_step_waits_for_a_few_time_limits_only(hostile):
    results = score(hostile, cases(*["is killed"] * 5, "fine"))
    assert kinds(results) == [FaultKind.died] * 3 + [FaultKind.skipped] * 3
    assert score(hostile, cases("fine"))[0].value == 1.0  # the next step uses the reward again


def test_two_processes_give_the_same_results_whatever_arrives_first(hostile_twins):
    inputs = cases("fine", "is killed", "fine", "raises", "is killed", "is killed", "fine")
    results = score(hostile_twins, inputs, order=reversed(range(7)))
    died, skipped = FaultKind.died, FaultKind.skipped
    assert kinds(results) == [None, died, None, FaultKind.raised, died, died, skipped]


def test_a_process_that_ends_between_two_steps_is_no_fault_of_a_completion(hostile):
    score(hostile, cases("fine"))
    hostile._workers[0]._process.kill()
    hostile._workers[0]._process.join(60)
    assert score(hostile, cases("fine"))[0].value == 1.0


def test_a_reward_scores_while_further_completions_arrive(tmp_path):
    """The second completion arrives once the first has been scored."""
    node = {"_target_": "support.user_rewards.LeavesAFile", "weight": 1.0, "folder": str(tmp_path)}
    reward = IsolatedReward("mine", node, TIMEOUT_S)
    first, second = cases("one", "two")
    reward.begin()
    reward.add(0, first)
    assert wait_for((tmp_path / "one").exists)
    reward.add(1, second)
    assert [result.value for result in reward.results().values()] == [1.0, 1.0]
    reward.close()


def wait_for(is_so, limit_s=60.0):
    deadline = time.monotonic() + limit_s
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.01)
    return is_so()


@pytest.mark.parametrize("target", ["Unmakeable", "Weightless", "NoSuchReward"])
def test_a_reward_that_cannot_be_made_is_an_input_error(target, leaves_no_process):
    node = {"_target_": f"support.user_rewards.{target}"} | ({"weight": 1.0} if target == "Unmakeable" else {})
    with pytest.raises(InputError, match=r"reward\.mine"):
        IsolatedReward("mine", node, TIMEOUT_S)


def test_the_rewards_of_the_package_need_no_process_and_others_have_one_to_the_end(leaves_no_process):
    nodes = {
        "label": {"_target_": "medssr.rewards.label_match.LabelMatch", "weight": 1.0},
        "mine": {"_target_": "support.user_rewards.HostileSubclass", "weight": 1.0},
    }
    with open_rewards(nodes, TIMEOUT_S, num_workers=2) as rewards:
        assert type(rewards["label"]) is LabelMatch
        assert type(rewards["mine"]) is IsolatedReward
        assert len(multiprocessing.active_children()) == leaves_no_process + 2
        assert math.isnan(rewards["mine"](*cases("fine")[0]))


def test_what_was_made_is_closed_where_the_next_cannot_be(leaves_no_process):
    nodes = {"first": HOSTILE, "second": {"_target_": "support.user_rewards.Unmakeable", "weight": 1.0}}
    with pytest.raises(InputError, match=r"reward\.second"), open_rewards(nodes, TIMEOUT_S, num_workers=2):
        pass


@pytest.mark.parametrize("action", ["fine", "loops", "sleeps"])
def test_no_process_outlives_a_run_that_is_killed(action, tmp_path):
    """The process ends by itself: because the pipe breaks, or by its own time-out."""
    program = f"""
import os
from medssr.answers import Choice
from medssr.rewards.isolation import IsolatedReward
from medssr.rewards.scoring import ScoredInput
from medssr.questions import Question
from medssr.engines.types import Completion
if __name__ == "__main__":
    reward = IsolatedReward("mine", {HOSTILE!r}, {TIMEOUT_S}, num_workers=2)
    print(*[worker._process.pid for worker in reward._workers], flush=True)
    for worker in reward._workers:
        worker._connection.send([ScoredInput(
            Question("q", "Which?", {{"A": "liver", "B": "heart"}}, "A", "toy"),
            Completion([1], [-1.0], {action!r}, False), Choice("A", "")
        )])
    os.kill(os.getpid(), 9)
"""
    file = tmp_path / "run.py"
    file.write_text(program)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, file], capture_output=True, text=True, env=environment, check=False)
    # The output ends when the last process that inherited it has ended.
    assert done.returncode == -signal.SIGKILL
    assert not any(map(is_running, map(int, done.stdout.split())))


def is_running(process_id):
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{process_id}/stat").read_text().split()[2] != "Z"


def test_interrupting_the_whole_process_group_leaves_the_reward_to_its_run(hostile):
    pid = hostile._workers[0]._process.pid
    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGINT)
    assert score(hostile, cases("fine"))[0].value == 1.0
    assert hostile._workers[0]._process.pid == pid


def test_a_foreign_reward_says_whether_it_decides_signal():
    deciding = IsolatedReward("mine", {"_target_": "support.user_rewards.Deciding", "weight": 1.0}, timeout_s=5.0)
    not_deciding = IsolatedReward("mine", HOSTILE, timeout_s=5.0)
    assert (deciding.traits.decides_signal, not_deciding.traits.decides_signal) == (True, False)
    deciding.close()
    not_deciding.close()
