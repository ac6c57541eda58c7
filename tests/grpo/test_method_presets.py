"""Every preset of an online method trains, and a killed run ends with the same bits as a whole one."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import lightning as L
import pytest
import torch
from support.grpo_runs import are_equal, fit, make_module, metrics, part_of, weights
from support.helpers import LetterEngine, copy_policy, toy_question, typed
from support.step_gradient import other_weights

from medssr.config.catalog import CONF_DIR
from medssr.engines.types import Completion
from medssr.grpo.step_selection import Selecting
from medssr.grpo.visits import Visits
from medssr.utils.instantiate import instantiate

DOC = Path(__file__).parents[2] / "docs" / "methods.md"
METHODS = ["ttrl", "srt", "rent", "intuitor", "empo", "om_grpo", "restrain", "ttrl_guard", "evol_rl"]
METHODS += ["co_rewarding_1", "co_rewarding_2"]
DISTILLED = "kepo"
WALKS = "graph_walk"
# GRPO on labels with settings of their own; docs/methods.md has them in one table.
RECIPES = ["med_rlvr", "medvlthinker"]
# Their rewards see one completion, and they train all questions.
KEEP_NO_HISTORY = ["control_format", "alphamed", *RECIPES, DISTILLED, WALKS]
CONTROLS = ["control_random_labels", "control_format"]
# Methods for questions with labels.
SUPERVISED = ["rlpr", "alphamed", DISTILLED, WALKS]
MIXED = ["semi_supervised", "trapo"]
# What makes a preset do within three steps what it does within many.
FOUR = ["grpo.num_prompts_per_step=4", "data.further.unlabelled.num_prompts=3"]
ALSO = {
    "trapo": [*FOUR, "grpo.selection.num_warmup_visits=0"],
    # What the engine writes before its answer is also what stands before the label without reasoning.
    "rlpr": ["grpo.selection.first_step=1", "reward.answer_probability.is_debiased=false"],
}
QUESTIONS = [toy_question(number, answer=None, provenance={"truth": "A"}) for number in range(4)]
LABELLED = [toy_question(number, answer="B") for number in range(10, 14)]
EDGES = [["stomach", "next to", organ] for organ in ("liver", "heart")]
WALK = {"head": "stomach", "relation": "next to", "tail": "heart", "max_steps": 3, "edges": EDGES}
WALKED = [replace(question, provenance={"walk": WALK}) for question in LABELLED]
SHORT = [
    "grpo.num_steps=3",
    "grpo.num_prompts_per_step=2",
    "grpo.minibatch_prompts=1",
    "grpo.num_generations=4",
    "grpo.max_new_tokens=16",
    "grpo.shuffle_options=false",
]


class LettersByStep(LetterEngine):
    """Answers three A, one B or one that cannot be read; which question gets what depends on the prompt alone."""

    def generate(self, prompts, seeds, sampling) -> list[list[Completion]]:
        rows = super().generate(prompts, seeds, sampling)
        return [
            [*row[:2], replace(row[2], text="Hm."), row[3]] if sum(prompt) % 2 else row
            for prompt, row in zip(prompts, rows, strict=True)
        ]


class Walks(LettersByStep):
    """Walks to the heart in place of the answer A, and to the liver in place of B."""

    def _answer(self, letter: str) -> Completion:
        walked = super()._answer(letter)
        return replace(walked, text=f"next to: {'heart' if letter == 'A' else 'liver'}\n{walked.text}")


class CopyBefore(L.Callback):
    """Copies the files that a process which is killed before a step would leave."""

    def __init__(self, step, directory, left):
        self._step, self._directory, self._left = step, directory, left

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx == self._step:
            shutil.copytree(self._directory, self._left)


def train(policy, directory, preset, callbacks=()):
    """Trains some steps of a preset, resuming from the folder's checkpoint if there is one; returns the module."""
    is_mixed = preset in MIXED
    mixed = ["data.further.unlabelled.num_prompts=1"] if is_mixed else []
    config = typed("train", f"experiment={preset}", *SHORT, *mixed, *ALSO.get(preset, []))
    rewards = {name: instantiate(node, f"reward.{name}") for name, node in config.reward.items()}
    labelled = WALKED if preset == WALKS else LABELLED
    names = dict.fromkeys([question.id for question in LABELLED], config.data.rewards or list(rewards))
    for source in config.data.further.values():
        names |= dict.fromkeys([question.id for question in QUESTIONS], source.rewards)
    module = make_module(
        policy,
        config.grpo,
        rewards,
        instantiate(config.optim.optimizer, "optim.optimizer"),
        lambda policy, **_: Walks(policy) if preset == WALKS else LettersByStep(policy),
        other_weights(policy.model) if preset == DISTILLED else None,
        reward_names=names,
    )
    return fit(
        policy,
        directory,
        config.grpo,
        module=module,
        questions=labelled if is_mixed or preset in [*SUPERVISED, *RECIPES] else QUESTIONS,
        further={name: (QUESTIONS, source.num_prompts) for name, source in config.data.further.items()},
        callbacks=callbacks,
    )


@pytest.mark.slow
@pytest.mark.parametrize("preset", [*METHODS, *CONTROLS, *SUPERVISED, *RECIPES, *MIXED])
def test_a_preset_trains_and_a_resumed_run_ends_with_the_same_bits(random_policies, tmp_path, preset):
    whole, resumed = (copy_policy(random_policies["qwen3"]) for _ in range(2))
    before = weights(whole)
    left_by_kill = CopyBefore(2, tmp_path / "whole", tmp_path / "killed")
    module = train(whole, tmp_path / "whole", preset, [left_by_kill])
    assert not are_equal(before, weights(whole))
    visits, selecting = (part_of(module, kind) for kind in (Visits, Selecting))
    if visits is not None:
        num_visits = sum(len(row) for _, row in visits.history.items())
        assert num_visits == 3 * module.config.num_views * module.config.num_prompts_per_step
    again = train(resumed, tmp_path / "killed", preset)
    assert are_equal(weights(whole), weights(resumed))
    assert metrics(tmp_path / "killed") == metrics(tmp_path / "whole")
    assert (visits is None) == (preset in KEEP_NO_HISTORY)
    if visits is not None:
        assert part_of(again, Visits).state_dict() == visits.state_dict()
    if preset == "co_rewarding_2":
        averages = [[*each.average.weights] for each in (module, again)]
        assert all(map(torch.equal, *averages))
        assert not all(map(torch.equal, averages[0], whole.model.parameters()))
    if selecting is not None:
        assert part_of(again, Selecting).state_dict() == selecting.state_dict()


@pytest.mark.parametrize("preset", [*METHODS, *CONTROLS, *SUPERVISED, *MIXED])
def test_a_preset_says_its_paper_its_cost_and_what_differs_and_the_page_has_it(preset):
    text = (CONF_DIR / "experiment" / f"{preset}.yaml").read_text(encoding="utf-8")
    for part in ("# Paper: ", "arXiv ", f"# Launch: medssr-train experiment={preset} ", "# Differs: ", "\ncost: "):
        assert part in text
    assert f"`experiment={preset}`" in DOC.read_text(encoding="utf-8")


def test_the_page_names_no_preset_that_is_not_there():
    named = set(re.findall(r"`experiment=(\w+)`", DOC.read_text(encoding="utf-8")))
    assert named >= {*METHODS, *CONTROLS, *SUPERVISED, *MIXED}
    assert named <= {file.stem for file in (CONF_DIR / "experiment").glob("*.yaml")}
