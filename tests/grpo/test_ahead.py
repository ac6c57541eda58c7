"""Sampling one step ahead: by which weights, whatever takes long, after interruptions, and with errors."""

import os
import signal
from functools import partial

import pytest
from support.copied_engine import CopiedEngine
from support.grpo_runs import EvenTokens, SignalFor, are_equal, fit, make_module, metrics, weights
from support.helpers import copy_policy, grpo_config, toy_question
from support.planned_engine import StopBefore
from torch.optim import AdamW

from medssr.config.arrangements import ONE_STEP
from medssr.errors import InputError
from medssr.grpo.ahead import SampledStep
from medssr.utils import stopping
from medssr.utils.stopping import Stopped

AHEAD = partial(CopiedEngine, overlap=ONE_STEP)
CONFIG = grpo_config(num_steps=4, num_prompts_per_step=2, tis_cap=2.0)


@pytest.fixture
def start(random_policies, tmp_path):
    """Makes a module that samples ahead, and trains it; the folder keeps its checkpoints."""

    def make(config=CONFIG, reward=None):
        policy = copy_policy(random_policies["qwen3"])
        optimizer = partial(AdamW, lr=1e-2)
        module = make_module(policy, config, reward or EvenTokens(), optimizer, AHEAD)
        return policy, module

    def run(name, policy, module, **settings):
        fit(policy, tmp_path / name, module.config, module=module, every_num_steps=1, **settings)
        return weights(policy)

    return make, run


@pytest.mark.slow
def test_a_step_is_sampled_by_the_weights_before_the_last_update_while_that_is_made(start):
    make, run = start
    policy, module = make()
    run("run", policy, module)
    # The first sync is that of the start. Then: step 0, step 1 beside it, step 2 beside step 1, step 3 beside step 2.
    assert module.rollouts.engine.versions == [(1, False), (1, True), (2, True), (3, True)]
    assert module.rollouts.ahead.sampled == SampledStep()


@pytest.mark.slow
def test_without_overlap_nothing_is_sampled_aside(start, random_policies, tmp_path):
    policy = copy_policy(random_policies["qwen3"])
    module = fit(policy, tmp_path, CONFIG, engine=CopiedEngine)
    assert module.rollouts.engine.versions == [(1, False), (2, False), (3, False), (4, False)]


@pytest.mark.slow
def test_the_run_does_not_depend_on_what_takes_longer(start, tmp_path, monkeypatch):
    """Either the completions are there before the update begins, or they come when everything else has been done."""
    make, run = start
    policy, module = make()
    begin = module.rollouts.ahead.start

    def sample_at_once(batch):
        begin(batch)
        if module.rollouts.ahead._running is not None:
            module.rollouts.ahead._running.result(60)

    monkeypatch.setattr(module.rollouts.ahead, "start", sample_at_once)
    quick = run("quick", policy, module)

    policy, module = make()
    engine, finish = module.rollouts.engine, module.rollouts.ahead.finish
    engine.may_answer.clear()

    def answer_now():
        engine.may_answer.set()
        finish()
        engine.may_answer.clear()

    monkeypatch.setattr(module.rollouts.ahead, "finish", answer_now)
    assert are_equal(quick, run("slow", policy, module))
    assert metrics(tmp_path / "quick") == metrics(tmp_path / "slow")


@pytest.mark.slow
@pytest.mark.parametrize("num_done", [1, 3])
def test_a_resumed_run_ends_with_the_same_weights(start, num_done):
    make, run = start
    whole = run("whole", *make())
    with pytest.raises(ConnectionAbortedError):
        policy, module = make()
        run("stopped", policy, module, callbacks=[StopBefore("", num_done)])
    policy, module = make()
    assert are_equal(whole, run("stopped", policy, module))
    # The step after the checkpoint is not sampled again.
    assert module.rollouts.engine.versions == [(1 + place, True) for place in range(3 - num_done)]


@pytest.mark.slow
def test_completions_in_a_checkpoint_are_the_same_bit_for_bit(start):
    make, run = start
    policy, module = make()
    saved = []
    original = module.rollouts.ahead.finish

    def finish():
        original()
        saved.append(module.rollouts.ahead.sampled)

    module.rollouts.ahead.finish = finish
    run("run", policy, module)
    assert SampledStep.from_state(saved[0].state_dict()) == saved[0]
    assert saved[0].step == 1
    assert len(saved[0].completions) == 2


