"""The export as verl reads it; what needs verl itself is skipped without it (make test-export)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import datasets
import pytest
import yaml
from support.exports import NO_FRAMEWORK_HAS, QUESTIONS, Exported, defaults, make_export, settings_with
from support.helpers import typed

from medssr.answers import extract_choice
from medssr.config import ExportSettings, KLEstimator, KLPlacement, ScaleRewards
from medssr.engines.types import Completion
from medssr.errors import InputError
from medssr.exporting.common import SettingsReader
from medssr.exporting.conversations import ExportedPrompts
from medssr.exporting.verl import verl_settings
from medssr.models.policy import load_policy
from medssr.questions import Question
from medssr.rewards.label_match import LabelMatch

pytestmark = pytest.mark.slow


def translate(settings: ExportSettings, num_questions: int = 1000) -> dict:
    prompts = ExportedPrompts([[]] * num_questions, None, 700, [7, 9], ())
    reader = SettingsReader("verl", "settings.recommended", settings, defaults())
    return verl_settings(reader, prompts, "stage1_selfsup", 42)


def test_recommended_settings_by_verl_s_names():
    translated = translate(defaults())
    actor = translated["actor_rollout_ref"]["actor"]
    assert translated["data"]["train_batch_size"] == 128
    assert translated["data"]["max_prompt_length"] == 700
    assert translated["data"]["max_response_length"] == 2048
    assert translated["actor_rollout_ref"]["rollout"]["n"] == 8
    assert actor["ppo_mini_batch_size"] == 128
    assert (actor["clip_ratio_low"], actor["clip_ratio_high"], actor["clip_ratio_c"]) == (0.2, 0.28, 3.0)
    assert (actor["use_kl_loss"], actor["kl_loss_coef"], actor["kl_loss_type"]) == (True, 0.001, "low_var_kl")
    assert (actor["optim"]["lr"], actor["optim"]["weight_decay"], actor["optim"]["lr_warmup_steps"]) == (1e-6, 0.01, 10)
    assert translated["algorithm"]["rollout_correction"] == {"rollout_is": "token", "rollout_is_threshold": 2.0}
    # 7 steps of 128 in a pass over 1,000 questions
    assert (translated["trainer"]["total_training_steps"], translated["trainer"]["total_epochs"]) == (300, 43)


def test_parity_is_verl_0_3():
    translated = translate(typed("export").settings["parity"], num_questions=2048)
    actor = translated["actor_rollout_ref"]["actor"]
    assert (translated["data"]["train_batch_size"], actor["ppo_mini_batch_size"]) == (1024, 256)
    assert translated["actor_rollout_ref"]["rollout"]["n"] == 5
    assert (actor["clip_ratio_low"], actor["clip_ratio_high"], actor["clip_ratio_c"]) == (0.2, 0.2, 3.0)
    assert actor["optim"]["lr_warmup_steps"] == 0
    assert translated["algorithm"]["rollout_correction"]["rollout_is"] is None
    assert translated["trainer"]["total_epochs"] == 150


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"loss": "grpo"}, {"loss_mode": "vanilla", "loss_agg_mode": "seq-mean-token-mean"}),
        ({"loss": "dr_grpo"}, {"loss_agg_mode": "seq-mean-token-sum-norm", "loss_scale_factor": 2048}),
        ({"loss": "gspo"}, {"loss_mode": "gspo", "loss_agg_mode": "seq-mean-token-mean"}),
        ({"loss": "cispo"}, {"loss_mode": "cispo", "loss_agg_mode": "token-mean"}),
        ({"loss": "sapo"}, {"loss_mode": "sapo", "loss_agg_mode": "seq-mean-token-mean"}),
        ({"loss_values": {"dual_clip": None}}, {"clip_ratio_c": 1e9}),
        ({"micro_batch_tokens": 100}, {"ppo_max_token_len_per_gpu": 2748}),
        ({"beta": 0.0}, {"use_kl_loss": False}),
        ({"kl_placement": KLPlacement.reward, "kl_estimator": KLEstimator.k1}, {"use_kl_loss": False}),
        ({"num_iterations": 3}, {"ppo_epochs": 3}),
    ],
)
def test_settings_of_the_update(changes, expected):
    actor = translate(settings_with(**changes))["actor_rollout_ref"]["actor"]
    assert {name: (actor | actor["policy_loss"])[name] for name in expected} == expected


def test_kl_in_the_reward_is_verl_s_as_well():
    algorithm = translate(settings_with(kl_placement=KLPlacement.reward, kl_estimator=KLEstimator.k1))["algorithm"]
    assert (algorithm["use_kl_in_reward"], algorithm["kl_penalty"], algorithm["kl_ctrl"]["kl_coef"]) == (
        True,
        "k1",
        0.001,
    )
    assert not translate(settings_with(scale_rewards=ScaleRewards.none))["algorithm"]["norm_adv_by_std_in_grpo"]


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"loss": "bnpo"}, ["grpo.loss._target_", "BNPO"]),
        ({"scale_rewards": ScaleRewards.batch}, ["grpo.scale_rewards", "batch"]),
        *NO_FRAMEWORK_HAS,
        ({"num_prompts_per_step": 1001}, ["grpo.num_prompts_per_step", "1001", "1000"]),
    ],
)
def test_what_verl_cannot_do_is_refused(changes, parts):
    with pytest.raises(InputError) as caught:
        translate(settings_with(**changes))
    for part in ["settings.recommended", *parts]:
        assert part in str(caught.value)


def test_another_optimiser_is_refused():
    settings = settings_with()
    settings.optim.optimizer["_target_"] = "torch.optim.SGD"
    with pytest.raises(InputError, match=r"settings\.recommended\.optim\.optimizer\._target_: verl .*optim\.SGD"):
        translate(settings)


def test_rows_hold_what_the_reward_needs_and_no_hidden_truth(chat_export):
    rows = datasets.Dataset.from_parquet(str(chat_export.directory / "for_verl" / "questions.parquet"))
    assert [row["reward_model"] for row in rows] == [{"style": "rule", "ground_truth": q.answer} for q in QUESTIONS]
    assert [row["extra_info"]["options"] for row in rows] == [list(q.options.values()) for q in QUESTIONS]
    assert [row["data_source"] for row in rows] == ["toy", "toy", "other", "toy"]
    assert rows[2]["extra_info"] == {
        "index": 2,
        "question_id": "q3",
        "options": list(QUESTIONS[2].options.values()),
        "entity": "Fabry disease",
        "is_rare": True,
    }
    assert "secret" not in json.dumps(rows.to_list())


# From here on with verl itself.


@pytest.fixture
def verl_config(exported):
    """The recommended settings, composed on top of verl's own configuration as verl_launch.sh has it done."""
    return exported, compose_with_verl(exported, "recommended")


