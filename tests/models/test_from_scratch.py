import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.helpers import ARCHITECTURE, TEXTS, random_policy

from medssr.models.from_scratch import CHAT_FORMATS, train_tokenizer

FAMILIES = pytest.mark.parametrize("family", ["qwen3", "llama"])
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
MESSAGES = [
    {"role": "user", "content": "Which organ?"},
    {"role": "assistant", "content": "The liver."},
    {"role": "user", "content": "Sure?"},
]


@pytest.mark.slow
@FAMILIES
@given(text=TEXT)
def test_any_text_survives_the_tokenizer(random_policies, family, text):
    tokenizer = random_policies[family].tokenizer
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


@FAMILIES
@pytest.mark.parametrize(
    "text", [*TEXTS, " leading", "a  b", "x.\n\ny: no. B. ", "Sjögren ≥ 5 µg — 甲状腺 🫀", "\t\r\n", ""]
)
def test_chosen_texts_survive_the_tokenizer(random_policies, family, text):
    tokenizer = random_policies[family].tokenizer
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


@FAMILIES
def test_control_tokens_are_one_token_each(random_policies, family):
    tokenizer = random_policies[family].tokenizer
    names = [CHAT_FORMATS[family]["pad"], CHAT_FORMATS[family]["eos"], *CHAT_FORMATS[family]["others"].split()]
    for name in names:
        (token,) = tokenizer(name)["input_ids"]
        assert token in tokenizer.all_special_ids
        assert tokenizer.decode([token], skip_special_tokens=True) == ""
    assert tokenizer.pad_token_id != tokenizer.eos_token_id


def test_qwen3_turns_are_those_of_the_family(random_policies):
    tokenizer = random_policies["qwen3"].tokenizer
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.pad_token == "<|endoftext|>"
    assert tokenizer.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True) == (
        "<|im_start|>user\nWhich organ?<|im_end|>\n<|im_start|>assistant\nThe liver.<|im_end|>\n"
        "<|im_start|>user\nSure?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_llama_turns_are_those_of_the_family(random_policies):
    tokenizer = random_policies["llama"].tokenizer
    assert tokenizer.eos_token == "<|eot_id|>"
    assert tokenizer.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True) == (
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nWhich organ?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nThe liver.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nSure?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
    )


@FAMILIES
def test_without_a_generation_prompt_the_text_ends_with_the_last_turn(random_policies, family):
    tokenizer = random_policies[family].tokenizer
    text = tokenizer.apply_chat_template(MESSAGES, tokenize=False)
    assert text.rstrip().endswith("Sure?" + tokenizer.eos_token)


@FAMILIES
def test_a_vocabulary_of_every_byte_and_no_more_than_was_asked_for(family):
    tokenizer = train_tokenizer(TEXTS, 300, family)
    assert 256 < len(tokenizer) <= 300
    assert len(train_tokenizer(["A. liver: no."], 4096, family)) < 4096


@FAMILIES
def test_the_same_texts_make_the_same_tokenizer(family):
    first, second = (train_tokenizer(TEXTS, 320, family) for _ in range(2))
    assert first.get_vocab() == second.get_vocab()
    assert first.backend_tokenizer.to_str() == second.backend_tokenizer.to_str()


@FAMILIES
def test_the_model_has_the_family_s_architecture_and_the_tokenizer_s_tokens(random_policies, family):
    policy = random_policies[family]
    assert policy.model.config.model_type == family
    assert policy.model.config.vocab_size == len(policy.tokenizer)
    assert policy.model.config.hidden_size == ARCHITECTURE["hidden_size"]
    assert policy.model.config.eos_token_id == policy.tokenizer.eos_token_id
    assert policy.model.config.pad_token_id == policy.tokenizer.pad_token_id
    assert policy.eos_token_ids == {policy.tokenizer.eos_token_id}


@FAMILIES
def test_weights_of_input_and_output_are_tied(random_policies, family):
    model = random_policies[family].model
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_weights_follow_from_the_seed():
    first, second, third = (random_policy("qwen3", seed).model.state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], third[name]) for name in first)


PHRASES = ["Sjögren syndrome", "Fabry disease", "GLA", "Fabry", "24 to 48 hours"]


def phrase_tokenizer():
    reply = '{"question": "Which gene is mutated in Fabry disease?", "options": {"A": "GLA", "B": "Sjögren syndrome"}}'
    return train_tokenizer([reply, "The gene of Fabry disease is GLA."], 400, "qwen3", PHRASES)


@pytest.mark.slow
@pytest.mark.parametrize("frame", ["{}", "in {}?", '"A": "{}", "B"', "{} is {}.", "a\n{}\nb"])
@pytest.mark.parametrize("phrase", PHRASES)
def test_a_phrase_is_the_same_token_wherever_it_stands(frame, phrase):
    tokenizer = phrase_tokenizer()
    (token,) = tokenizer(phrase)["input_ids"]
    text = frame.replace("{}", phrase)
    token_ids = tokenizer(text)["input_ids"]
    assert token_ids.count(token) == frame.count("{}")
    assert tokenizer.decode(token_ids) == text


def test_within_a_word_there_is_no_phrase():
    tokenizer = phrase_tokenizer()
    (token,) = tokenizer("GLA")["input_ids"]
    assert token not in tokenizer("GLAD")["input_ids"] + tokenizer("aGLA")["input_ids"]


def test_between_the_values_of_json_stands_one_token():
    tokenizer = phrase_tokenizer()
    tokens = [tokenizer.decode([token]) for token in tokenizer('GLA", "B": "Fabry"}}')["input_ids"]]
    assert tokens == ["GLA", '", "B": "', "Fabry", '"}}']


def test_phrases_count_among_the_entries():
    assert len(phrase_tokenizer()) <= 400
