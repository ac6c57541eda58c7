from collections import Counter
from collections.abc import Sequence

import pytest
from support.helpers import toy_question

from medssr.errors import InputError
from medssr.models.prompts import check_prompts, encode_prompts, longest_prompt, read_prompt_template, render_prompt

TEMPLATE = "Answer.\n{question}\nThink first."
TEXT = "Answer.\nWhich organ is number 0?\nA. liver\nB. heart\nThink first."


@pytest.fixture
def base_tokenizer(policy, monkeypatch):
    """A tokenizer without a chat template, as base models have it."""
    monkeypatch.setattr(policy.tokenizer, "chat_template", None)
    return policy.tokenizer


def test_a_chat_model_gets_a_turn_and_begins_its_own(random_policies):
    assert (
        render_prompt(toy_question(), TEMPLATE, random_policies["qwen3"].tokenizer)
        == f"<|im_start|>user\n{TEXT}<|im_end|>\n<|im_start|>assistant\n"
    )
    assert (
        render_prompt(toy_question(), TEMPLATE, random_policies["llama"].tokenizer)
        == f"<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n{TEXT}<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def test_a_base_model_continues_the_text(base_tokenizer):
    assert render_prompt(toy_question(), TEMPLATE, base_tokenizer) == TEXT + "\n"


def test_a_base_model_continues_the_line_of_a_cue(base_tokenizer):
    assert render_prompt(toy_question(), "{question}\nAnswer:", base_tokenizer).endswith("B. heart\nAnswer:")


def test_stem_and_options_can_stand_apart(base_tokenizer):
    template = "{options}\n\nQuestion: {stem}\nAnswer:"
    expected = "A. liver\nB. heart\n\nQuestion: Which organ is number 0?\nAnswer:"
    assert render_prompt(toy_question(), template, base_tokenizer) == expected


@pytest.mark.parametrize("template", ["{stem}", "{options}", "Which?"])
def test_a_template_shows_the_question_and_its_options(template, tmp_path):
    (tmp_path / "prompt.txt").write_text(template, encoding="utf-8")
    with pytest.raises(InputError, match=r"lacks the placeholder \{question\}, or \{stem\} and \{options\}"):
        read_prompt_template(tmp_path / "prompt.txt")


def test_the_chat_template_alone_writes_control_tokens(any_policy):
    (ids,) = encode_prompts([toy_question()], TEMPLATE, any_policy.tokenizer, 500, "toy.jsonl")
    assert any_policy.tokenizer.decode(ids) == render_prompt(toy_question(), TEMPLATE, any_policy.tokenizer)
    starts = {"<|begin_of_text|>", "<|im_start|>"}
    tokens = any_policy.tokenizer.convert_ids_to_tokens(ids)
    assert tokens[0] in starts
    assert tokens[1] not in starts


def test_a_base_model_s_prompt_has_the_tokens_of_its_text(base_tokenizer):
    (ids,) = encode_prompts([toy_question()], TEMPLATE, base_tokenizer, 500, "toy.jsonl")
    assert base_tokenizer.decode(ids) == TEXT + "\n"


def test_prompts_keep_the_order_of_the_questions(policy):
    together = encode_prompts([toy_question(1), toy_question(2)], TEMPLATE, policy.tokenizer, 500, "toy.jsonl")
    alone = [encode_prompts([toy_question(n)], TEMPLATE, policy.tokenizer, 500, "toy.jsonl")[0] for n in (1, 2)]
    assert together == alone


def test_braces_in_a_question_are_text(policy):
    question = toy_question(provenance={})
    odd = type(question)("odd", "Which {organ} or {question} or {options}?", question.options, "A", "toy")
    assert "Which {organ} or {question} or {options}?" in render_prompt(odd, TEMPLATE, policy.tokenizer)


def test_a_prompt_that_is_too_long_names_the_question_and_its_file(policy):
    questions = [toy_question(1), toy_question(2)]
    (first, _) = encode_prompts(questions, TEMPLATE, policy.tokenizer, 500, "toy.jsonl")
    assert encode_prompts(questions, TEMPLATE, policy.tokenizer, len(first), "toy.jsonl")  # the bound itself fits
    long = type(questions[1])("q2", "Which organ? " * 20, questions[1].options, "A", "toy")
    with pytest.raises(InputError) as caught:
        encode_prompts([questions[0], long], TEMPLATE, policy.tokenizer, len(first), "toy.jsonl")
    for part in ("toy.jsonl", '"q2"', f"at most {len(first)}", "max_new_tokens"):
        assert part in str(caught.value)


def test_the_completion_needs_room_in_the_context(policy):
    assert policy.model.config.max_position_embeddings == 512
    (prompt,) = policy.encode([toy_question()], 100, "toy.jsonl")
    assert policy.encode([toy_question()], 512 - len(prompt), "toy.jsonl") == [prompt]
    with pytest.raises(InputError, match="q0"):
        policy.encode([toy_question()], 513 - len(prompt), "toy.jsonl")


def test_templates_are_read_from_files(tmp_path):
    path = tmp_path / "prompt.txt"
    path.write_text("Sjögren:\n{question}\n\n", encoding="utf-8")
    assert read_prompt_template(path) == "Sjögren:\n{question}"


def test_faults_of_a_template_name_file_and_field(tmp_path):
    path = tmp_path / "prompt.txt"
    with pytest.raises(InputError, match=r'prompt\.txt, field "model\.prompt_path": there is no such'):
        read_prompt_template(path)
    path.write_text("Answer this: question")
    with pytest.raises(InputError, match=r'prompt\.txt, field "model\.prompt_path": lacks .*\{question\}'):
        read_prompt_template(path)


def encoder(counts: Counter, max_tokens: int):
    """A function that encodes prompts of two tokens of a template and one for each word."""

    def encode(batch: Sequence[str]) -> list[list[int]]:
        counts.update(batch)
        prompts = [[0] * (2 + len(text.split())) for text in batch]
        if max(map(len, prompts)) > max_tokens:
            raise InputError("too long")
        return prompts

    return encode


def test_only_prompts_that_may_be_too_long_are_encoded_for_a_check():
    texts = ["some words"] * 5000 + ["four words of text"]
    counts: Counter[str] = Counter()
    check_prompts(texts, encoder(counts, 15), str, 15)
    assert counts == {"some words": 1, "four words of text": 1}  # the first tells what all prompts have
    check_prompts([], encoder(counts, 8), str, 8)
    with pytest.raises(InputError, match="too long"):
        check_prompts(texts, encoder(counts, 5), str, 5)


def test_the_longest_prompt_may_be_a_short_text_with_many_tokens():
    texts = ["averylongword " * 4] * 1500 + ["a b c d e f g"]
    assert longest_prompt(texts, encoder(Counter(), 100)) == 9
    assert longest_prompt([], encoder(Counter(), 100)) == 0


@pytest.mark.slow
@pytest.mark.parametrize("place", [0, 1500, 2999])
def test_a_prompt_that_is_too_long_is_found_wherever_it_stands(policy, place):
    texts = ["word " * 20] * 3000
    texts[place] = "1 2 3 4 5 6 7 8 9 " * 5  # fewer bytes, but more tokens
    too_long = len(encode_prompts([texts[place]], "{question}", policy.tokenizer, 4096, "q.jsonl")[0])
    context = policy.model.config.max_position_embeddings
    policy.check_prompts(texts, context - too_long, "q.jsonl")
    assert policy.longest_prompt(texts, context - too_long, "q.jsonl") == too_long
    for look in (policy.check_prompts, policy.longest_prompt):
        with pytest.raises(InputError, match=rf"has {too_long} tokens; at most {too_long - 1} tokens"):
            look(texts, context - too_long + 1, "q.jsonl")
