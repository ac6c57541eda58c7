from __future__ import annotations

import json
import logging
from dataclasses import replace

import pytest
from support.helpers import random_policy, toy_question, typed

from medssr.commands.pseudo_label import pseudo_label
from medssr.errors import InputError
from medssr.questions import read_questions, write_questions

NUM_VOTES = 16
ONE_VALID = "A" + 15 * "-"
# Each with its outcome in the default band, 0.4 to 1, and a least valid share of a half.
PLANNED = {
    16 * "A": "kept",
    ONE_VALID: "few_valid_votes",
    8 * "B" + 8 * "-": "kept",
    7 * "B" + 9 * "-": "few_valid_votes",
    8 * "A" + 8 * "B": "tied",
    6 * "A" + 4 * "B" + 6 * "-": "below_band",
    16 * "-": "no_valid_vote",
}


@pytest.fixture
def label(tmp_path):
    """Labels as many questions as there are plans, each by its planned letters."""
    random_policy("qwen3").save(tmp_path / "model")

    def run(plans, *overrides, path=None):
        if path is None:
            path = tmp_path / "questions.jsonl"
            write_questions(path, [toy_question(number, answer=None) for number in range(len(plans))])
        config = typed(
            "pseudo_label",
            f"paths.root_dir={tmp_path}",
            f"model.path={tmp_path}/model",
            f"data.path={path}",
            "extras.progress_bar=false",
            "extras.num_threads=1",
            f"labeling.num_votes={NUM_VOTES}",
            *overrides,
        )
        rollout = {"_target_": "support.planned_engine.PlannedLetters", "letters": list(plans)}
        return pseudo_label(replace(config, rollout=rollout))

    return run


def votes_of(artifact):
    return [json.loads(line) for line in artifact.path("votes.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_the_outcome_of_each_planned_vote_by_hand(label):
    artifact = label(PLANNED)
    votes = votes_of(artifact)
    assert [vote["outcome"] for vote in votes] == list(PLANNED.values())
    assert [vote["agreement"] for vote in votes] == [1, 1 / 16, 8 / 16, 7 / 16, 8 / 16, 6 / 16, None]
    assert [vote["valid_share"] for vote in votes] == [1, 1 / 16, 8 / 16, 7 / 16, 1, 10 / 16, 0]
    counts = artifact.manifest["counts"]
    assert counts["outcomes"] == {
        "kept": 2,
        "tied": 1,
        "below_band": 1,
        "above_band": 0,
        "few_valid_votes": 2,
        "no_valid_vote": 1,
    }
    assert counts["num_questions"] == len(PLANNED)
    assert counts["valid_share"] == pytest.approx((16 + 1 + 8 + 7 + 16 + 10 + 0) / (7 * 16))
    assert counts["warning"] is None
    assert [question.answer for question in read_questions(artifact.path("questions.jsonl"))] == ["A", "B"]


def test_questions_with_answers_are_selected_by_pass_rate_by_hand(label, tmp_path):
    """All have the answer B; 1 to 15 right answers of 16 are kept, tied or not, and the label stays B."""
    plans = [16 * "B", 15 * "B" + "A", 8 * "A" + 8 * "B", 15 * "A" + "B", 15 * "-" + "B", 16 * "A", 16 * "-"]
    path = tmp_path / "human.jsonl"
    write_questions(path, [toy_question(number, answer="B") for number in range(len(plans))])
    artifact = label(plans, "labeling=pass_rate", f"labeling.num_votes={NUM_VOTES}", path=path)
    rates = [1, 15 / 16, 1 / 2, 1 / 16, 1 / 16, 0, 0]
    assert [vote["pass_rate"] for vote in votes_of(artifact)] == rates
    outcomes = ["above_band", "kept", "kept", "kept", "kept", "below_band", "below_band"]
    assert [vote["outcome"] for vote in votes_of(artifact)] == outcomes
    kept = list(read_questions(artifact.path("questions.jsonl")))
    assert [(question.id, question.answer) for question in kept] == [(f"q{number}", "B") for number in (1, 2, 3, 4)]
    assert [question.provenance["pass_rate"] for question in kept] == rates[1:5]
    assert artifact.manifest["counts"]["outcomes"]["kept"] == 4


@pytest.mark.slow
def test_a_pass_rate_needs_answers_and_is_of_these_alone(label):
    with pytest.raises(InputError, match=r"questions\.jsonl, line 1.*has no label"):
        label([16 * "A"], "labeling=pass_rate")
    with pytest.raises(InputError, match=r"labeling\.uses_answer: true, but labeling\.uses_truth"):
        label([16 * "A"], "labeling=pass_rate", "labeling.uses_truth=true")


@pytest.mark.slow
def test_no_label_rests_on_one_valid_vote_of_sixteen(label, shared_data):
    plans = [16 * "A", ONE_VALID, ONE_VALID, ONE_VALID]
    artifact = label(plans, path=shared_data / "inputs" / "votes40.jsonl")
    assert artifact.manifest["counts"]["num_kept"] == 10
    assert artifact.manifest["counts"]["outcomes"]["few_valid_votes"] == 30
    kept = {question.id for question in read_questions(artifact.path("questions.jsonl"))}
    assert {vote["num_invalid"] for vote in votes_of(artifact) if vote["question_id"] in kept} == {0}


@pytest.mark.slow
def test_a_run_of_unreadable_answers_warns_in_between_and_at_the_end(label, caplog):
    with caplog.at_level(logging.WARNING):
        artifact = label([ONE_VALID] * 4 + [16 * "A"], "labeling.max_new_tokens=13")
    during, summary = [record.getMessage() for record in caplog.records if "HAVE NO LETTER" in record.getMessage()]
    # After three questions of 16 answers.
    assert "45 of 48 (93.8%)" in during
    assert "60 of 80 (75.0%)" in summary
    for message in (during, summary):
        assert message.count('"The patient\\x07 presents with" (truncated)') == 3
        assert "raise labeling.max_new_tokens (now 13)" in message
    assert artifact.manifest["counts"]["warning"] in summary


@pytest.mark.slow
def test_the_summary_of_an_artefact_that_is_used_again_warns_too(label, caplog):
    label([ONE_VALID] * 4 + [16 * "A"])
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        label([ONE_VALID] * 4 + [16 * "A"])
    assert [record.getMessage().count("HAVE NO LETTER") for record in caplog.records] == [1]


@pytest.mark.slow
def test_a_run_without_any_label_says_what_to_change(label):
    with pytest.raises(InputError, match=r"no question of .* got a label (?s:.*)raise labeling\.max_new_tokens"):
        label([ONE_VALID] * 2)
    with pytest.raises(InputError, match=r"Widen the band of agreement"):
        label([8 * "A" + 8 * "B"])
