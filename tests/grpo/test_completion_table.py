"""Tables of completions: their content, and that a resumed run writes no step twice."""

from __future__ import annotations

import json
import math

import pytest
from support.helpers import completion, random_policy, toy_question
from support.toy_stage import ToyStage, stop_before

from medssr.answers import Choice
from medssr.grpo.completion_table import CompletionTable, completion_rows
from medssr.grpo.rollouts import Rollout, RolloutGroup, StepRollouts
from medssr.rewards.scoring import FaultKind, RewardResult, failed

NAN = math.nan


def group(number, *results):
    rollouts = [
        Rollout(
            completion([5, 6], text="<script>B</script>\n\u2028", is_truncated=index == 1),
            Choice("B" if index == 0 else None, "tag" if index == 0 else "no_answer"),
            0.5,
            0.5,
            {"label": result},
        )
        for index, result in enumerate(results)
    ]
    return RolloutGroup(toy_question(number), [1, 2, 3], rollouts, "A")


def test_every_completion_of_the_first_groups_has_a_row():
    step = StepRollouts(
        7,
        [
            group(1, RewardResult(1.0), failed(FaultKind.raised, "Traceback")),
            group(2, RewardResult(1.0), RewardResult(0.0)),
        ],
        [[0.75, NAN], [1.0, 0.0]],
        [[0.5, 0.0], [0.5, -0.5]],
    )
    first, second = completion_rows(step, 1, lambda ids: f"prompt of {len(ids)}")
    assert first == {
        "step": 7,
        "question_id": "q1",
        "prompt": "prompt of 3",
        "completion": "<script>B</script>\n\u2028",
        "letter": "B",
        "reason": "tag",
        "label": "A",
        "rewards": {"label": 1.0},
        "faults": {},
        "reward": 0.75,
        "advantage": 0.5,
        "is_truncated": False,
        "num_tokens": 2,
    }
    assert (second["rewards"], second["faults"], second["reward"]) == ({"label": None}, {"label": "raised"}, None)
    assert (second["letter"], second["reason"], second["is_truncated"]) == (None, "no_answer", True)
    assert len(completion_rows(step, 5, str)) == 4


@pytest.fixture
def stage(tmp_path):
    """Trains six steps with a table every second step; the engine answers A, A, A and B."""
    overrides = ["grpo.num_steps=6", "grpo.num_prompts_per_step=3", "grpo.num_generations=4"]
    overrides += ["callbacks.checkpoint.every_num_steps=1", "callbacks.completions.every_num_steps=2"]
    rollout = "support.helpers.LetterEngine"
    return ToyStage(tmp_path, 5, *overrides, "callbacks.completions.num_groups=2", rollout=rollout)


def tables(artifact_dir):
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(artifact_dir.glob("completions/*"))}


@pytest.mark.slow
def test_a_table_every_other_step(stage):
    written = tables(stage("run").directory)
    assert list(written) == ["step_0000000.jsonl", "step_0000002.jsonl", "step_0000004.jsonl"]
    for name, text in written.items():
        rows = [json.loads(line) for line in text.splitlines()]
        assert [row["letter"] for row in rows] == ["A", "A", "A", "B"] * 2
        assert {f"step_{row['step']:07d}.jsonl" for row in rows} == {name}
        assert len({row["question_id"] for row in rows}) == 2
        assert all(row["question_id"][1:] in row["prompt"] for row in rows)
        assert all(row["rewards"] == {"label_match": row["letter"] == row["label"]} for row in rows)


@pytest.mark.slow
def test_a_resumed_run_ends_with_the_same_tables(stage):
    whole = tables(stage("whole").directory)
    with pytest.raises(ConnectionAbortedError):
        stage("stopped", stop_before(3))
    made = stage("stopped")
    assert tables(made.directory) == whole


@pytest.mark.slow
def test_weights_and_biases_gets_a_table_too(tmp_path, monkeypatch):
    """The real logger, without network: its table is a file in the run's folder."""
    import wandb
    from lightning.pytorch.loggers import WandbLogger

    wandb.teardown()  # another test of this process may have left W&B with the address of a server
    monkeypatch.setenv("WANDB_SILENT", "true")
    logger = WandbLogger(save_dir=str(tmp_path), offline=True, project="tables")
    step = StepRollouts(0, [group(1, RewardResult(1.0), RewardResult(0.0))], [[1.0, 0.0]], [[0.5, -0.5]])
    module = type("Module", (), {"last_step": step})()
    module.rollouts = type("Rollouts", (), {"policy": random_policy("qwen3")})()
    trainer = type("Trainer", (), {"is_global_zero": True, "loggers": [logger]})()
    CompletionTable(tmp_path, every_num_steps=1, num_groups=1).on_train_batch_end(trainer, module, None, None, 0)
    logger.experiment.finish()
    (file,) = tmp_path.rglob("*.table.json")
    table = json.loads(file.read_text())
    assert table["columns"][:2] == ["step", "question_id"]
    assert len(table["data"]) == 2
