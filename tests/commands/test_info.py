"""Tests that `--info` shows the plan of a run from the configuration alone, and runs nothing."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from support.commands import run_program
from support.helpers import toy_question, typed

from medssr.artifacts import Step
from medssr.commands.info import memory_needed, pipeline_plan, train_plan
from medssr.commands.pipeline import pseudo_label_config
from medssr.questions import write_questions

pytestmark = pytest.mark.slow


def plan(root: str, *overrides: str) -> dict[str, str]:
    make = {"train": train_plan, "pipeline": pipeline_plan}[root]
    return dict(make(typed(root, *overrides)))


@pytest.fixture
def data(tmp_path) -> str:
    write_questions(tmp_path / "questions.jsonl", [toy_question(number) for number in range(5)])
    return f"data.path={tmp_path}/questions.jsonl"


def test_the_arithmetic_of_a_stage_is_spelt_out(data, tmp_path):
    rows = plan(
        "train",
        data,
        f"paths.root_dir={tmp_path}",
        "grpo.num_steps=10",
        "grpo.num_prompts_per_step=8",
        "grpo.minibatch_prompts=4",
        "grpo.num_generations=4",
        "grpo.num_iterations=2",
        "grpo.max_new_tokens=100",
        "grpo.micro_batch_tokens=500",
    )
    assert rows["questions"].endswith("questions.jsonl: 5")
    assert rows["stage1_selfsup"] == "10 steps of 8 questions x 4 completions = 32 of up to 100 tokens"
    # An update has 4 x 4 completions of 100 tokens: 1,600 tokens in passes of 500.
    assert rows["  updates"].startswith("4 a step, 40 in all; each in micro-batches of 500 tokens: 4 where")
    assert rows["  in all"] == "80 questions, 320 completions, at most 32,000 sampled tokens"
    assert "1,115,520 weights" in rows["model"]


NODE = ["model=qwen3_8b_base", "trainer=fsdp2", "trainer.devices=[0,1,2,3,4,5,6,7]", "rollout=vllm", "grpo=large"]


def test_memory_is_that_of_docs_scaling():
    """The sum of each case is compared with torch's tracker in tests/models/test_memory.py."""
    rows = plan("train", *NODE)
    memory = {name.strip(): rows[name] for name in list(rows)[list(rows).index("memory, computed") :]}
    page = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text(encoding="utf-8")
    table = dict(re.findall(r"^\| ([^|:]+?)(?::[^|]*)? \| ([\d.]+) \|$", page, re.M))
    shown = {name: text.removesuffix(" GB") for name, text in memory.items() if name in table}
    assert shown == {name: table[name] for name in shown}
    assert len(shown) == 6
    assert rows["memory, computed"] == f"{table['sum']} GB a device for an update"
    adapters = plan("train", "experiment=lora_one_gpu", "model=qwen3_8b_base")
    assert adapters["memory, computed"].startswith("27.7 GB")
    assert adapters["  while vLLM samples"].startswith("17.4 GB")
    assert "(27.7 GB for an update, 16.4 of them the frozen model; 17.4 GB beside vLLM)" in page
    four = plan("train", *NODE, "trainer.devices=[4,5,6,7]")
    assert "51 GB of each" in page
    assert four["memory, computed"].startswith("51.")
    # 12 x 8.19 / 8 + 2 x 8.19 / 8
    assert (
        rows["  while vLLM samples"] == "14.3 GB of training, and 50% of the GPU for vLLM, whose weights have 16.4 GB"
    )


def test_the_memory_that_a_device_must_have_is_that_of_an_update_or_that_beside_vllm():
    update = float(plan("train", *NODE)["memory, computed"].split()[0])
    assert memory_needed(typed("train", *NODE)) == pytest.approx(update * 1e9, rel=0.01)
    beside = memory_needed(typed("train", *NODE, "rollout.gpu_memory_utilization=0.9"))
    assert beside == pytest.approx(14.33e9 / 0.1, rel=0.01)
    awake = memory_needed(typed("train", *NODE, "rollout.sleep=false"))
    assert awake == pytest.approx(update * 1e9 / 0.5, rel=0.01)
    assert memory_needed(typed("train", *NODE, "rollout.gpu_memory_utilization=0.2")) == pytest.approx(
        16.4e9 / 0.2, 0.01
    )


def test_processes_that_exchange_gradients_hold_them_twice():
    one, two = (plan("train", "model=qwen3_1_7b_base", f"trainer={name}", "grpo=large") for name in ("gpu", "ddp"))
    assert "  gradients that processes exchange" not in one
    assert two["  gradients that processes exchange"] == "6.9 GB"  # 4 x 1.72


def test_adapters_take_the_place_of_the_weights():
    rows = plan("train", "model=qwen3_8b_base", "lora=default", "grpo=large")
    assert rows["trained"] == "adapters of rank 32: 87,293,952 weights"
    assert (rows["  frozen weights"], rows["  adapters, gradients, optimiser"]) == ("16.4 GB", "1.4 GB")
    assert "  reference policy" not in rows  # the same weights without adapters


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model=local", "model.path=somebody/something"], "architecture is not known"),
        (["+trainer.strategy._target_=some.Strategy"], "not computed for the strategy some.Strategy"),
        (["trainer=fsdp2", "rollout=vllm"], "name trainer.devices=N"),
    ],
)
def test_what_cannot_be_computed_is_not_guessed(overrides, message):
    assert message in plan("train", *overrides)["memory"]


