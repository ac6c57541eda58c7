"""Questions that rest: which, for how long, what is asked in their place, and the same after a kill."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from support.grpo_runs import are_equal, fit, make_module, metrics, part_of, weights
from support.helpers import LetterEngine, copy_policy, grpo_config, toy_question, typed
from torch.optim import SGD

from medssr.errors import InputError
from medssr.grpo.selection import Candidate, PassRateBand, QuestionSelection
from medssr.grpo.step_selection import Selecting, replace_resting
from medssr.grpo.visits import Visits
from medssr.rewards.history import QuestionHistory, Visit
from medssr.rewards.label_match import LabelMatch
from medssr.training.step_loader import StepBatch, StepLoader

BAND = {"min_rate": 0.5, "max_rate": 0.9, "num_rests": 2}


def visit(rate):
    return Visit(0, {}, 8, None, rate, is_labelled=True)


def history_of(**rates):
    history = QuestionHistory("s")
    history.add((name, visit(rate)) for name, rate in rates.items())
    return history


def test_a_question_outside_the_band_rests_so_often_and_is_asked_again():
    history = history_of(low=0.25, least=0.5, most=0.9, high=1.0)
    selection = PassRateBand(**BAND)
    resting = [name for name in ("low", "least", "most", "high", "new") if selection.rests(name, history)]
    assert resting == ["low", "high"]
    selection.record([], ["low"])
    assert selection.rests("low", history)
    resumed = PassRateBand(**BAND)
    selection.record([], ["low"])
    resumed.load_state_dict(selection.state_dict())
    for each in (selection, resumed):
        assert not each.rests("low", history)  # it has rested twice
        asked = [Candidate("low", visit(0.25), 0.0)]
        assert each.select(9, asked, history) == [True]
        assert not each.rests("low", history)  # the step may yet be begun anew
        each.record(asked, [])
        assert each.rests("low", history)  # asked again, and still outside


def test_spares_take_the_place_of_questions_that_rest():
    history = history_of(q0=0.0, q1=0.75, q2=0.0, q3=0.0, q4=0.0)
    questions = [toy_question(number) for number in range(8)]
    batch = StepBatch(4, questions[:4], spare_items=[questions[number] for number in (1, 4, 6, 6, 5)])
    found, rested = replace_resting(batch, PassRateBand(**BAND), history)
    # q1 is asked already, q4 rests itself, q6 is asked once; for q3 there is no spare left, so it does not rest.
    assert [question.id for question in found.items] == ["q6", "q1", "q5", "q3"]
    assert rested == ["q0", "q2"]
    assert replace_resting(batch, QuestionSelection(), history) == (batch, [])


def test_spares_are_a_separate_order_that_changes_no_step():
    items = list("abcdefg")
    with_spares, plain = (list(StepLoader(items, 1, "s", 7, 3, has_spares=flag)) for flag in (True, False))
    assert [batch.items for batch in with_spares] == [batch.items for batch in plain]
    spares = [item for batch in with_spares for item in batch.spare_items]
    assert sorted(spares[:7]) == items
    assert spares[:7] != [item for batch in plain for item in batch.items][:7]
    assert all(batch.spare_items == [] for batch in plain)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"min_rate": 0.95}, r"PassRateBand\.min_rate, PassRateBand\.max_rate: 0\.95 to 0\.9"),
        ({"num_rests": 0}, r"PassRateBand\.num_rests: 0; at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        PassRateBand(**BAND | change)


@pytest.mark.slow
def test_questions_do_not_rest_where_sources_have_a_ratio():
    with pytest.raises(InputError, match=r"grpo\.selection: questions rest, .*ratio"):
        typed("train", "experiment=semi_supervised", "grpo/selection=pass_rate")
    with pytest.raises(InputError, match=r"grpo\.selection\._target_: pathlib\.Path is no selection"):
        typed("train", "+grpo.selection={_target_: pathlib.Path}")
    assert typed("train", "grpo/selection=pass_rate").grpo.has_rests
    assert not typed("train").grpo.has_rests


def module_of(policy, config):
    engine = lambda policy, **_: LetterEngine(policy)  # noqa: E731
    return make_module(policy, config, LabelMatch(1.0), partial(SGD, lr=1.0), engine)


def test_the_state_of_another_selection_or_stage_is_not_taken_up(random_policies):
    """As where `ckpt_path` names the checkpoint of an earlier stage."""
    band = {"_target_": "medssr.grpo.selection.PassRateBand", **BAND}
    module = module_of(copy_policy(random_policies["qwen3"]), grpo_config(beta=0.0, selection=band))
    before = part_of(module, Selecting).selection.state_dict()
    saved: dict = {}
    module.on_save_checkpoint(saved)
    other = {"stage": saved["question_selection"]["stage"], "target": "other", "state": {}}
    for question_selection in (other, saved["question_selection"] | {"stage": "an earlier one", "state": {}}):
        module.on_load_checkpoint(saved | {"question_selection": question_selection})
        assert part_of(module, Selecting).selection.state_dict() == before


@pytest.mark.slow
def test_a_training_asks_others_and_a_resumed_one_asks_the_same(random_policies, tmp_path):
    """The engine answers AAAB: questions whose label is B have a pass rate of 1/4, and rest."""
    questions = [toy_question(number, answer="AB"[number % 2]) for number in range(6)]
    node = {"_target_": "medssr.grpo.selection.PassRateBand", **BAND}
    config = grpo_config(beta=0.0, num_steps=8, selection=node)
    policies = [copy_policy(random_policies["qwen3"]) for _ in range(3)]

    def run(policy, folder, num_steps):
        settings = replace(config, num_steps=num_steps)
        module = module_of(policy, settings)
        return fit(policy, tmp_path / folder, settings, module=module, questions=questions)

    whole = run(policies[0], "whole", 8)
    run(policies[1], "stopped", 4)
    resumed = run(policies[2], "stopped", 8)
    assert are_equal(weights(policies[0]), weights(policies[2]))
    assert metrics(tmp_path / "whole") == metrics(tmp_path / "stopped")
    assert part_of(resumed, Visits).state_dict() == part_of(whole, Visits).state_dict()
    assert part_of(resumed, Selecting).state_dict() == part_of(whole, Selecting).state_dict()
    shares = [float(row["train/rested_share"]) for row in metrics(tmp_path / "whole")]
    assert shares[0] == 0
    assert max(shares) > 0
    history = part_of(whole, Visits).history
    visits = {question.id: len(history[question.id]) for question in questions}
    assert sum(visits.values()) == 8 * 2
    assert sum(visits[f"q{number}"] for number in (1, 3, 5)) < sum(visits[f"q{number}"] for number in (0, 2, 4))
