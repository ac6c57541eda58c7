"""Gated distillation: which completions are drawn to the teacher, and that the term joins the loss by its formula."""

from __future__ import annotations

import math
from copy import deepcopy
from functools import partial

import pytest
import torch
from support.grpo_runs import QUESTIONS, EvenTokens, are_equal, fit, make_module, metrics, weights
from support.helpers import copy_policy, grpo_config, random_policy, toy_question, typed
from support.step_gradient import other_weights
from torch.optim import SGD, AdamW

from medssr.commands.train import train
from medssr.config import LoRAConfig
from medssr.errors import InputError
from medssr.grpo.minibatches import Minibatch
from medssr.grpo.rollouts import make_samples
from medssr.grpo.teachers import Distillation, OtherModel
from medssr.models.batching import pad_rollouts
from medssr.models.divergence import generalized_jsd
from medssr.models.logprobs import completion_logits
from medssr.models.lora import add_adapters
from medssr.questions import write_questions

GATED = {
    "_target_": "medssr.grpo.teachers.Distillation",
    "weight": 2.0,
    "interpolation": 0.5,
    "min_reward": 0.5,
}
OTHER = {"_target_": "medssr.grpo.teachers.OtherModel", "path": "teacher", "dtype": "float32"}
AVERAGE = {
    "_target_": "medssr.grpo.teachers.MovingAverage",
    "decay": 0.5,
    "final_decay": 0.5,
    "num_answers": 1,
    "anchors_kl": False,
}


class RightForSome:
    """1 for each completion of one question, 0 for those of the others: no group has signal."""

    weight = 1.0

    def __call__(self, question, completion, choice):
        return float(question.id == "q1")


def module_of(policy, config, teacher=None, reward=None, optimizer=partial(SGD, lr=1.0)):  # noqa: B008
    return make_module(policy, config, reward or EvenTokens(), optimizer, teacher=teacher)


def test_a_completion_without_a_score_is_not_drawn_and_without_a_gate_all_others_are():
    assert Distillation(1.0, 0.5, None).lets_through(-3.0)
    assert not Distillation(1.0, 0.5, None).lets_through(math.nan)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("weight", 0),
        ("weight", "abc"),
        ("weight", math.inf),
        ("interpolation", 1.5),
        ("interpolation", -0.5),
        ("min_reward", "abc"),
    ],
)
def test_a_number_out_of_range_is_refused(field, value):
    with pytest.raises(InputError, match=rf"grpo\.distillation\.{field}: "):
        Distillation(**{"weight": 1.0, "interpolation": 0.5, "min_reward": 1.0, field: value})


def test_a_format_that_is_none_and_a_distillation_without_a_teacher_are_refused():
    with pytest.raises(InputError, match=r"grpo\.teacher\.dtype: 'int8'; one of float32"):
        OtherModel("m", "int8")
    with pytest.raises(InputError, match=r"grpo\.teacher: null, .*grpo/teacher=other_model"):
        grpo_config(distillation=GATED)


def test_the_term_is_the_mean_over_the_tokens_that_the_gate_lets_through(random_policies):
    policy = copy_policy(random_policies["qwen3"])
    teacher = other_weights(policy.model)
    module = module_of(policy, grpo_config(beta=0.0, teacher=OTHER, distillation=GATED, temperature=0.8), teacher)
    (group,) = module.rollouts.collect(0, QUESTIONS[:1])
    (samples,) = make_samples([group])
    module.objective.distillation.score([group], [samples])
    gated = [rollout.reward >= 0.5 for rollout in group.rollouts]
    assert 0 < sum(gated) < len(gated)
    assert [sample.is_distilled for sample in samples] == gated
    lengths = [len(sample.completion_ids) for sample in samples]
    num_gated = sum(length for length, is_gated in zip(lengths, gated, strict=True) if is_gated)
    advantages = [0.0] * len(samples)  # the loss is the term alone
    minibatch = Minibatch(samples, advantages, float(sum(lengths)), float(num_gated))
    parts = [module.objective.loss(micro_batch) for micro_batch in module.objective.micro_batches(minibatch)]
    loss = sum(part.item() for part, _ in parts)

    batch = pad_rollouts(
        [sample.prompt_ids for sample in samples], [sample.completion_ids for sample in samples], 0, "cpu"
    )
    with torch.no_grad():
        logits, teacher_logits = (completion_logits(model, batch, 1.0) for model in (policy.model, teacher))
        divergences = generalized_jsd(logits.flatten(0, 1), teacher_logits.flatten(0, 1), 0.5)
    mask = batch.completion_mask * torch.tensor(gated).unsqueeze(1)
    mean = (divergences.view(mask.shape) * mask).sum().item() / num_gated
    assert loss == pytest.approx(2.0 * mean, rel=1e-4)
    assert sum(part.metrics["teacher_divergence"] for _, part in parts) == pytest.approx(mean, rel=1e-4)


