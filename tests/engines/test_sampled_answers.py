from __future__ import annotations

import json
import random
import threading
from _thread import interrupt_main
from dataclasses import replace

import pytest
from support.helpers import toy_question
from support.vllm_stand_in import StandIn

from medssr.engines.hf_engine import HFEngine
from medssr.engines.sampled_answers import AnswerSampler
from medssr.engines.types import Completion, Sampling
from medssr.errors import InputError

QUESTIONS = [toy_question(number) for number in range(5)]


class CountingEngine(HFEngine):
    """Counts the prompts that it was asked to continue."""

    num_prompts = 0

    def generate(self, prompts, seeds, sampling):
        self.num_prompts += len(prompts)
        return super().generate(prompts, seeds, sampling)


class WritingEngine:
    """Answers every question with given texts."""

    fills_gpu = False

    def __init__(self, *texts: str):
        self._texts = texts

    def generate(self, prompts, seeds, sampling):
        return [[Completion([1, 2], [-1.0, -1.0], text, text.endswith("...")) for text in self._texts] for _ in prompts]


def sampler(policy, engine=None, **changes) -> AnswerSampler:
    values = {
        "policy": policy,
        "engine": engine or CountingEngine(policy, 64),
        "sampling": Sampling(1.0, 8),
        "num_samples": 3,
        "seed": 42,
        "purpose": "votes",
        "questions_per_chunk": 2,
    }
    return AnswerSampler(**(values | changes))


class SeededStandIn(StandIn):
    """Answers with tokens that depend on the prompt and the seed."""

    def answer(self, route, body):
        answered = super().answer(route, body)
        if route == "/v1/completions":
            for choice in answered["choices"]:
                draw = random.Random(f"{body['prompt']} {body['seed'] + choice['index']}")
                choice["token_ids"] = [draw.randrange(20, 200) for _ in range(draw.randrange(1, 8))]
        return answered


def files(directory):
    return {file.name: file.read_bytes() for file in directory.iterdir()}


def texts(answers):
    return [[answer.text for answer in row] for row in answers]


def test_answers_come_in_the_order_of_the_questions(policy, tmp_path):
    answers = list(sampler(policy).sample(QUESTIONS, tmp_path, "toy.jsonl"))
    assert [len(row) for row in answers] == [3] * 5
    alone = list(sampler(policy).sample(QUESTIONS[3:4], tmp_path / "alone", "toy.jsonl"))
    assert alone == answers[3:4]


@pytest.mark.slow
def test_the_size_of_a_chunk_changes_nothing(policy, tmp_path):
    answers = [
        list(sampler(policy, questions_per_chunk=size).sample(QUESTIONS, tmp_path / str(size), "toy.jsonl"))
        for size in (1, 2, 10)
    ]
    assert answers[0] == answers[1] == answers[2]


def test_chunks_that_are_there_are_read_and_not_sampled(policy, tmp_path):
    engine = CountingEngine(policy, 64)
    first = list(sampler(policy, engine).sample(QUESTIONS, tmp_path, "toy.jsonl"))
    assert engine.num_prompts == 5
    assert list(sampler(policy, engine).sample(QUESTIONS, tmp_path, "toy.jsonl")) == first
    assert engine.num_prompts == 5


def test_a_missing_chunk_is_made_again_with_the_same_bytes(policy, tmp_path):
    engine = CountingEngine(policy, 64)
    first = list(sampler(policy, engine).sample(QUESTIONS, tmp_path, "toy.jsonl"))
    chunk = sorted(tmp_path.iterdir())[1]
    before = chunk.read_bytes()
    chunk.unlink()
    assert list(sampler(policy, engine).sample(QUESTIONS, tmp_path, "toy.jsonl")) == first
    assert chunk.read_bytes() == before
    assert engine.num_prompts == 5 + 2


def test_a_chunk_with_answers_to_other_questions_is_refused(policy, tmp_path):
    list(sampler(policy).sample(QUESTIONS, tmp_path, "toy.jsonl"))
    with pytest.raises(InputError, match=r"0000002\.jsonl: holds answers to other questions.*force=true"):
        list(sampler(policy).sample([*QUESTIONS[:2], *QUESTIONS[3:]], tmp_path, "toy.jsonl"))


