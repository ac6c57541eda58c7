"""Which optional parts the steps of a training have."""

from __future__ import annotations

import re
import sys
from functools import partial
from pathlib import Path

import pytest
from support.grpo_runs import EvenTokens, fit, make_module
from support.helpers import grpo_config
from support.step_gradient import other_weights
from torch.optim import SGD

import medssr.grpo
from medssr.grpo.hints import Hints
from medssr.rewards.answer_format import AnswerFormat
from medssr.rewards.certainty import SelfCertainty
from medssr.rewards.peer_vote import PeerVote
from medssr.rewards.votes import MajorityVote

BAND = {"_target_": "medssr.grpo.selection.PassRateBand", "min_rate": 0.1, "max_rate": 0.9, "num_rests": 1}
AVERAGE = {"decay": 0.5, "final_decay": 1.0, "num_answers": 2, "anchors_kl": True}
AVERAGE |= {"_target_": "medssr.grpo.teachers.MovingAverage"}
OTHER = {"_target_": "medssr.grpo.teachers.OtherModel", "path": "m", "dtype": "float32"}
GATED = {"weight": 1.0, "interpolation": 0.5, "min_reward": 0.5}
GATED |= {"_target_": "medssr.grpo.teachers.Distillation"}


def parts_of(policy, reward, hints=None, **settings):
    teacher = other_weights(policy.model) if settings.get("teacher") is OTHER else None
    config = grpo_config(**settings)
    module = make_module(policy, config, reward, partial(SGD, lr=1.0), teacher=teacher, hints=hints)
    return [type(part).__name__ for part in module.parts]


def test_a_step_of_plain_grpo_has_no_optional_parts(policy):
    settings = {"num_iterations": 2, "beta": 0.1, "tis_cap": 2.0, "dynamic_sampling_rounds": 1}
    assert parts_of(policy, {"first": EvenTokens(), "form": AnswerFormat(0.1)}, **settings) == []


@pytest.mark.slow
def test_a_step_of_plain_grpo_runs_through_the_modules_of_the_diagram_and_no_other(policy, tmp_path):
    module = make_module(policy, grpo_config(num_steps=1, beta=0.1), EvenTokens(), partial(SGD, lr=1.0))
    training_step, files = module.training_step, set()

    def record(frame, event, _):
        if event == "call":
            files.add(Path(frame.f_code.co_filename))

    def recorded(*arguments):
        sys.setprofile(record)
        try:
            training_step(*arguments)
        finally:
            sys.setprofile(None)

    module.training_step = recorded
    fit(policy, tmp_path, module.config, module=module)
    folder = Path(medssr.grpo.__file__).parent
    diagram = medssr.grpo.__doc__.partition("`module.py` has the loop")[0]
    drawn = set(re.findall(r"(?<!/)\b(\w+)\.py", diagram))
    assert drawn == {file.stem for file in files if file.parent == folder}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reward", "settings", "expected"),
    [
        (MajorityVote(1.0, None), {}, ["GroupScoring", "Visits"]),
        (EvenTokens(), {"selection": BAND}, ["Visits", "Selecting"]),
        (EvenTokens(), {"has_permuted_view": True}, ["PermutedViews"]),
        (EvenTokens(), {"beta": 0.1, "teacher": AVERAGE}, ["MovingTeacher"]),
        (EvenTokens(), {"beta": 0.0, "teacher": OTHER, "distillation": GATED}, ["Distillation"]),
        (EvenTokens(), {"hints": Hints(1, {"q1": "The liver."})}, ["HintRetries"]),
        (
            {"peers": PeerVote(1.0), "certainty": SelfCertainty(1.0)},
            {"beta": 0.1, "teacher": AVERAGE, "has_permuted_view": True, "distillation": GATED, "selection": BAND},
            ["MovingTeacher", "PermutedViews", "GroupScoring", "Distillation", "Visits", "Selecting"],
        ),
    ],
)
def test_a_configuration_adds_the_parts_it_asks_for_in_the_order_in_which_they_act(policy, reward, settings, expected):
    assert parts_of(policy, reward, **settings) == expected
