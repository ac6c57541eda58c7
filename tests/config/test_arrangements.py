"""Which arrangements of trainer, engine and method are refused when the configuration is composed."""

from __future__ import annotations

import shlex
import sys

import pytest

from medssr.cli.entry import composed
from medssr.config.trainer import devices_of, num_processes
from medssr.errors import InputError

QUESTIONS = "data.path=q.jsonl"
SERVERS = "rollout=vllm_server rollout.addresses=[http://gpu1:8000]"
REFUSED = [
    (f"train {QUESTIONS} trainer=fsdp2", "rollout: hf .*take rollout=vllm, vllm_node or vllm_server, or trainer=ddp"),
    ("pipeline trainer=fsdp2", "rollout: hf"),
    (f"train {QUESTIONS} trainer=fsdp2 rollout=vllm lora=default", "lora: .*take trainer=ddp, or lora=null"),
    ("pipeline trainer=fsdp2 rollout=vllm lora=default", "lora: "),
    ("sft trainer=fsdp2 lora=default", "lora: "),
    (f"train {QUESTIONS} lora=default {SERVERS}", r"rollout\.weights_dir: null, .*/dev/shm/NAME.* rollout=vllm or "),
    (
        f"train {QUESTIONS} trainer=fsdp2 rollout=vllm grpo.dynamic_sampling_rounds=1 grpo.kl_placement=reward",
        r"grpo\.dynamic_sampling_rounds: .*grpo\.kl_placement=loss",
    ),
    (f"train {QUESTIONS} trainer=ddp trainer.devices=3", r"grpo\.num_prompts_per_step: 32 .* 3 processes"),
    (f"train {QUESTIONS} trainer=ddp trainer.devices=4 trainer.num_nodes=3", "32 .* 12 processes"),
    (f"train {QUESTIONS} trainer=cpu trainer.devices=3", "32 .* 3 processes"),
    (
        f"train {QUESTIONS} trainer=fsdp2 rollout=vllm trainer.devices=[4,5,6,7] grpo.minibatch_prompts=2",
        r"grpo\.minibatch_prompts: 2 .* 4 processes",
    ),
    (
        "pipeline trainer=ddp trainer.devices=2 "
        "'stages=[{name: s, questions: human, settings: {num_prompts_per_step: 5}}]'",
        r"grpo\.num_prompts_per_step: 5 .* 2 processes",
    ),
    (
        f"train {QUESTIONS} trainer=ddp rollout=vllm_node",
        r"trainer\.devices: .*trainer\.devices=4 of 8, or .*rollout=vllm,",
    ),
    (f"train {QUESTIONS} trainer=ddp rollout=vllm_node trainer.devices=4 trainer.num_nodes=2", "rollout: .*one node"),
    (
        f"train {QUESTIONS} model.attn_implementation=flex_attention trainer=cpu",
        "no gradients on a CPU; take trainer=gpu",
    ),
    ("sft model.attn_implementation=flex_attention", "no gradients on a CPU"),
    (f"train {QUESTIONS} model.liger_kernels=true", r"model\.liger_kernels: .*take trainer=gpu"),
    ("sft model.liger_kernels=true", r"model\.liger_kernels: .*need a GPU"),
    (f"train {QUESTIONS} rollout.overlap=one_step", r"rollout\.overlap: .*take rollout=vllm_node or rollout=vllm_s"),
    ("pipeline rollout=vllm rollout.overlap=one_step", r"rollout\.overlap: .*take rollout=vllm_node"),
    (
        f"train {QUESTIONS} rollout=vllm_node rollout.overlap=two_steps",
        r"rollout\.overlap: two_steps; null or one_step",
    ),
    (f"train {QUESTIONS} +rollout.overlap=one_step", r"rollout\.overlap: .*cannot sample while it trains; take "),
    (f"train {QUESTIONS} {SERVERS} rollout.overlap=one_step grpo.tis_cap=null", r"grpo\.tis_cap: null, .*take .*=2\."),
    (
        f"train {QUESTIONS} experiment=co_rewarding_2 {SERVERS} rollout.overlap=one_step",
        r"grpo\.teacher: .*take rollout\.overlap=null",
    ),
    (
        f"train {QUESTIONS} experiment=co_rewarding_2 grpo.dynamic_sampling_rounds=1",
        r"grpo\.dynamic_sampling_rounds: .*grpo\.teacher, .*take 0 rounds",
    ),
    (
        f"train {QUESTIONS} experiment=co_rewarding_1 grpo.dynamic_sampling_rounds=1",
        r"grpo\.has_permuted_view: true, .*take 0 rounds",
    ),
    (
        f"train {QUESTIONS} experiment=kepo grpo.teacher.path=m trainer=fsdp2 rollout=vllm",
        r"grpo\.distillation: .*take trainer=ddp",
    ),
    (f"train {QUESTIONS} +trainer.strategy=fsdp", r"trainer\.strategy: fsdp; take trainer=ddp, trainer=fsdp2"),
    (f"train {QUESTIONS} trainer=gpu trainer.devices=0", r"trainer\.devices: 0; .* numbers as \[4,5\]"),
    (f"train {QUESTIONS} trainer=gpu trainer.devices=[1,1]", r"trainer\.devices: \[1, 1\]"),
    (f"train {QUESTIONS} trainer=gpu trainer.devices=four", r"trainer\.devices: four"),
    (f"train {QUESTIONS} trainer=gpu trainer.devices=true", r"trainer\.devices: True"),
    (f"train {QUESTIONS} trainer=cpu trainer.devices=[4,5]", r"trainer\.devices: \[4, 5\]; .*number of processes.* 2"),
]
TAKEN = [
    *(f"trainer={trainer} rollout=vllm" for trainer in ("cpu", "gpu", "ddp", "fsdp2")),
    *(f"trainer={trainer} {SERVERS}" for trainer in ("gpu", "ddp", "fsdp2")),
    *(f"trainer={trainer} rollout=vllm_node trainer.devices=4" for trainer in ("cpu", "ddp", "fsdp2")),
    *(f"trainer={trainer} rollout=hf" for trainer in ("gpu", "ddp")),
    "trainer=ddp rollout=vllm lora=default trainer.devices=8",
    "trainer=gpu model.attn_implementation=flex_attention model.liger_kernels=true model.compile_layers=true",
    f"trainer=fsdp2 {SERVERS} rollout.overlap=one_step",
    "trainer=cpu rollout=vllm_node trainer.devices=4 rollout.overlap=one_step",
    f"trainer=ddp lora=default {SERVERS} rollout.weights_dir=/dev/shm/medssr",
    "trainer=ddp lora=default rollout=vllm_node trainer.devices=4",
    "trainer=fsdp2 rollout=vllm trainer.devices=[4,5,6,7] grpo.minibatch_prompts=16",
    "trainer=fsdp2 rollout=vllm grpo.dynamic_sampling_rounds=1",
    "trainer=ddp grpo.dynamic_sampling_rounds=1 grpo.kl_placement=reward",
    "+trainer.strategy=auto",
    "experiment=kepo grpo.teacher.path=m trainer=ddp rollout=vllm lora=default trainer.devices=8",
    *(f"experiment=co_rewarding_2 trainer={trainer} rollout=vllm" for trainer in ("gpu", "fsdp2")),
    f"experiment=co_rewarding_1 trainer=fsdp2 {SERVERS} rollout.overlap=one_step",
    "experiment=co_rewarding_2 lora=default trainer=ddp rollout=vllm trainer.devices=8 grpo.has_permuted_view=true",
    "experiment=scale_30b",
    "experiment=scale_30b ~lora trainer=fsdp2 trainer.devices=8 trainer.num_nodes=2",
]