def test_an_interrupted_run_keeps_its_chunks(policy, tmp_path):
    class Breaking(CountingEngine):
        def generate(self, prompts, seeds, sampling):
            if self.num_prompts == 4:
                raise KeyboardInterrupt
            return super().generate(prompts, seeds, sampling)

    with pytest.raises(KeyboardInterrupt):
        list(sampler(policy, Breaking(policy, 64)).sample(QUESTIONS, tmp_path, "toy.jsonl"))
    assert len(list(tmp_path.iterdir())) == 2
    engine = CountingEngine(policy, 64)
    resumed = list(sampler(policy, engine).sample(QUESTIONS, tmp_path, "toy.jsonl"))
    assert engine.num_prompts == 1
    assert resumed == list(sampler(policy).sample(QUESTIONS, tmp_path / "whole", "toy.jsonl"))


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"seed": 43}, {"purpose": "evaluation"}])
def test_seed_and_purpose_make_other_draws(policy, tmp_path, change):
    base = sampler(policy)
    answers = [
        texts(item.sample(QUESTIONS, tmp_path / str(number), "toy.jsonl"))
        for number, item in enumerate((base, replace(base, **change)))
    ]
    assert answers[0] != answers[1]


@pytest.mark.slow
def test_more_samples_begin_with_the_same_ones(policy, tmp_path):
    few = texts(sampler(policy).sample(QUESTIONS, tmp_path / "few", "toy.jsonl"))
    many = texts(sampler(policy, num_samples=5).sample(QUESTIONS, tmp_path / "many", "toy.jsonl"))
    assert [row[:3] for row in many] == few


def test_each_answer_is_read_and_kept(policy, tmp_path):
    engine = WritingEngine("The answer is B.", "I do not know.", "The answer is ...")
    (answers,) = sampler(policy, engine).sample(QUESTIONS[:1], tmp_path, "toy.jsonl")
    assert [answer.letter for answer in answers] == ["B", None, None]
    assert [answer.is_truncated for answer in answers] == [False, False, True]
    assert [answer.num_tokens for answer in answers] == [2, 2, 2]
    assert all(answer.reason for answer in answers)
    (record,) = [json.loads(line) for line in (tmp_path / "0000000.jsonl").read_text().splitlines()]
    assert record["question_id"] == "q0"
    assert record["answers"][0]["text"] == "The answer is B."


def test_an_over_long_prompt_is_an_error_before_anything_is_sampled(policy, tmp_path):
    engine = CountingEngine(policy, 64)
    long = replace(QUESTIONS[4], stem="Which organ? " * 200)
    with pytest.raises(InputError, match=r"toy\.jsonl.*q4"):
        list(sampler(policy, engine).sample([*QUESTIONS[:4], long], tmp_path, "toy.jsonl"))
    assert engine.num_prompts == 0


def test_cut_off_votes_are_reported(policy, tmp_path, caplog):
    list(sampler(policy, WritingEngine("A...", "B...", "C")).sample(QUESTIONS, tmp_path, "toy.jsonl"))
    (record,) = caplog.records
    assert "votes: 10 of 15 completions (67%)" in record.message
    assert "labeling.max_new_tokens" in record.message
    caplog.clear()
    list(sampler(policy, WritingEngine("A...", "B", "C")).sample(QUESTIONS, tmp_path / "b", "toy.jsonl"))
    assert not caplog.records