@pytest.mark.slow
def test_groups_whose_completions_are_all_right_are_drawn_to_the_teacher_and_all_wrong_ones_are_not(
    random_policies, tmp_path
):
    def change(name, questions):
        policy = copy_policy(random_policies["qwen3"])
        before = weights(policy)
        config = grpo_config(
            num_steps=1, num_prompts_per_step=len(questions), beta=0.0, teacher=OTHER, distillation=GATED
        )
        module = module_of(policy, config, other_weights(policy.model), RightForSome())
        fit(policy, tmp_path / name, config, module=module, questions=questions)
        return {key: value - before[key] for key, value in weights(policy).items()}

    right, wrong = change("right", [QUESTIONS[1]]), change("wrong", [QUESTIONS[2]])
    both = change("both", QUESTIONS[1:3])
    assert all(not value.any() for value in wrong.values())
    assert any(value.any() for value in right.values())
    for name, value in right.items():  # wrong ones do not dilute the term either
        torch.testing.assert_close(both[name], value, rtol=1e-3, atol=1e-5)
    assert float(metrics(tmp_path / "right")[0]["train/teacher_divergence"]) > 0


@pytest.mark.slow
@pytest.mark.parametrize("teacher", [OTHER, AVERAGE], ids=["model", "average"])
def test_the_step_does_not_depend_on_how_it_is_split(random_policies, tmp_path, teacher):
    def one_step(tokens):
        policy = copy_policy(random_policies["qwen3"])
        config = grpo_config(
            num_steps=1,
            beta=0.0,
            teacher=teacher,
            distillation=GATED,
            micro_batch_tokens=tokens,
            num_prompts_per_step=3,
        )
        other = other_weights(policy.model) if teacher is OTHER else None
        module = module_of(policy, config, other)
        if other is None:
            with torch.no_grad():
                for number, weight in enumerate(module.average.weights):
                    weight.mul_(1 + 0.02 * (-1) ** number)
        fit(policy, tmp_path / str(tokens), config, module=module)
        return weights(policy)

    together, apart = one_step(10**6), one_step(1)
    assert not are_equal(together, weights(random_policies["qwen3"]))
    for name, value in together.items():
        torch.testing.assert_close(apart[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_adapters_are_drawn_to_another_model(random_policies, tmp_path):
    """Steps of distillation alone come nearer to the teacher."""
    policy = copy_policy(random_policies["qwen3"])
    add_adapters(policy.model, LoRAConfig(4, 8, None), seed=1)
    teacher = deepcopy(random_policies["qwen3"].model)
    for _ in range(5):
        teacher = other_weights(teacher)
    config = grpo_config(num_steps=12, beta=0.0, teacher=OTHER, distillation=GATED | {"min_reward": None})
    module = module_of(policy, config, teacher, RightForSome(), partial(AdamW, lr=1e-2))
    fit(policy, tmp_path, config, module=module, questions=QUESTIONS[:2])
    found = [float(row["train/teacher_divergence"]) for row in metrics(tmp_path)]
    assert sum(found[-3:]) < 0.8 * sum(found[:3])


@pytest.mark.slow
def test_a_teacher_of_a_path_is_loaded_and_one_with_another_vocabulary_refused(tmp_path):
    random_policy("qwen3").save(tmp_path / "model")
    other = random_policy("qwen3")
    other.model.resize_token_embeddings(330)
    other.save(tmp_path / "other")
    write_questions(tmp_path / "questions.jsonl", [toy_question(number) for number in range(2)])

    def run(teacher):
        config = typed(
            "train",
            f"paths.root_dir={tmp_path}",
            f"model.path={tmp_path}/model",
            f"data.path={tmp_path}/questions.jsonl",
            *("extras.progress_bar=false", "extras.num_threads=1", "logger=csv", "trainer=cpu"),
            *("grpo.num_steps=1", "grpo.num_prompts_per_step=2", "grpo.num_generations=2", "grpo.max_new_tokens=4"),
            *("grpo/teacher=other_model", f"grpo.teacher.path={tmp_path}/{teacher}", "grpo.teacher.dtype=float32"),
            *("grpo/distillation=gated", "grpo.distillation.min_reward=null"),
        )
        return train(config)

    (row,) = metrics(run("model").directory)
    assert float(row["train/teacher_divergence"]) == pytest.approx(0.0, abs=1e-6)  # it is the policy itself
    with pytest.raises(InputError, match=r"grpo\.teacher\.path: .*another vocabulary"):
        run("other")