@pytest.mark.slow
@pytest.mark.parametrize(("command", "message"), REFUSED)
def test_what_cannot_run_is_refused_with_what_to_take_instead(command, message):
    root, *overrides = shlex.split(command)
    with pytest.raises(InputError, match=message):
        composed(root, overrides)


@pytest.mark.slow
@pytest.mark.parametrize("overrides", TAKEN)
def test_what_can_run_is_taken(overrides):
    composed("train", [QUESTIONS, *overrides.split()])


@pytest.mark.slow
def test_fine_tuning_alone_needs_no_engine_for_a_sharded_model():
    composed("pipeline", ["trainer=fsdp2", "schedule=sft"])


@pytest.mark.slow
@pytest.mark.parametrize("tool", ["info", "doctor"])
def test_a_plan_and_the_doctor_refuse_it_too(tool, monkeypatch, capsys):
    from medssr.commands.doctor.command import main as doctor
    from medssr.commands.train import main as train

    arguments = [QUESTIONS, "trainer=fsdp2", "rollout=hf"]
    words = ["medssr-train", *arguments, "--info"] if tool == "info" else ["medssr-doctor", "medssr-train", *arguments]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        {"info": train, "doctor": doctor}[tool]()
    assert ended.value.code == 2
    assert "rollout: hf generates with the trained model" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        (1, [0]),
        ("2", [0, 1]),
        ([4, 5], [4, 5]),
        ("4,5", [4, 5]),
        ("4,", [4]),
        ([3], [3]),
        (-1, None),
        ("-1", None),
        ("auto", None),
    ],
)
def test_devices_are_given_as_lightning_takes_them(devices, expected):
    trainer = {"accelerator": "gpu", "devices": devices, "num_nodes": 3}
    assert devices_of(trainer) == expected
    assert num_processes(trainer) == (None if expected is None else 3 * len(expected))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "cap"),
    [
        ("train rollout=hf", None),
        ("train rollout=vllm", 2.0),
        (f"train {SERVERS}", 2.0),
        ("train rollout=vllm_node", 2.0),
        ("train rollout=vllm grpo=large", 2.0),
        ("train rollout=vllm grpo.tis_cap=null", None),
        ("train rollout=hf grpo.tis_cap=3", 3.0),
        ("train rollout=vllm grpo=parity", None),
        ("pipeline rollout=vllm", 2.0),
        ("pipeline", None),
    ],
)
def test_importance_weights_are_capped_where_another_engine_samples(command, cap):
    root, *overrides = command.split()
    assert composed(root, [*overrides, *([QUESTIONS] if root == "train" else [])]).grpo.tis_cap == cap
