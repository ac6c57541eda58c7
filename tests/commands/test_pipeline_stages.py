"""Tests fine-tuning stages of the pipeline, alone and before GRPO."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from support.helpers import toy_question, typed

from medssr.commands.checkpoint_settings import read_trained
from medssr.commands.evaluate import evaluate
from medssr.commands.info import pipeline_plan
from medssr.commands.pipeline import pipeline
from medssr.commands.stage_methods import SFTMethod
from medssr.commands.sweep_info import steps_of
from medssr.config import UNKNOWN_FILES, stage_method
from medssr.errors import InputError
from medssr.questions import read_questions, write_questions
from medssr.reports.runs import read_run
from medssr.utils.files import hash_path

pytestmark = pytest.mark.slow

SMALL = [
    "trainer=cpu",
    "logger=csv",
    "extras.progress_bar=false",
    "extras.num_threads=1",
    "synthesis.num_questions=4",
    "labeling.num_votes=2",
    "labeling.max_new_tokens=60",
    "protocol.num_samples=1",
    "protocol.max_new_tokens=3",
    "sft.num_steps=3",
    "sft.num_rows_per_step=2",
    "grpo.num_steps=1",
    "grpo.num_prompts_per_step=2",
    "grpo.num_generations=2",
    "grpo.max_new_tokens=3",
]
SFT_THEN_GRPO = "stages=[{name: imitate, questions: human, method: sft}, {name: sup, questions: human}]"


@pytest.fixture
def settings(tmp_path):
    """Returns the settings of a pipeline with the tiny policy on five toy questions."""
    write_questions(tmp_path / "toy.jsonl", [toy_question(number) for number in range(5)])
    return [
        *SMALL,
        f"paths.root_dir={tmp_path}",
        f"seed_questions.path={tmp_path}/toy.jsonl",
        f"benchmark.path={tmp_path}/toy.jsonl",
    ]


def metrics(stage_folder: Path) -> list[dict[str, str]]:
    with (stage_folder / "metrics.csv").open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_a_stage_of_fine_tuning_stands_beside_one_of_grpo(settings, tmp_path):
    config = typed("pipeline", *settings, SFT_THEN_GRPO)
    run_dir = tmp_path / "run"
    page = pipeline(config, run_dir)
    run = read_run(run_dir)
    assert page.is_file()
    assert [model.name for model in run.record.models] == ["base", "imitate", "sup"]
    assert [stage.method for stage in run.record.training] == ["sft", "grpo"]
    assert list(run.curves) == ["sup"]  # imitation has no rewards
    imitated, rewarded = (Path(stage.metrics_file).parent for stage in run.record.training)
    assert (imitated.parent.name, rewarded.parent.name) == ("sft", "train")
    assert [row["step"] for row in metrics(imitated)] == ["0", "1", "2"]
    # GRPO goes on from the fine-tuned model.
    inputs = json.loads((rewarded / "manifest.json").read_text())["inputs"]
    assert inputs["model.path"] == hash_path(imitated / "model")


def test_traces_come_before_rewards_in_one_schedule(settings, tmp_path):
    """Traces that repeat what the run is evaluated on, and longer ones than asked for, are left out and counted."""
    asked = "Which vessel leaves the {} ventricle?\nA. aorta\nB. vena cava"
    rows = [
        {"prompt": asked.format("left"), "completion": "The answer is A."},
        {"prompt": asked.format("right"), "completion": "word " * 300},
        {"prompt": "Which organ is number 3?\nA. liver\nB. heart", "completion": "The answer is A."},
    ]
    (tmp_path / "traces.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    traces = ["demonstrations=traces", f"demonstrations.path={tmp_path}/traces.jsonl", "sft.max_tokens=100"]
    config = typed("pipeline", *settings, "schedule=traces_then_sup", *traces)
    assert dict(pipeline_plan(config))["traces (demonstrations)"] == "fine-tuning: 3 steps of 2 demonstrations"
    pipeline(config, tmp_path / "run")
    imitated, rewarded = (Path(stage.metrics_file).parent for stage in read_run(tmp_path / "run").record.training)
    counts = json.loads((imitated / "manifest.json").read_text())["counts"]
    assert (counts["num_demonstrations"], counts["num_too_long"]) == (1, 1)
    assert counts["traces"]["left_out"] == {"in_benchmark": 1}
    left_out = [json.loads(line) for line in (imitated / "left_out.jsonl").read_text().splitlines()]
    assert [(each["number"], each["reason"]) for each in left_out] == [(2, "too_long"), (3, "in_benchmark")]
    inputs = json.loads((rewarded / "manifest.json").read_text())["inputs"]
    assert inputs["model.path"] == hash_path(imitated / "model")


def test_own_majority_answers_are_imitated_before_the_second_stage(settings, tmp_path):
    votes = ["labeling.min_agreement=0.0", "labeling.min_valid_share=0.0", "labeling.num_votes=4", "model=tiny_qwen3"]
    config = typed("pipeline", *settings, "schedule=rft", *votes)
    pipeline(config, tmp_path / "run")
    imitated, rewarded = (Path(stage.metrics_file).parent for stage in read_run(tmp_path / "run").record.training)
    manifest = json.loads((imitated / "manifest.json").read_text())
    (voted,) = (tmp_path / "artifacts" / "pseudo_label").glob("*/questions.jsonl")
    assert manifest["inputs"]["demonstrations.path"] == hash_path(voted.parent)
    assert manifest["counts"]["num_demonstrations"] >= 1
    assert hash_path(imitated / "model") == json.loads((rewarded / "manifest.json").read_text())["inputs"]["model.path"]


def test_the_policy_of_a_round_votes_again_before_the_next(settings, tmp_path):
    votes = ["labeling.min_agreement=0.0", "labeling.min_valid_share=0.0", "labeling.num_votes=4", "model=tiny_qwen3"]
    kinds = [("first", "pseudo_labelled", False), ("second", "pseudo_labelled", True), ("third", "mixed", False)]
    stages = ", ".join(f"{{name: {name}, questions: {kind}, relabels: {again}}}" for name, kind, again in kinds)
    config = typed("pipeline", *settings, *votes, f"stages=[{stages}]")
    assert [step.name for step in steps_of(config) if "label" in step.name] == ["pseudo_label", "pseudo_label second"]
    pipeline(config, tmp_path / "run")
    record = read_run(tmp_path / "run").record
    first, second, third = trained = [Path(stage.metrics_file).parent for stage in record.training]
    once, again = (Path(record.artifacts[name]) for name in ("pseudo_label", "pseudo_label second"))
    inputs = {folder: json.loads((folder / "manifest.json").read_text())["inputs"] for folder in (again, *trained)}
    assert inputs[again]["model.path"] == hash_path(first / "model")
    assert inputs[first]["data.path"] == hash_path(once / "questions.jsonl")
    assert inputs[second]["data.path"] == hash_path(again / "questions.jsonl")
    # Later stages have these labels too.
    (mixed,) = (
        file
        for file in (tmp_path / "artifacts" / "mixed").rglob("*.jsonl")
        if hash_path(file) == inputs[third]["data.path"]
    )
    labels, newest = (
        {question.stem: question.answer for question in read_questions(file)}
        for file in (mixed, again / "questions.jsonl")
    )
    assert labels.items() >= newest.items()
    rows = dict(pipeline_plan(config))
    assert rows["pseudo_label second"] == "the policy votes again on the same questions"
    assert "is made already" in rows["artefact: pseudo_label second"]


def test_the_starting_policy_does_not_vote_where_the_first_stage_with_labels_does(settings, tmp_path):
    votes = ["labeling.min_agreement=0.0", "labeling.min_valid_share=0.0", "labeling.num_votes=4", "model=tiny_qwen3"]
    stages = "stages=[{name: sup, questions: human}, {name: own, questions: pseudo_labelled, relabels: true}]"
    config = typed("pipeline", *settings, *votes, stages)
    assert [step.name for step in steps_of(config) if "label" in step.name] == ["pseudo_label own"]
    pipeline(config, tmp_path / "run")
    assert len(list((tmp_path / "artifacts" / "pseudo_label").glob("*/manifest.json"))) == 1
    rows = dict(pipeline_plan(config))
    assert "pseudo_label" not in rows
    assert "is made already" in rows["artefact: own"]
    # The stage on human questions is made, and the questions that the next one needs are not.
    other = dict(pipeline_plan(typed("pipeline", *settings, *votes, stages, "synthesis.num_questions=5")))
    assert "is made already" in other["artefact: sup"]
    assert "artefact: own" not in other


def test_walks_are_imitated_on_the_states_that_the_policy_visits_in_each_round(settings, tmp_path):
    edges = [["stomach", "next to", organ] for organ in ("liver", "heart")]
    walk = {"head": "stomach", "relation": "next to", "tail": "liver", "max_steps": 3, "edges": edges}
    write_questions(tmp_path / "toy.jsonl", [toy_question(number, provenance={"walk": walk}) for number in range(5)])
    preset = ["experiment=graph_walk", "schedule=graph_walk", "model=tiny_qwen3", "model.max_new_tokens=8"]
    overrides = [*settings, *preset, "sft.num_steps=30", "sft_optim.optimizer.lr=3e-3"]
    config = typed("pipeline", *overrides)
    pipeline(config, tmp_path / "run")
    *rounds, _ = (Path(stage.metrics_file).parent for stage in read_run(tmp_path / "run").record.training)
    counts = [json.loads((folder / "manifest.json").read_text())["counts"]["num_demonstrations"] for folder in rounds]
    assert counts[0] == 5  # an untrained policy takes no step, so that the start is all that it visits
    assert counts[2] > 5
    assert len(list((tmp_path / "artifacts" / "walks").glob("*/manifest.json"))) == 3
    rows = dict(pipeline_plan(config))
    (planned,) = (text for name, text in rows.items() if name.startswith("imitate_1 "))
    assert "30 steps of 2 states of 4 walks" in planned
    made = [text for name, text in rows.items() if name.startswith("artefact: imitate")]
    assert len(made) == 3
    assert all("is made already" in text for text in made)


VOTES_THEN_BOTH = (
    "stages=[{name: votes, questions: synthetic}, {name: both, questions: human, rewards: [label_match], "
    "further: {unlabelled: {questions: synthetic, num_prompts: 1, rewards: [majority_vote]}}}]"
)
OWN_REWARDS = ["+reward@stage_rewards.votes=majority_vote", "+reward@stage_rewards.both=majority_vote"]
WITH_LABELS = "+stage_rewards.both.label_match={_target_: medssr.rewards.label_match.LabelMatch, weight: 1.0}"


def test_each_stage_has_rewards_and_sources_of_its_own(settings, tmp_path):
    """Votes of the policy while it trains need no labels, so none are made before."""
    config = typed("pipeline", *settings, VOTES_THEN_BOTH, *OWN_REWARDS, WITH_LABELS)
    assert "pseudo_label" not in dict(pipeline_plan(config))
    pipeline(config, tmp_path / "run")
    assert not (tmp_path / "artifacts" / "pseudo_label").exists()
    (synthetic,) = (tmp_path / "artifacts" / "synthesize").glob("*/questions.jsonl")
    votes, both = (
        json.loads((Path(stage.metrics_file).parent / "manifest.json").read_text())
        for stage in read_run(tmp_path / "run").record.training
    )
    assert votes["inputs"]["data.path"] == hash_path(synthetic)
    assert list(votes["config"]["reward"]) == ["majority_vote"]
    assert sorted(both["config"]["reward"]) == ["label_match", "majority_vote"]
    assert both["inputs"]["data.path"] == hash_path(tmp_path / "toy.jsonl")
    assert both["inputs"]["data.further.unlabelled.path"] == hash_path(synthetic)


def test_a_stage_without_rewards_of_its_own_has_those_of_the_pipeline():
    config = typed("pipeline", "+reward@stage_rewards.stage1_selfsup=majority_vote")
    made = [
        stage_method(stage).configure(config, stage, config.model, stage.data(UNKNOWN_FILES)) for stage in config.stages
    ]
    assert [list(train.reward) for train in made] == [["majority_vote"], ["label_match"]]


def test_stages_with_adapters_train_the_same_adapters_of_the_same_base(settings, tmp_path):
    """Each stage and each evaluation uses the base with the adapters as they were trained, not a merged model."""
    stages = SFT_THEN_GRPO.replace("[{", "[{name: first, questions: human, method: sft, settings: {num_steps: 2}}, {")
    config = typed("pipeline", *settings, stages, "lora=default", "lora.rank=2", "grpo.beta=0.1")
    pipeline(config, tmp_path / "run")
    made = [Path(stage.metrics_file).parent for stage in read_run(tmp_path / "run").record.training]
    adapters = [stage / "model" / "adapter" for stage in made]
    for stage, start in zip(made[1:], adapters, strict=False):
        inputs = json.loads((stage / "manifest.json").read_text())["inputs"]
        assert inputs["model.path"] == hash_path(Path(config.model.path))
        assert inputs["model.adapter_path"] == hash_path(start)
    results = (tmp_path / "artifacts" / "evaluate").glob("*/results.json")
    evaluated = {json.loads(file.read_text())["model"]["adapter_path"] for file in results}
    assert evaluated >= {None, str(adapters[0]), str(adapters[1])}
    # A run stands for the base with its last adapters.
    trained = read_trained(tmp_path / "run").model
    assert (trained.path, trained.adapter_path) == (config.model.path, str(adapters[-1]))


def test_a_fine_tuned_model_is_evaluated_by_its_folder(settings, tmp_path):
    config = typed("pipeline", *settings, "schedule=sft")
    run_dir = tmp_path / "run"
    pipeline(config, run_dir)
    (stage,) = read_run(run_dir).record.training
    trained = read_trained(run_dir)
    assert trained == read_trained(Path(stage.metrics_file).parent)
    assert trained.model.path == str(Path(stage.metrics_file).parent / "model")
    assert trained.rollout is None
    # The pipeline has made this evaluation.
    asked = typed("evaluate", *[text for text in settings if text.split(".")[0] in ("paths", "protocol", "benchmark")])
    asked.model = trained.model
    before = len(list((tmp_path / "artifacts" / "evaluate").iterdir()))
    evaluate(asked)
    assert len(list((tmp_path / "artifacts" / "evaluate").iterdir())) == before


@pytest.mark.parametrize("schedule", ["sft", "sup_only"])
def test_where_only_human_questions_are_asked_none_are_made(settings, tmp_path, schedule):
    config = typed("pipeline", *settings, f"schedule={schedule}")
    assert not {"synthesize", "pseudo_label", "artefact: synthesize"} & set(dict(pipeline_plan(config)))
    pipeline(config, tmp_path / "run")
    assert not {"synthesize", "pseudo_label"} & {folder.name for folder in (tmp_path / "artifacts").iterdir()}
    assert read_run(tmp_path / "run").record.labels is None


def test_info_says_what_a_stage_of_fine_tuning_takes(settings):
    rows = dict(pipeline_plan(typed("pipeline", *settings, "schedule=sft")))
    assert rows["sft (human)"] == "fine-tuning: 3 steps of 2 labels"


def test_a_stage_is_of_grpo_where_nothing_else_is_said():
    assert [stage.method for stage in typed("pipeline").stages] == ["grpo", "grpo"]


class TwiceMethod(SFTMethod):
    """A user-defined method: fine-tuning with a multiple of the steps."""

    def __init__(self, times: int) -> None:
        self._times = times

    def configure(self, config, stage, model, data):
        made = super().configure(config, stage, model, data)
        return replace(made, sft=replace(made.sft, num_steps=self._times * made.sft.num_steps))


def test_a_method_of_one_s_own_is_a_class(settings, tmp_path):
    method = f"{{_target_: {__name__}.TwiceMethod, times: 2}}"
    config = typed("pipeline", *settings, f"stages=[{{name: twice, questions: human, method: {method}}}]")
    assert dict(pipeline_plan(config))["twice (human)"] == "fine-tuning: 6 steps of 2 labels"
    pipeline(config, tmp_path / "run")
    (stage,) = read_run(tmp_path / "run").record.training
    assert stage.method == "TwiceMethod"
    assert len(metrics(Path(stage.metrics_file).parent)) == 6


def test_a_stage_of_fine_tuning_has_settings_of_its_own(settings):
    stages = "stages=[{name: a, questions: human, method: sft, settings: {num_steps: 7}}]"
    assert dict(pipeline_plan(typed("pipeline", *settings, stages)))["a (human)"].startswith("fine-tuning: 7 steps")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["stages=[{name: a, questions: human, method: sft, settings: {beta: 0.1}}]"],
            "stages, a, sft.beta: ",
        ),
        (["stages=[{name: a, questions: human, method: dpo}]"], "stages, a.method: dpo; expected one of "),
        (["stages=[{name: a, questions: human, method: {beta: 0.1}}]"], "stages, a.method: .*_target_"),
        (["stages=[{name: a, questions: demonstrations}]"], "stages, a.questions: demonstrations, which grpo does not"),
        (
            ["stages=[{name: a, questions: human, method: rft}]"],
            "stages, a.questions: human, but rft imitates",
        ),
        (
            ["stages=[{name: a, questions: demonstrations, method: walk}]"],
            "stages, a.questions: demonstrations, but walk needs questions of walks",
        ),
        (["+reward@stage_rewards.other=majority_vote"], "stage_rewards.other: names no stage; the stages are stage1_"),
        (
            ["schedule=sft", "+reward@stage_rewards.sft=majority_vote"],
            "stages, sft.method: sft, which has .* no rewards",
        ),
        (
            ["stages=[{name: a, questions: human, relabels: true}]"],
            "stages, a.relabels: true, but its questions are human",
        ),
        (
            ["schedule=relabelled", "model@labeler=tiny_llama"],
            "stages, round2_selfsup.relabels: true, but labeler votes",
        ),
        (["schedule=traces"], "stages, traces.questions: demonstrations, but demonstrations is null"),
        (["schedule=sft", "probe=seed_questions"], "stages, sft.method: .* probe=null"),
    ],
)
def test_what_does_not_go_with_fine_tuning_is_refused(overrides, message):
    with pytest.raises(InputError, match=message):
        typed("pipeline", *overrides)
