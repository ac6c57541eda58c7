"""Tests reading and screening of reasoning traces, and their token ids."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.helpers import toy_question, typed

from medssr.errors import InputError
from medssr.models.prompts import render_prompt
from medssr.questions import Question, write_questions
from medssr.training.demonstrations import Demonstration, Encoded, encode_demonstrations
from medssr.training.sft_module import SFTModule
from medssr.training.trace_forms import ChatForm, FieldsForm, join_thinking, split_thinking
from medssr.training.traces import TraceDemonstrations
from medssr.utils.instantiate import instantiate

THINK = ["<think>", "</think>"]
ASKED = "Which organ makes bile?\nA. liver\nB. heart"


def traces(tmp_path, *records, form=None, **settings):
    path = tmp_path / "traces.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    form = form or FieldsForm("prompt", "completion", label="letter")
    fixed = {"tags": THINK, "uses_template": True, "leaves_out_wrong": True, "benchmark_path": None}
    return TraceDemonstrations(path, form, **fixed | settings)


def row(**fields):
    return {
        "prompt": ASKED,
        "completion": "<think>\nBile is hepatic.\n</think>\n\nThe answer is A.",
        "letter": "A",
    } | fields


def test_a_question_with_options_is_asked_as_training_by_rewards_asks_it(tmp_path):
    (found,) = traces(tmp_path, row()).draw(seed=1)
    assert isinstance(found.asked, Question)
    assert (found.asked.stem, found.asked.options) == ("Which organ makes bile?", {"A": "liver", "B": "heart"})
    assert found.completion == "<think>\nBile is hepatic.\n</think>\n\nThe answer is A."


def test_an_open_question_is_asked_as_it_is(tmp_path):
    (found,) = traces(tmp_path, row(prompt="Which organ makes bile?", letter=None)).draw(seed=1)
    assert found.asked == "Which organ makes bile?"


@pytest.mark.parametrize(
    ("form", "record"),
    [
        (
            FieldsForm("q", "a", reasoning="r", options="o", label="l"),
            {"q": "Which organ makes bile?", "o": {"A": "liver", "B": "heart"}, "r": "Hepatic.", "a": "A", "l": "A"},
        ),
        (FieldsForm("q", "a", reasoning="r"), {"q": ASKED, "r": " Hepatic. ", "a": "A\n"}),
        (FieldsForm("q", "a", tags=THINK), {"q": ASKED, "a": "<think>Hepatic.</think> A"}),
        (
            FieldsForm("q", "a", tags=["## Thinking", "## Final Response"]),
            {"q": ASKED, "a": "## Thinking\n\nHepatic.\n\n## Final Response\n\nA"},
        ),
        (
            ChatForm("messages", tags=THINK),
            {
                "messages": [
                    {"role": "system", "content": "Think."},
                    {"role": "user", "content": ASKED},
                    {"role": "assistant", "content": "<think>\nHepatic.\n</think>\nA"},
                ]
            },
        ),
        (
            ChatForm("conversations", tags=THINK),
            {"conversations": [{"from": "human", "value": ASKED}, {"from": "gpt", "value": "Hepatic.</think>A"}]},
        ),
        (
            ChatForm("messages", reasoning="reasoning_content"),
            {
                "messages": [
                    {"role": "user", "content": ASKED},
                    {"role": "assistant", "reasoning_content": "Hepatic.", "content": "A"},
                ]
            },
        ),
    ],
)
def test_every_form_of_the_same_trace_is_the_same_demonstration(tmp_path, form, record):
    (found,) = traces(tmp_path, record, form=form).draw(seed=1)
    assert (found.asked.stem, list(found.asked.options.values())) == ("Which organ makes bile?", ["liver", "heart"])
    assert found.completion == "<think>\nHepatic.\n</think>\n\nA"


def test_what_is_left_out_is_counted_with_the_reason_and_the_rest_stays_in_order(tmp_path):
    benchmark = Question("b7", "Which organ makes bile?", {"A": "liver", "B": "heart"}, "A", "bench")
    write_questions(tmp_path / "bench.jsonl", [benchmark])
    other = "Which vessel leaves the left ventricle?\nA. aorta\nB. vena cava"
    made = traces(
        tmp_path,
        row(prompt=other),
        row(),  # repeats the benchmark
        row(prompt=other, completion="The answer is B."),  # wrong
        row(prompt=other, completion="<think> it goes on"),
        row(prompt=other, completion=" "),
        row(prompt=other, completion="I cannot tell."),
        form=FieldsForm("prompt", "completion", label="letter", tags=THINK),
        benchmark_path=str(tmp_path / "bench.jsonl"),
    )
    kept = made.draw(seed=1)
    assert [each.completion for each in kept] == [row()["completion"], "I cannot tell."]
    assert [(each.number, each.reason) for each in made.left_out] == [
        (2, "in_benchmark"), (3, "wrong_answer"), (4, "unfinished_thinking"), (5, "empty"),
    ]  # fmt: skip
    assert made.left_out[0].detail == "b7 (score 1.00)"
    counts = made.counts()
    assert counts["num_read"] == len(kept) + sum(counts["left_out"].values()) == 6
    assert (counts["num_with_label"], counts["num_without_readable_answer"]) == (4, 1)
    assert counts["num_benchmark_questions"] == 1


def test_wrong_answers_stay_where_they_are_asked_for(tmp_path):
    made = traces(tmp_path, row(completion="The answer is B."), leaves_out_wrong=False)
    assert [each.completion for each in made.draw(seed=1)] == ["The answer is B."]


def test_conversations_of_several_questions_are_left_out(tmp_path):
    turn = [{"role": "user", "content": ASKED}, {"role": "assistant", "content": "A"}]
    made = traces(
        tmp_path, {"messages": turn}, {"messages": turn * 2}, {"messages": turn[:1]}, form=ChatForm("messages")
    )
    assert len(made.draw(seed=1)) == 1
    assert [each.reason for each in made.left_out] == ["several_turns", "empty"]


@pytest.mark.parametrize(
    ("form", "record", "message"),
    [
        (
            FieldsForm("question", "a"),
            {"prompt": "x", "a": "y"},
            'line 1, field "question": is missing; found prompt, a',
        ),
        (FieldsForm("prompt", "a"), {"prompt": "x", "a": 3}, 'field "a": expected a text, found'),
        (ChatForm("messages"), {"messages": "x"}, 'field "messages": .*expected a list of turns'),
        (
            ChatForm("messages"),
            {"messages": [{"role": "tool", "content": "x"}]},
            "the role .*tool.*expected one of user",
        ),
    ],
)
def test_faults_name_file_line_and_field(tmp_path, form, record, message):
    with pytest.raises(InputError, match=message):
        traces(tmp_path, record, form=form).draw(seed=1)


def test_where_nothing_is_left_the_reasons_are_told(tmp_path):
    with pytest.raises(InputError, match=r"none of its 1 traces is left \(\{'wrong_answer': 1\}\)"):
        traces(tmp_path, row(completion="The answer is B.")).draw(seed=1)


def test_a_folder_of_parquet_files_is_read(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(2):
        prompt = ASKED.replace("bile", f"substance {number}")
        pq.write_table(pa.Table.from_pylist([row(prompt=prompt)]), folder / f"train-0000{number}-of-00002.parquet")
    made = TraceDemonstrations(folder, FieldsForm("prompt", "completion"), THINK, True, True, None)
    assert [each.asked.stem[-2] for each in made.draw(seed=1)] == ["0", "1"]


@given(st.text(alphabet="ab \n", min_size=1), st.text(alphabet="ab \n", min_size=1))
def test_splitting_undoes_joining(reasoning, answer):
    reasoning, answer = reasoning.strip(), answer.strip()
    if reasoning and answer:
        assert split_thinking(join_thinking(reasoning, answer, THINK), THINK) == (reasoning, answer)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "record"),
    [
        ("m1", {"prompt": ASKED, "reasoning": "Hepatic.", "distilled_answer_string": "A", "answer_letter": "A"}),
        ("medreason", {"question": ASKED, "reasoning": "Hepatic.", "answer": "A"}),
        ("huatuo_o1", {"Question": ASKED, "Complex_CoT": "Hepatic.", "Response": "A"}),
        ("ii_medical", {"messages": [{"role": "user", "content": ASKED},
                                     {"role": "assistant", "content": "<think>\nHepatic.\n</think>\n\nA"}]}),
    ],
)  # fmt: skip
def test_presets_read_the_fields_that_they_name(tmp_path, preset, record):
    path = tmp_path / "traces.jsonl"
    path.write_text(json.dumps(record) + "\n")
    config = typed("sft", f"demonstrations={preset}", f"demonstrations.path={path}")
    (found,) = instantiate(config.demonstrations, "demonstrations").draw(seed=1)
    assert (found.asked.stem, found.completion) == ("Which organ makes bile?", "<think>\nHepatic.\n</think>\n\nA")


def test_too_long_ones_are_left_out_and_the_rest_are_prompt_and_completion(random_policies):
    policy = random_policies["qwen3"]
    short, long = Demonstration(toy_question(0), "B"), Demonstration(toy_question(1), "B " * 400)
    longest = Demonstration(toy_question(2), "B " * 20_000)  # which is not even tokenised
    encoded = encode_demonstrations(policy, [long, longest, short], 60, "file")
    rows = encoded.samples
    assert encoded.too_long == {0: "840 tokens", 1: "more than 60 tokens"}
    assert encode_demonstrations(policy, [short], None, "file") == Encoded(rows, {})
    assert len(rows) == 1
    prompt, completion = rows[0]
    assert policy.tokenizer.decode(prompt) == render_prompt(short.asked, policy.prompt_template, policy.tokenizer)
    assert completion[:-1] == policy.tokenizer("B", add_special_tokens=False)["input_ids"]
    assert completion[-1] in policy.eos_token_ids
    total = len(prompt) + len(completion)
    assert encode_demonstrations(policy, [short], total, "file") == Encoded(rows, {})
    longer = encode_demonstrations(policy, [short, Demonstration(short.asked, "B B")], total, "file")
    assert longer == Encoded(rows, {1: f"{total + 2} tokens"})  # of this tokenizer, " " and "B"
    with pytest.raises(InputError, match="none of 1 demonstrations"):
        encode_demonstrations(policy, [short], total - 1, "file")


def test_the_loss_is_on_the_answer_s_tokens_only(random_policies):
    """The log-prob of the completion given the prompt: that of both, minus that of the prompt alone."""
    import torch

    policy = random_policies["qwen3"]
    ((prompt, completion),) = encode_demonstrations(
        policy, [Demonstration(toy_question(), "B. heart")], None, "file"
    ).samples
    module = SFTModule(policy, lambda p: torch.optim.SGD(p), lambda o: None, 1000, 1.0, 5)
    with torch.no_grad():
        loss = module._loss([(prompt, completion)])
        logps = policy.model(torch.tensor([prompt + completion])).logits.log_softmax(-1)[0]
    expected = -sum(logps[len(prompt) + place - 1, token] for place, token in enumerate(completion))
    assert torch.allclose(loss, expected, atol=1e-4)
