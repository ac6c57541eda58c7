"""Hints that a larger model writes: what it is asked, which answers are hints, and that it is asked once."""

from __future__ import annotations

import pytest
from support.chat_server import CLIENT_FIELDS, KEY, ServerReply, running_server
from support.helpers import random_policy, toy_question
from support.toy_stage import ToyStage, column
from support.trainers import finish, start, trainers

from medssr.errors import InputError
from medssr.grpo.teacher_hints import TeacherHints, hint_prompt, outcome_of_hint
from medssr.manifests import read_artifact
from medssr.questions import write_questions
from medssr.resources import RESOURCES

PROMPT_PATH = RESOURCES / "prompts" / "hint_v1.txt"


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("TEST_API_KEY", KEY)
    with running_server() as server:
        yield server


def teacher(server, folder, **changes):
    fields = {"num_completions": 2, "max_characters": 12, "prompt_path": PROMPT_PATH, "ledger_dir": folder}
    return TeacherHints(**CLIENT_FIELDS | fields | {"base_url": server.url} | changes)


def test_the_teacher_sees_the_question_and_its_answer():
    question = toy_question(1, answer="B")
    prompt = hint_prompt(PROMPT_PATH.read_text(encoding="utf-8"), question)
    assert question.stem in prompt
    assert f"The right answer is B: {question.options['B']}" in prompt


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("It pumps the blood.", "hint"),
        ("Not the heartburn of before.", "hint"),
        ("The HEART, which pumps.", "names the answer"),
        ("Think of the heart", "names the answer"),
        ("", "empty"),
    ],
)
def test_a_hint_does_not_have_the_words_of_the_right_option(text, outcome):
    question = toy_question(1, answer="B")
    assert question.options["B"] == "heart"
    assert outcome_of_hint(text, question) == outcome


def test_each_labelled_question_is_asked_once_and_its_hint_is_cut(server, tmp_path):
    def answer(prompt, _):
        if "number 3" in prompt:
            return ServerReply("It is the heart.")
        return ServerReply("<think>The heart?</think>\nIt pumps and pumps.")

    server.answer = answer
    questions = [
        toy_question(1, answer="B"),
        toy_question(2, answer=None),
        toy_question(3, answer="B"),
    ]
    hints = teacher(server, tmp_path).hints(questions)
    assert hints.texts == {"q1": "It pumps and", "q1/permuted": "It pumps and"}
    assert hints.num_completions == 2
    assert len(server.calls) == 2

    assert teacher(server, tmp_path).hints(questions) == hints
    assert len(server.calls) == 2  # the ledger has the answers


def test_a_teacher_that_names_every_answer_ends_the_run(server, tmp_path):
    server.answer = lambda prompt, _: ServerReply("It is the heart.")
    questions = [toy_question(number, answer="B") for number in range(60)]
    with pytest.raises(InputError, match="names the answer"):
        teacher(server, tmp_path).hints(questions)
    assert len(server.calls) < 60


@pytest.mark.parametrize("field", ["num_completions", "max_characters"])
def test_a_number_below_one_is_refused(server, tmp_path, field):
    with pytest.raises(InputError, match=rf"grpo\.hints\.{field}: 0; at least 1"):
        teacher(server, tmp_path, **{field: 0})


@pytest.mark.slow
def test_a_stage_asks_the_teacher_before_it_trains(server, tmp_path):
    server.answer = lambda prompt, _: ServerReply("Think of what the others are not.")
    stage = ToyStage(
        tmp_path,
        2,
        *("grpo.num_steps=1", "grpo.num_prompts_per_step=2", "grpo.num_generations=4", "grpo.max_new_tokens=8"),
        *("grpo/hints=teacher", "grpo.hints.model=tiny", f"grpo.hints.base_url={server.url}"),
        *("grpo.hints.api_key_env=TEST_API_KEY", f"grpo.hints.ledger_dir={tmp_path}"),
        rollout="medssr.engines.hf_engine.HFEngine",
    )
    made = stage("hinted", max_batch_size=16)
    assert len(server.calls) == 2
    plain = stage("plain", "grpo.hints=null", max_batch_size=16)
    # A random policy is never right: each question was asked twice more, with the hint.
    assert column(made, "train/num_tokens")[0] > column(plain, "train/num_tokens")[0]
    stage("again", max_batch_size=16)
    assert len(server.calls) == 2


@pytest.mark.slow
def test_of_two_trainers_the_first_asks_and_both_train_on_its_hints(server, tmp_path):
    server.answer = lambda prompt, _: ServerReply("Think of what the others are not.")
    random_policy("qwen3").save(tmp_path / "model")
    write_questions(tmp_path / "questions.jsonl", [toy_question(number, answer="B") for number in range(2)])
    overrides = [
        *(f"model.path={tmp_path}/model", f"data.path={tmp_path}/questions.jsonl"),
        *("rollout._target_=support.helpers.LetterEngine", "~rollout.max_batch_size"),
        *("grpo.num_steps=2", "grpo.num_prompts_per_step=2", "grpo.num_generations=4", "grpo.max_new_tokens=8"),
        *("grpo/hints=teacher", "grpo.hints.model=tiny", f"grpo.hints.base_url={server.url}"),
        "grpo.hints.api_key_env=TEST_API_KEY",
    ]
    tokens, rewards = [], []
    for strategy in (None, "ddp"):
        folder = tmp_path / str(strategy)
        num_before = len(server.calls)
        folder_of_made = finish(start("train", *overrides, *trainers(strategy), folder=folder))
        assert len(server.calls) - num_before == 2
        made = read_artifact(folder_of_made)
        tokens.append(column(made, "train/num_tokens"))
        rewards.append(column(made, "train/reward"))
    assert tokens[0] == tokens[1]
    assert rewards[1] == pytest.approx(rewards[0])