def with_a_flipped_bit(line, before):
    """Returns a line in which a bit of the digit after a text is flipped."""
    position = line.index(before) + len(before)
    return line[:position] + bytes([line[position] ^ 1]) + line[position + 1 :]


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage",
    [
        lambda lines: b"",
        lambda lines: lines[0],  # cut at a line
        lambda lines: lines[0] + lines[1][:20],
        lambda lines: lines[0] + b"[1]\n",
        lambda lines: lines[0] + b'{"question_id": "q1"}\n',
        lambda lines: lines[0] + b'{"question_id": "q1", "answers": [{"words": 1}]}\n',
        lambda lines: lines[0] + b"\xff\n",
        lambda lines: lines[0] + with_a_flipped_bit(lines[1], b'"num_tokens": '),
        lambda lines: lines[0] + with_a_flipped_bit(lines[1], b'"crc32": '),
        lambda lines: lines[0] + with_a_flipped_bit(lines[1], b'"crc'),
    ],
)
def test_the_questions_of_a_damaged_chunk_are_answered_again(policy, tmp_path, caplog, damage):
    first = texts(sampler(policy).sample(QUESTIONS, tmp_path, "toy.jsonl"))
    chunk = tmp_path / "0000000.jsonl"
    content = chunk.read_bytes()
    chunk.write_bytes(damage(content.splitlines(keepends=True)))
    engine = CountingEngine(policy, 64)
    assert texts(sampler(policy, engine).sample(QUESTIONS, tmp_path, "toy.jsonl")) == first
    assert engine.num_prompts == 2
    assert chunk.read_bytes() == content
    assert "answered again" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("number", [2, 4])
def test_files_do_not_depend_on_the_number_of_servers(policy, tmp_path, make_engine, stand_ins, number):
    servers = stand_ins(number, SeededStandIn)
    answers = {}
    for name, some in (("one", servers[:1]), ("all", servers)):
        engine = make_engine(some, "rollout.max_concurrency=3")
        answers[name] = list(sampler(policy, engine).sample(QUESTIONS, tmp_path / name, "toy.jsonl"))
    assert answers["one"] == answers["all"]
    assert files(tmp_path / "one") == files(tmp_path / "all")
    assert len(files(tmp_path / "all")) == 3


@pytest.mark.slow
def test_a_slow_answer_holds_up_neither_other_chunks_nor_their_files(policy, tmp_path, make_engine, stand_ins):
    """The first question is answered when the chunks of all others have been written, or after the run was ended."""
    (whole,) = stand_ins(1, SeededStandIn)
    expected = list(sampler(policy, make_engine([whole])).sample(QUESTIONS, tmp_path / "whole", "toy.jsonl"))

    servers = stand_ins(2, SeededStandIn)
    engine = make_engine(servers, "rollout.max_concurrency=3")
    engine.generate([[5]], [[1, 2, 3]], Sampling(1.0, 8))  # connects
    first, may_answer = tuple(policy.encode(QUESTIONS[:1], 8, "toy.jsonl")[0]), threading.Event()
    for server in servers:
        server.before_answer = lambda server=server: server.asked[first] and may_answer.wait(60)
    interrupted = sampler(policy, engine, purpose="votes").sample(QUESTIONS, tmp_path / "folder", "toy.jsonl")
    thread = threading.Thread(target=lambda: wait_for_files(tmp_path / "folder", 2) or interrupt_main())
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        next(interrupted)
    thread.join(60)
    assert set(files(tmp_path / "folder")) == {"0000002.jsonl", "0000004.jsonl"}
    may_answer.set()

    for server in servers:
        server.asked.clear()
    resumed = list(sampler(policy, engine).sample(QUESTIONS, tmp_path / "folder", "toy.jsonl"))
    assert sum(server.num_asked(policy.encode(QUESTIONS, 8, "toy.jsonl")) for server in servers) == 2
    assert resumed == expected
    assert files(tmp_path / "folder") == files(tmp_path / "whole")


def wait_for_files(folder, number):
    """Returns once a folder has so many chunks; raises TimeoutError after a minute."""
    for _ in range(6000):
        if folder.is_dir() and len(list(folder.glob("*.jsonl"))) == number:
            return
        threading.Event().wait(0.01)
    raise TimeoutError


def test_gaps_between_chunks_are_filled(policy, tmp_path):
    engine = CountingEngine(policy, 64)
    first = list(sampler(policy, engine, questions_per_chunk=1).sample(QUESTIONS, tmp_path, "toy.jsonl"))
    before = files(tmp_path)
    for gap in ("0000001.jsonl", "0000003.jsonl"):
        (tmp_path / gap).unlink()
    assert list(sampler(policy, engine, questions_per_chunk=1).sample(QUESTIONS, tmp_path, "toy.jsonl")) == first
    assert files(tmp_path) == before
    assert engine.num_prompts == 5 + 2