def compose_with_verl(exported, name):
    pytest.importorskip("verl", reason="verl is installed by `make test-export`")
    import hydra

    folder = exported.directory / "for_verl"
    with hydra.initialize_config_dir(str(folder), version_base=None):
        paths = [f"medssr.export_dir={folder}", f"actor_rollout_ref.model.path={exported.model}"]
        return hydra.compose(name, ["hydra.searchpath=[pkg://verl.trainer.config]", *paths])


@pytest.mark.parametrize("name", ["recommended", "parity"])
def test_verl_accepts_the_settings(chat_export, name):
    config = compose_with_verl(chat_export, name)
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import omega_conf_to_dataclass, validate_config

    config.trainer.n_gpus_per_node = 2
    validate_config(config, need_reference_policy(config), need_critic(config))
    assert need_reference_policy(config)
    assert not need_critic(config)
    actor = omega_conf_to_dataclass(config.actor_rollout_ref.actor)
    assert actor.clip_ratio_high == {"recommended": 0.28, "parity": 0.2}[name]
    assert omega_conf_to_dataclass(config.algorithm).adv_estimator == "grpo"


def completed(*command: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)} | variables
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=cwd, check=False)


def launched(*arguments: str, export: Exported, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs an export's launch script as a user does, with this Python as the one on the PATH."""
    python = folder / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    launch = export.directory / "for_verl" / "verl_launch.sh"
    path = f"{python.parent}:{os.environ['PATH']}"
    return completed("bash", str(launch), *arguments, cwd=folder, PATH=path)


def test_the_launch_script_composes(chat_export, tmp_path):
    """Run as a user would, but for `--cfg job`, which prints the configuration and ends."""
    pytest.importorskip("verl", reason="verl is installed by `make test-export`")
    launch = chat_export.directory / "for_verl" / "verl_launch.sh"
    done = launched("parity", "some/model", "trainer.nnodes=2", "--cfg", "job", export=chat_export, folder=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    output = done.stdout
    composed = yaml.safe_load(output[output.index("actor_rollout_ref:") :])
    assert composed["trainer"]["nnodes"] == 2
    assert composed["actor_rollout_ref"]["model"]["path"] == "some/model"
    assert composed["medssr"]["export_dir"] == str(launch.parent)
    assert composed["data"]["train_batch_size"] == 4


@pytest.mark.slow
def test_verl_s_trainer_runs_as_far_as_without_a_gpu(chat_export, tmp_path):
    """It reads settings, questions, tokenizer and reward, plans the steps, and starts a worker, which asks for NCCL."""
    pytest.importorskip("verl", reason="verl is installed by `make test-export`")
    import torch

    if torch.distributed.is_nccl_available():
        pytest.skip("this torch has NCCL, so verl goes on until it misses a GPU")
    settings = ["trainer.n_gpus_per_node=1", "trainer.total_training_steps=2", "data.dataloader_num_workers=0"]
    # Ray starts no worker without the processors and the GPU that verl asks for, so it is told that they are there.
    resources = ["+ray_kwargs.ray_init.num_gpus=1", "ray_kwargs.ray_init.num_cpus=16"]
    arguments = [*settings, *resources, "actor_rollout_ref.rollout.agent.num_workers=1"]
    done = launched("recommended", str(chat_export.model), *arguments, export=chat_export, folder=tmp_path)
    output = done.stdout + done.stderr
    assert f"train dataset size: {len(QUESTIONS)}" in output, output[-4000:]
    assert "Total training steps: 2" in output
    assert "Distributed package doesn't have NCCL built in" in output
    assert done.returncode == 1


def test_verl_s_dataset_gives_the_policy_s_tokens(verl_config):
    exported, config = verl_config
    from verl.trainer.ppo.utils import create_rl_dataset
    from verl.utils.config import omega_conf_to_dataclass
    from verl.utils.tokenizer.continuous_token_wiring import create_continuous_token_builder

    model = omega_conf_to_dataclass(config.actor_rollout_ref.model)
    dataset = create_rl_dataset(config.data.train_files, config.data, model.tokenizer, model.processor)
    builder = create_continuous_token_builder(model.tokenizer, hf_model_type=model.hf_config.model_type)
    prompts = [builder.build_initial_tokens(list(row["raw_prompt"])) for row in dataset]
    assert prompts == exported.prompts
    assert max(map(len, prompts)) == config.data.max_prompt_length
    assert [row["index"] for row in dataset] == [0, 1, 2, 3]


def test_verl_drops_no_prompt_by_its_own_count(chat_export):
    config = compose_with_verl(chat_export, "recommended")
    from verl.trainer.ppo.utils import create_rl_dataset
    from verl.utils.config import omega_conf_to_dataclass

    config.data.filter_overlong_prompts = True
    model = omega_conf_to_dataclass(config.actor_rollout_ref.model)
    assert len(create_rl_dataset(config.data.train_files, config.data, model.tokenizer, None)) == len(QUESTIONS)
    config.data.max_prompt_length -= 1
    assert len(create_rl_dataset(config.data.train_files, config.data, model.tokenizer, None)) == len(QUESTIONS) - 1


def completions_to_judge() -> list[str]:
    lines = (Path(__file__).parents[1] / "answers" / "completions.jsonl").read_text(encoding="utf-8").splitlines()
    written = [json.loads(line)["completion"] for line in lines]
    return [*written, "The answer is A.", "The answer is B.", "The answer is C.", "pancreas", "", "I cannot tell."]


@pytest.mark.parametrize("is_finished", [True, False], ids=["finished", "cut"])
def test_verl_s_reward_manager_gives_the_reward_of_label_match(chat_export, is_finished):
    config = compose_with_verl(chat_export, "recommended")
    import asyncio

    import numpy as np
    import torch
    from tensordict import TensorDict
    from verl import DataProto
    from verl.trainer.ppo.reward import load_reward_manager
    from verl.utils.dataset.rl_dataset import RLHFDataset

    tokenizer = chat_export.policy.tokenizer
    rows = RLHFDataset(config.data.train_files, tokenizer, config.data)

    async def judge() -> list[tuple[float, float]]:
        manager = load_reward_manager(config, tokenizer)
        pairs = []
        for index, text in enumerate(completions_to_judge()):
            for question, prompt_ids, row in zip(QUESTIONS, chat_export.prompts, rows, strict=True):
                token_ids = [*tokenizer(text, add_special_tokens=False)["input_ids"], 40 + index % 5]
                if is_finished:
                    token_ids[-1] = tokenizer.eos_token_id
                prompt, response = torch.tensor([prompt_ids]), torch.tensor([token_ids])
                batch = TensorDict(
                    {
                        "prompts": prompt,
                        "responses": response,
                        "attention_mask": torch.ones(1, prompt.numel() + response.numel(), dtype=torch.long),
                    },
                    batch_size=1,
                )
                arrays = {name: np.array([row[name]]) for name in ("data_source", "reward_model", "extra_info")}
                result = await manager.run_single(DataProto(batch=batch, non_tensor_batch=arrays))
                pairs.append((result["reward_score"], own_reward(question, tokenizer, token_ids, is_finished)))
        return pairs

    pairs = asyncio.run(judge())
    assert [reward for reward, _ in pairs] == [expected for _, expected in pairs]
    assert {expected for _, expected in pairs} == ({0.0, 1.0} if is_finished else {0.0})


def own_reward(question: Question, tokenizer, token_ids: list[int], is_finished: bool) -> float:
    text = tokenizer.decode(token_ids, skip_special_tokens=True)
    completion = Completion(token_ids, [-1.0] * len(token_ids), text, is_truncated=not is_finished)
    return LabelMatch(1.0)(question, completion, extract_choice(text, question.options))


def test_what_verl_s_merger_makes_comes_back(chat_export, tmp_path):
    """A checkpoint of one process, in the files that verl's FSDP engine writes, merged by the documented command."""
    pytest.importorskip("verl", reason="verl is installed by `make test-export`")
    import torch

    actor = tmp_path / "global_step_1" / "actor"
    chat_export.policy.save(actor / "huggingface")
    (actor / "huggingface" / "model.safetensors").unlink()
    torch.save(chat_export.policy.model.state_dict(), actor / "model_world_size_1_rank_0.pt")
    (actor / "fsdp_config.json").write_text(json.dumps({"FSDP_version": 2, "world_size": 1}))
    command = ["verl.model_merger", "merge", "--backend", "fsdp", "--local_dir", str(actor), "--target_dir"]
    done = completed(sys.executable, "-m", *command, str(tmp_path / "merged"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    policy = load_policy(typed("evaluate", "model=local", f"model.path={tmp_path / 'merged'}").model)
    for name, weight in chat_export.policy.model.state_dict().items():
        torch.testing.assert_close(policy.model.state_dict()[name], weight, rtol=1e-2, atol=1e-3)  # saved in bfloat16
    policy = replace(policy, prompt_template=chat_export.policy.prompt_template)
    assert policy.encode(QUESTIONS, 16, "toy.jsonl") == chat_export.prompts


def test_only_what_verl_can_do_has_to_be_expressible(random_policies, tmp_path):
    """A setting that TRL lacks is no hindrance for an export to verl alone."""
    overrides = ["settings.recommended.grpo.kl_placement=reward", "settings.recommended.grpo.kl_estimator=k1"]
    with pytest.raises(InputError, match=r"settings\.recommended\.grpo\.kl_estimator: TRL"):
        make_export("qwen3", random_policies, tmp_path / "both", *overrides)
    exported = make_export("qwen3", random_policies, tmp_path / "one", *overrides, "targets=[verl]")
    assert not (exported.directory / "for_trl").exists()
