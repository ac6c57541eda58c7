"""The export as TRL reads it; what needs TRL itself is skipped without it (make test-export)."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import datasets
import pytest
import yaml
from support.exports import NO_FRAMEWORK_HAS, PROMPT, QUESTIONS, defaults, settings_with
from support.helpers import typed

from medssr.answers import extract_choice
from medssr.commands.evaluate import evaluate
from medssr.config import ExportSettings, KLEstimator, KLPlacement
from medssr.engines.types import Completion
from medssr.errors import InputError
from medssr.exporting.common import SettingsReader
from medssr.exporting.conversations import ExportedPrompts
from medssr.exporting.trl import trl_settings
from medssr.models.policy import load_policy
from medssr.rewards.label_match import LabelMatch

pytestmark = pytest.mark.slow


def translate(settings: ExportSettings, num_questions: int = 1024) -> dict:
    prompts = ExportedPrompts([[]] * num_questions, None, 700, [7, 9], ())
    reader = SettingsReader("TRL", "settings.recommended", settings, defaults())
    return trl_settings(reader, prompts, "stage1_selfsup", 42)


def test_recommended_settings_by_trl_s_names():
    translated = translate(defaults())
    expected = {
        "completions_per_update": 1024,
        "generation_batch_size": 1024,
        "num_generations": 8,
        "max_steps": 300,
        "warmup_steps": 10,
        "max_completion_length": 2048,
        "loss_type": "dapo",
        "epsilon": 0.2,
        "epsilon_high": 0.28,
        "delta": 3.0,
        "beta": 0.001,
        "use_bias_correction_kl": False,
        "learning_rate": 1e-6,
        "weight_decay": 0.01,
        "vllm_importance_sampling_mode": "token_truncate",
        "vllm_importance_sampling_clip_max": 2.0,
    }
    assert {name: translated[name] for name in expected} == expected


def test_parity_has_four_updates_a_rollout():
    translated = translate(typed("export").settings["parity"])
    assert (translated["generation_batch_size"], translated["completions_per_update"]) == (1024 * 5, 256 * 5)
    assert (translated["max_steps"], translated["warmup_steps"]) == (300 * 4, 0)
    assert translated["epsilon_high"] == 0.2
    assert not translated["vllm_importance_sampling_correction"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"loss": "gspo"}, {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon_high": 4e-4}),
        ({"loss": "cispo", "loss_values": {"epsilon_high": 4.0}}, {"loss_type": "cispo", "epsilon_high": 5.0}),
        ({"loss": "sapo"}, {"loss_type": "sapo", "sapo_temperature_neg": 1.05}),
        ({"num_iterations": 2}, {"num_iterations": 2, "max_steps": 600, "warmup_steps": 20}),
        ({"loss_values": {"dual_clip": None}}, {"delta": None}),
        ({"kl_estimator": KLEstimator.k1, "beta": 0.0}, {"beta": 0.0}),
    ],
)
def test_settings_of_the_update(changes, expected):
    translated = translate(settings_with(**changes))
    assert {name: translated[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        *NO_FRAMEWORK_HAS,
        ({"kl_estimator": KLEstimator.k2}, ["grpo.kl_estimator", "k2"]),
        ({"kl_placement": KLPlacement.reward}, ["grpo.kl_placement", "reward"]),
        ({"num_prompts_per_step": 1025}, ["grpo.num_prompts_per_step", "1025", "1024"]),
    ],
)
def test_what_trl_cannot_do_is_refused(changes, parts):
    with pytest.raises(InputError) as caught:
        translate(settings_with(**changes))
    for part in ["settings.recommended", *parts]:
        assert part in str(caught.value)


def test_the_questions_load_as_a_data_set(chat_export):
    folder = chat_export.directory / "for_trl" / "questions"
    rows = datasets.load_dataset(str(folder), split="train", cache_dir=str(chat_export.directory / "cache"))
    assert rows["answer"] == [question.answer for question in QUESTIONS]
    assert rows["options"] == [list(question.options.values()) for question in QUESTIONS]
    assert rows["prompt"][0] == [{"role": "user", "content": PROMPT.replace("{question}", RENDERED)}]
    assert "provenance" not in rows.column_names


RENDERED = "Which organ makes insulin?\nA. liver\nB. pancreas"


@pytest.mark.parametrize("is_finished", [True, False], ids=["finished", "cut"])
def test_the_reward_function_gives_the_reward_of_label_match(chat_export, is_finished):
    module = runpy.run_path(str(chat_export.directory / "for_trl" / "trl_reward.py"))
    reward = module["label_match"]([1, 5])
    assert reward.__name__ == "label_match"  # TRL names its metrics by it
    texts = ["The answer is A.", "The answer is B.", "Perhaps C? The answer is: C", "", "The answer is E."]
    cases = [(text, question) for text in texts for question in QUESTIONS]
    token_ids = [7, 8, 5 if is_finished else 6]
    rewards = reward(
        prompts=[],
        completions=[[{"role": "assistant", "content": text}] for text, _ in cases],
        completion_ids=[token_ids] * len(cases),
        options=[list(question.options.values()) for _, question in cases],
        answer=[question.answer for _, question in cases],
        trainer_state=None,
    )
    expected = [
        LabelMatch(1.0)(
            question,
            Completion(token_ids, [-1.0] * 3, text, is_truncated=not is_finished),
            extract_choice(text, question.options),
        )
        for text, question in cases
    ]
    assert rewards == expected
    assert set(rewards) == ({0.0, 1.0} if is_finished else {0.0})


# From here on with TRL itself.


def run_script(exported, output: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("trl", reason="TRL is installed by `make test-export`")
    folder = exported.directory / "for_trl"
    command = [sys.executable, str(folder / "trl_train.py"), "--model_name_or_path", str(exported.model)]
    command += ["--output_dir", str(output), "--bf16", "false", "--use_cpu", *arguments]
    program = f"import runpy, sys; sys.path[:0] = {sys.path!r}; sys.argv = {command[1:]!r}; "
    program += f"sys.path.insert(0, {str(folder)!r}); runpy.run_path({command[1]!r}, run_name='__main__')"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_step_of_trl_s_trainer_and_back(chat_export, tmp_path):
    """The script as it is, one step on a CPU; what it saves is evaluated with the same prompts."""
    folder = chat_export.directory / "for_trl"
    settings = yaml.safe_load((folder / "recommended.yaml").read_text()) | {"max_steps": 1, "warmup_steps": 0}
    (folder / "one.yaml").write_text(yaml.safe_dump(settings))
    done = run_script(chat_export, tmp_path / "out", "--config", str(folder / "one.yaml"))
    assert done.returncode == 0, done.stderr[-3000:]
    assert "rewards/label_match/mean" in done.stdout

    config = typed(
        "evaluate",
        "model=local",
        f"model.path={tmp_path / 'out'}",
        f"model.prompt_path={chat_export.directory / 'prompt.txt'}",
        f"benchmark.path={tmp_path / 'questions.jsonl'}",
        "protocol.num_samples=1",
        "protocol.max_new_tokens=4",
        f"paths.root_dir={tmp_path}",
        "extras.progress_bar=false",
    )
    trained = load_policy(config.model)
    assert trained.encode(QUESTIONS, 16, "toy.jsonl") == chat_export.prompts
    assert evaluate(config).path("results.json").is_file()


@pytest.mark.slow
def test_a_batch_that_does_not_divide_the_update_is_refused(chat_export, tmp_path):
    """16 completions a rollout, 8 an update."""
    config = str(chat_export.directory / "for_trl" / "parity.yaml")
    done = run_script(chat_export, tmp_path / "out", "--config", config, "--per_device_train_batch_size", "16")
    assert done.returncode != 0
    assert "= 16 does not divide the 8 completions" in done.stderr


def test_trl_s_trainer_gives_the_policy_s_tokens(exported):
    """By the trainer's own method, on a trainer that has no more than the method asks for."""
    trl = pytest.importorskip("trl", reason="TRL is installed by `make test-export`")
    from types import SimpleNamespace

    from transformers import AutoTokenizer

    folder = exported.directory / "for_trl" / "questions"
    rows = datasets.load_dataset(str(folder), split="train", cache_dir=str(exported.directory / "cache"))
    trainer = SimpleNamespace(
        processing_class=AutoTokenizer.from_pretrained(exported.directory / "tokenizer", padding_side="left"),
        tools=None,
        chat_template=None,
        chat_template_kwargs={},
        environment_factories=None,
        _is_vlm=False,
    )
    prompts, _, _ = trl.GRPOTrainer._tokenize_prompts(trainer, list(rows["prompt"]))
    assert prompts == exported.prompts