def test_time_hours_and_price_of_a_stage_are_computed():
    rows = plan("train", *NODE, "extras.forecast.gpu=H200", "extras.forecast.price_per_hour=3")
    step = re.fullmatch(r"(\d+) s a step on 8 x H200: rollout (\d+) s, reward .*", rows["time, computed"])
    assert step
    hours, price = rows["  GPU hours"], rows["  price"]
    assert float(hours.split()[0]) == pytest.approx(int(step[1]) * 300 * 8 / 3600, rel=0.02)
    assert float(price.split()[0]) == pytest.approx(3 * float(hours.split()[0]), rel=0.01)
    assert rows["  where"].startswith("completions have 1,024 tokens, prompts 300, and 60% of the groups have signal")
    assert "data sheet" in rows["  speed of a device"]
    assert "  price" not in plan("train", *NODE)


def test_presets_state_their_cost():
    assert plan("train")["cost: model"] == "A few minutes on 2 CPU cores."
    rows = plan("pipeline", "model=qwen3_4b_base", "experiment=lora_one_gpu")
    assert rows["cost: GPUs"].startswith("one of 141 GB")
    assert rows["cost: preset"].startswith("2 bytes a weight for the model")


def test_what_a_preset_says_of_its_cost_changes_no_artefact(tmp_path):
    root = f"paths.root_dir={tmp_path}"
    assert plan("train", root) | {"cost: model": "x"} == plan("train", root, "model.cost.note=x")


def test_what_is_made_is_said(data, tmp_path):
    overrides = (data, f"paths.root_dir={tmp_path}")
    assert plan("train", *overrides)["artefact"].endswith("would be made")
    step = Step("train", typed("train", *overrides), tmp_path / "artifacts")
    step.directory.mkdir(parents=True)
    assert plan("train", *overrides)["artefact"].endswith("would go on")
    step.run(lambda directory: {})
    assert str(step.directory) in plan("train", *overrides)["artefact"]
    assert "is made already" in plan("train", *overrides)["artefact"]


def test_the_pipeline_says_which_steps_are_made(tmp_path):
    root = f"paths.root_dir={tmp_path}"
    config = typed("pipeline", root)
    rows = plan("pipeline", root)
    assert rows["stage2_sup (human)"].startswith("20 steps of 32 questions")
    assert list(rows)[-2:] == ["artefact: synthesize", "artefact: evaluate base"]
    made = Path(rows["artefact: synthesize"].split()[0])
    made.mkdir(parents=True)
    (made / "manifest.json").write_text(json.dumps({"step": "synthesize", "inputs": {}, "counts": {}, "seconds": 1}))
    write_questions(made / "questions.jsonl", [toy_question()])
    rows = plan("pipeline", root)
    assert "is made already" in rows["artefact: synthesize"]
    assert "would be made" in rows["artefact: pseudo_label"]
    assert asdict(config) == asdict(typed("pipeline", root))


def test_the_labels_of_another_model_are_looked_up_as_such(tmp_path):
    overrides = (f"paths.root_dir={tmp_path}", "model@labeler=tiny_llama")
    made = Path(plan("pipeline", *overrides)["artefact: synthesize"].split()[0])
    made.mkdir(parents=True)
    (made / "manifest.json").write_text(json.dumps({"step": "synthesize", "inputs": {}, "counts": {}, "seconds": 1}))
    write_questions(made / "questions.jsonl", [toy_question()])
    config = typed("pipeline", *overrides)
    step = Step(
        "pseudo_label", pseudo_label_config(config, made / "questions.jsonl", config.model), tmp_path / "artifacts"
    )
    assert step.config.model.path.endswith("tiny_llama")
    assert plan("pipeline", *overrides)["artefact: pseudo_label"].split()[0] == str(step.directory)
    assert plan("pipeline", overrides[0])["artefact: pseudo_label"].split()[0] != str(step.directory)


def test_large_inputs_are_not_read(tmp_path):
    (tmp_path / "model").mkdir()
    with (tmp_path / "model" / "model.safetensors").open("wb") as stream:
        stream.write((2).to_bytes(8, "little") + b"{}")
        stream.truncate(600_000_000)  # a hole, which takes no room
    rows = plan("train", "model=local", f"model.path={tmp_path}/model")
    assert rows["artefact"] == "not looked up, since its name depends on 600.0 MB of inputs"


PROGRAM = """
import sys
sys.argv = ["medssr-{name}", "--info", "data.path=nowhere.jsonl"][: 3 if "{name}" == "train" else 2]
from medssr.commands.{name} import main
main()
print(sorted({{"torch", "transformers", "lightning", "numpy"}} & sys.modules.keys()))
"""


@pytest.mark.parametrize("name", ["train", "pipeline"])
def test_info_loads_nothing_and_leaves_nothing(name, tmp_path):
    output = run_program(PROGRAM.format(name=name), tmp_path)
    assert output.splitlines()[-1] == "[]"
    assert "completions" in output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-m", "grpo.num_step=3,4"], "grpo.num_steps"),
        (["grpo.num_step=3"], "grpo.num_steps"),
        (["grpo.beta=-1"], "at least 0"),
        (["-m", "hparams_search=optuna"], "a search draws its jobs one after the other"),
    ],
)
def test_a_mistake_is_a_mistake_with_info_too(arguments, message, monkeypatch, capsys):
    from medssr.commands.train import main

    monkeypatch.setattr(sys, "argv", ["medssr-train", *arguments, "data.path=x", "--info"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
