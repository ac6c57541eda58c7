"""Tests the local generator with two tiny policies: an untrained one, and one that has memorised two replies."""

from __future__ import annotations

import json
from functools import partial

import pytest
import torch
from support.helpers import random_policy, typed

from medssr.commands.synthesize import synthesize
from medssr.engines.hf_engine import HFEngine
from medssr.errors import InputError
from medssr.models.chat import encode_texts, render_chat
from medssr.models.policy import Policy
from medssr.questions import Question, read_questions
from medssr.synthesis.generators import Draft, Rejection
from medssr.synthesis.llm_generators import LocalGenerator
from medssr.synthesis.plan import Draw, SynthesisRequest

pytestmark = pytest.mark.slow

SEED = Question("q", "Which organ?", {"A": "liver", "B": "heart"}, "A", "seeds")
PROMPTS = ["Ask about insulin.", "Ask about the gene."]
REPLIES = [
    '{"question": "Which organ makes insulin?", "options": {"A": "liver", "B": "pancreas"}}',
    '{"question": "Which gene is at fault?", "options": {"A": "GLA", "B": "HBB"}}',
]
LEARNING_RATE = 2e-2
BROKEN = "Which gene is at fault? A. GLA"


def learn_by_heart(policy: Policy, pairs: list[tuple[list[dict[str, str]], str]]) -> None:
    """Trains the policy until it gives each reply to its conversation."""
    prompts = encode_texts([render_chat(messages, policy.tokenizer) for messages, _ in pairs], policy.tokenizer)
    end = policy.tokenizer.eos_token
    answers = policy.tokenizer([reply + end for _, reply in pairs], add_special_tokens=False)["input_ids"]
    rows = [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)]
    targets = [[-100] * len(prompt) + answer for prompt, answer in zip(prompts, answers, strict=True)]
    width = max(map(len, rows))
    # Padded on the right: what comes after a row's end does not reach back.
    input_ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    labels = torch.tensor([row + [-100] * (width - len(row)) for row in targets])
    optimizer = torch.optim.Adam(policy.model.parameters(), lr=LEARNING_RATE)
    policy.model.train()
    for _ in range(200):
        loss = policy.model(input_ids=input_ids, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if loss < 0.005:
            break
    policy.model.eval()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("policies")
    random_policy("qwen3").save(folder / "ignorant")
    learned = random_policy("qwen3")
    conversations = [[{"role": "user", "content": prompt}] for prompt in PROMPTS]
    broken = [{"role": "user", "content": "Ask badly."}]
    problem = 'There is no JSON object with the fields "question" and "options".'
    repair = f"This cannot be read: {problem} Reply with the corrected JSON object and nothing else."
    repaired = [*broken, {"role": "assistant", "content": BROKEN}, {"role": "user", "content": repair}]
    learn_by_heart(learned, [*zip(conversations, REPLIES, strict=True), (broken, BROKEN), (repaired, REPLIES[1])])
    learned.save(folder / "learned")
    return folder


@pytest.fixture
def make(folders, tmp_path):
    def build(name: str, **changes) -> LocalGenerator:
        model = {
            "path": str(folders / name),
            "revision": None,
            "adapter_path": None,
            "dtype": "float32",
            "save_dtype": None,
            "attn_implementation": "sdpa",
            "trust_remote_code": False,
            "gradient_checkpointing": False,
            "recompute_every": 1,
            "compile_layers": False,
            "liger_kernels": False,
            "prompt_path": str(folders / "prompt.txt"),
            "chat_template_kwargs": {},
            "stop": [],
            "stop_without_template": [],
            "max_new_tokens": 64,
            "grpo_lr": 1e-6,
            "grpo_adapter_lr": 1e-5,
            "grpo_beta": 0.001,
        }
        (folders / "prompt.txt").write_text("{question}")
        fields = {
            "model": model,
            "rollout": partial(HFEngine, max_batch_size=8),
            "temperature": 0.05,
            "top_p": 1.0,
            "max_new_tokens": 120,
            "batch_size": 3,
            "ledger_dir": tmp_path,
        }
        return LocalGenerator(**(fields | changes))

    return build


def request(slot: int, prompt: str) -> SynthesisRequest:
    return SynthesisRequest(Draw(slot, 0, 0.5, False, None, 0, (SEED, SEED), rng_seed=slot), (), prompt)


def run(generator: LocalGenerator, prompts: list[str]) -> list:
    return [outcome for _, outcome in generator.generate(request(slot, text) for slot, text in enumerate(prompts))]


def ledger(tmp_path) -> list[dict]:
    return [json.loads(line) for line in (tmp_path / "local.jsonl").read_text().splitlines()]


def test_a_model_that_knows_the_form_writes_questions(make):
    drafts = run(make("learned"), [PROMPTS[0], PROMPTS[1], PROMPTS[0], PROMPTS[0]])
    assert [draft.stem for draft in drafts] == [
        "Which organ makes insulin?",
        "Which gene is at fault?",
        *["Which organ makes insulin?"] * 2,
    ]
    assert all(sorted(draft.options.values()) == ["liver", "pancreas"] for draft in drafts if "insulin" in draft.stem)
    assert (drafts[0].details["model"], drafts[0].details["num_calls"]) == ("learned", 1)
    assert drafts[0].details["completion_tokens"] > 10


def test_a_reply_that_cannot_be_read_is_repaired_once(make, tmp_path):
    outcomes = run(make("learned"), [PROMPTS[0], "Ask badly."])
    assert isinstance(outcomes[1], Draft)
    assert outcomes[1].stem == "Which gene is at fault?"
    assert outcomes[1].details["num_calls"] == 2
    purposes = [line["purpose"] for line in ledger(tmp_path) if line["event"] == "reply"]
    assert purposes == [["synthesis", 0, 0, 0], ["synthesis", 1, 0, 0], ["synthesis", 1, 0, 1]]


def test_what_an_ignorant_model_writes_is_rejected_with_its_reason(make):
    generator = make("ignorant", temperature=1.0, max_new_tokens=20)
    outcomes = run(generator, ["Write a question."] * 7)
    assert {outcome.reason for outcome in outcomes} <= {"unparsable", "truncated", "empty_response"}
    assert len(outcomes) == 7
    assert generator.usage()["num_answers"] >= 7


def test_a_prompt_that_leaves_no_room_is_rejected(make):
    outcomes = run(make("learned"), ["word " * 600, PROMPTS[0]])
    assert isinstance(outcomes[0], Rejection)
    assert (outcomes[0].reason, outcomes[0].is_transient) == ("prompt_too_long", False)
    assert isinstance(outcomes[1], Draft)


def test_what_is_in_the_ledger_is_not_generated_again(make, tmp_path):
    first = run(make("learned"), PROMPTS)
    num_lines = len(ledger(tmp_path))
    assert run(make("learned"), PROMPTS) == first
    assert len(ledger(tmp_path)) == num_lines


def test_other_weights_or_sampling_are_other_calls(make, tmp_path):
    run(make("learned"), PROMPTS[:1])
    run(make("learned", temperature=0.06), PROMPTS[:1])
    run(make("ignorant"), PROMPTS[:1])
    keys = {line["key"] for line in ledger(tmp_path) if line.get("purpose") == ["synthesis", 0, 0, 0]}
    assert len(keys) == 3


def test_outcomes_do_not_depend_on_the_batches(make, tmp_path):
    prompts = [*PROMPTS, "Ask badly.", "Write.", "Write a question."]
    settings = {"temperature": 0.7, "max_new_tokens": 60}
    whole = run(make("learned", batch_size=64, ledger_dir=tmp_path / "a", **settings), prompts)
    assert run(make("learned", batch_size=1, ledger_dir=tmp_path / "b", **settings), prompts) == whole


@pytest.mark.parametrize("changes", [{"temperature": 0}, {"top_p": 1.5}, {"batch_size": 0}])
def test_settings_out_of_range_are_an_error(make, changes):
    with pytest.raises(InputError, match="above 0"):
        make("learned", **changes)


def test_the_command_writes_questions_and_rejections_that_add_up(folders, tmp_path):
    (tmp_path / "template.txt").write_text("{% if entity %}Ask about insulin.{% else %}Ask about the gene.{% endif %}")
    config = typed(
        "synthesize",
        "generator=hf",
        f"generator.model.path={folders}/learned",
        "generator.max_new_tokens=120",
        "generator.temperature=0.05",
        f"paths.root_dir={tmp_path}",
        f"synthesis.prompt_path={tmp_path}/template.txt",
        "synthesis.num_questions=4",
        "synthesis.num_options=2",
        "synthesis.max_draws_per_question=2",
        "extras.progress_bar=false",
    )
    made = synthesize(config)
    counts = made.manifest["counts"]
    (question,) = read_questions(made.path("questions.jsonl"))
    assert (question.stem, question.provenance["generator"]) == ("Which gene is at fault?", "local")
    assert (counts["num_questions"], counts["num_unfilled"]) == (1, 3)
    # Both slots without injection get the same question; those of the other two do not name their diseases.
    assert counts["rejected"] == {"near_duplicate": 2, "entity_absent": 4}
    assert counts["usage"]["num_answers"] == 1 + counts["num_rejected"] == 7
