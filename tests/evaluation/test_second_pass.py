"""The second pass by vLLM servers, with a real HTTP server in place of vLLM's."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field, replace

import pytest
from support.helpers import toy_question, typed
from support.vllm_stand_in import StandIn, running

from medssr.engines.likelihood import continuation_logps, prefixes_to_score
from medssr.engines.sampled_answers import SampledAnswer
from medssr.engines.streaming import Request
from medssr.engines.types import Completion
from medssr.engines.vllm_requests import cropped
from medssr.engines.vllm_server_engine import VLLMServerEngine
from medssr.evaluation.letter_likelihood import letter_tokens, recover
from medssr.evaluation.runner import BenchmarkRunner, Prompter
from medssr.evaluation.second_pass import SecondPass
from medssr.utils.progress import Progress

QUESTIONS = [toy_question(number) for number in range(5)]
PROTOCOL = replace(typed("evaluate").protocol, second_pass=True, num_samples=2, questions_per_chunk=2)


@dataclass
class Scoring(StandIn):
    """Answers every other question readably, and scores tokens by their number."""

    policy: object = None
    bodies: list = field(default_factory=list)

    def answer(self, route, body):
        if "logprob_token_ids" in body:
            self.bodies.append(body)
            scores = {f"token_id:{token}": -float(token) for token in [*body["logprob_token_ids"], 5]}
            return {"choices": [{"index": 0, "token_ids": [5], "logprobs": {"top_logprobs": [scores]}}]}
        answered = super().answer(route, body)
        if route == "/v1/completions":
            text = "The answer is B." if sum(body["prompt"]) % 2 else "I do not know."
            tokenizer = self.policy.tokenizer
            tokens = [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
            for choice in answered["choices"]:
                choice |= {"token_ids": tokens, "logprobs": {"token_logprobs": [-1.0] * len(tokens)}}
        return answered


def test_answers_without_a_letter_cost_one_token_each_with_the_scores_of_their_letters(policy, tmp_path):
    prompter = Prompter("{question}\n", (), policy.tokenizer)
    with running(Scoring(policy=policy)) as server:
        engine = VLLMServerEngine(policy, [server.address], None, 8, 60, None, 1e9, None)
        with closing(engine):
            runner = BenchmarkRunner(policy, engine, PROTOCOL, prompter, 42, Progress("evaluate", None, "answers"))
            rows = list(runner.answers(QUESTIONS, tmp_path, "toy.jsonl"))
    unread = [index for index, row in enumerate(rows) if row[0].letter is None]
    assert 0 < len(unread) < 5
    asked = [QUESTIONS[index] for index in unread]
    contexts = [prompter.text(question) + "I do not know." + PROTOCOL.cue for question in asked]
    expected = []
    for index, prompt, tokens in zip(unread, *letter_tokens(policy, contexts, asked), strict=True):
        logps = {letter: -float(sum(ids)) for letter, ids in tokens.items()}
        assert [item.letter_logps for item in rows[index]] == [logps] * 2
        assert {item.recovered for item in rows[index]} == {max(logps, key=logps.__getitem__)}
        expected += [
            ([*prompt, *prefix], scored) for prefix, scored in prefixes_to_score(list(tokens.values())).items()
        ]
    sent = [(body["prompt"], tuple(body["logprob_token_ids"])) for body in server.bodies]
    assert sorted(sent) == sorted(expected * 2)
    assert {(body["max_tokens"], body["temperature"]) for body in server.bodies} == {(1, 0)}
    assert all(body["logprobs"] == len(body["logprob_token_ids"]) for body in server.bodies)
    assert all(item.recovered is None for row in rows for item in row if item.letter is not None)
    assert [file.name for file in sorted(tmp_path.iterdir())] == ["0000000.jsonl", "0000002.jsonl", "0000004.jsonl"]


def answered(letter, text="I am not sure."):
    return SampledAnswer(text, 4, False, letter, "no_answer" if letter is None else "answer_phrase")


def scored(policy, request: Request) -> Completion:
    """What an engine with the policy's weights answers."""
    (logps,) = continuation_logps(policy, [request.prompt], [[[token] for token in request.scored]])
    return Completion(list(request.scored), logps, "", False)


def test_it_is_the_same_as_by_the_policy(any_policy):
    policy, question = any_policy, QUESTIONS[0]
    answers = [answered("A"), answered(None), answered(None, "Hm.")]
    second = SecondPass(policy, PROTOCOL.cue, first_index=5)
    assert not second.begin(0, question, "Which?\n", [answers[0]])
    assert second.begin(1, question, "Which?\n", answers)
    requests = second.take()
    assert second.take() == []
    assert [request.index for request in requests] == list(range(5, 5 + len(requests)))
    _, (letters,) = letter_tokens(policy, ["Which?\n" + PROTOCOL.cue], [question])
    assert len(requests) == 2 * len(prefixes_to_score(list(letters.values())))
    results = [second.end(request.index, scored(policy, request)) for request in reversed(requests)]
    assert results[:-1] == [None] * (len(requests) - 1)
    index, row = results[-1]
    (expected,) = recover(policy, ["Which?\n"], [question], [answers], PROTOCOL.cue)
    assert index == 1
    assert row[0] == answers[0]
    for item, other in zip(row[1:], expected[1:], strict=True):
        assert (item.text, item.letter, item.recovered) == (other.text, None, other.recovered)
        assert item.letter_logps == pytest.approx(other.letter_logps, abs=1e-4)


def test_a_prompt_that_is_only_scored_loses_its_beginning_where_it_would_not_fit():
    scored = Request(0, [1, 2, 3, 4], [7], scored=(8, 9))
    assert cropped(scored, 4).prompt == [2, 3, 4]  # a token of room for the letter
    assert cropped(scored, 5) == scored
    sampled = Request(0, [1, 2, 3, 4], [7])
    assert cropped(sampled, 4) == sampled