def test_a_process_keeps_its_own_questions_of_a_checkpoint():
    mine, other = toy_question("1"), toy_question("2")
    both = SampledStep(3, {(mine.id, (5,)): [], (other.id, (6,)): []})
    assert both.only([mine]) == SampledStep(3, {(mine.id, (5,)): []})
    assert both.only([other]) == SampledStep(3, {(other.id, (6,)): []})


def test_completions_that_were_sampled_with_other_settings_are_sampled_anew(start):
    make, _ = start
    _, module = make()
    state = SampledStep(1, {("q1", (5,)): []}).state_dict() | {"sampling": module.rollouts.sampling_settings()}
    module.rollouts.ahead.load_state_dict(state)
    assert module.rollouts.ahead.sampled.step == 1
    module.rollouts.ahead.sampled = SampledStep()
    more = module.rollouts.config.num_generations + 1
    module.rollouts.ahead.load_state_dict(state | {"sampling": state["sampling"] | {"num_generations": more}})
    assert module.rollouts.ahead.sampled == SampledStep()
    module.rollouts.ahead.close()


@pytest.mark.slow
def test_a_signal_beside_a_sampling_ends_the_run_with_the_state_of_the_last_step(start):
    """It comes in the update of step 2, while the engine does not answer."""
    make, run = start
    whole = run("whole", *make())
    policy, module = make()
    begin = module.rollouts.ahead.start

    def stop_in_step_two(batch):
        if batch is not None and batch.step == 3:
            module.rollouts.engine.may_answer.clear()
            begin(batch)
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            begin(batch)

    module.rollouts.ahead.start = stop_in_step_two
    with pytest.raises(Stopped):
        run("stopped", policy, module)
    assert module.rollouts.ahead._running.done()
    policy, module = make()
    assert are_equal(whole, run("stopped", policy, module))
    assert module.rollouts.engine.versions == [(1, True)]


@pytest.mark.slow
def test_a_signal_while_training_waits_for_an_engine_that_hangs_leaves_the_last_checkpoint(start, monkeypatch):
    """The weights are those after the update, whose completions are not all there: the step is repeated."""
    make, run = start
    whole = run("whole", *make())
    policy, module = make()
    finish = module.rollouts.ahead.finish

    def stop_in_step_two():
        if module.rollouts.ahead.sampled.step == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        finish()

    def begin(batch, begin=module.rollouts.ahead.start):
        if batch is not None and batch.step == 2:
            module.rollouts.engine.may_answer.clear()
        begin(batch)

    module.rollouts.ahead.start, module.rollouts.ahead.finish = begin, stop_in_step_two
    monkeypatch.setattr(stopping, "PATIENCE_S", 0.1)
    with pytest.raises(Stopped):
        run("stopped", policy, module)
    policy, module = make()
    assert are_equal(whole, run("stopped", policy, module))
    assert len(module.rollouts.engine.versions) == 2  # of steps 2 and 3


def test_an_error_of_the_engine_ends_the_training_with_its_message(start):
    make, run = start
    policy, module = make()
    module.rollouts.engine.fails_at = 3
    with pytest.raises(InputError, match="no server is left"):
        run("run", policy, module)


@pytest.mark.slow
def test_an_error_of_the_update_ends_the_sampling(start, monkeypatch):
    make, run = start
    policy, module = make()
    module.rollouts.engine.may_answer.clear()

    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(module.objective, "loss", fail)
    with pytest.raises(ZeroDivisionError):
        run("run", policy, module)
    assert isinstance(module.rollouts.ahead._running.exception(), InterruptedError)


@pytest.mark.slow
def test_further_rounds_of_dynamic_sampling_are_sampled_when_the_step_begins(start):
    make, run = start
    config = grpo_config(num_steps=3, num_prompts_per_step=2, tis_cap=2.0, dynamic_sampling_rounds=1)
    policy, module = make(config, SignalFor("q1"))
    run("run", policy, module, questions=[toy_question(number) for number in range(6)])
    versions = module.rollouts.engine.versions
    assert [version for version, is_aside in versions if is_aside] == [1, 2]
    # In each step some group lacks signal; the further questions are asked of the weights that are trained.
    assert [version for version, is_aside in versions if not is_aside] == [1, 1, 2, 3]


@pytest.mark.slow
def test_old_weights_are_corrected_by_importance_weights(start, tmp_path):
    """From the second step on, trainer and engine differ by an update."""
    make, run = start
    policy, module = make()
    run("run", policy, module)
    mismatch = [float(row["train/logprob_mismatch_mean"]) for row in metrics(tmp_path / "run")]
    assert mismatch[0] < 1e-5
    assert min(mismatch[1:]) > 1e-3
