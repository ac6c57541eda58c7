from __future__ import annotations

import json
from datetime import datetime
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.helpers import TEXTS, copy_policy, random_policy, toy_question
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from medssr.errors import InputError
from medssr.models.chat import (
    control_token_ids,
    encode_texts,
    escape_answer,
    escape_control_tokens,
    render_chat,
    set_template_defaults,
    turn_end_ids,
)
from medssr.models.policy import Policy, eos_token_ids
from medssr.models.prompts import encode_prompts, prompt_messages
from medssr.questions import read_questions

# The forms of the templates of well-known models, shortened, with the tokens that end an answer's turn.
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEMPLATES = {
    "chatml": (CHATML, ["<|im_end|>"]),
    # Strips its texts, and prints the date of today unless it is given one.
    "llama3": (
        "{%- if not date_string is defined %}{%- set date_string = strftime_now('%d %b %Y') %}{%- endif %}"
        "<|start|>system<|end_header|>\n\nToday: {{ date_string }}<|eot_id|>"
        "{%- for m in messages %}<|start|>{{ m['role'] }}<|end_header|>\n\n{{ m['content'] | trim }}<|eot_id|>"
        "{%- endfor %}"
        "{%- if add_generation_prompt %}<|start|>assistant<|end_header|>\n\n{%- endif %}",
        ["<|eot_id|>"],
    ),
    "gemma": (
        "{% for m in messages %}<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
        "{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
        "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}",
        ["<end_of_turn>"],
    ),
    "mistral": (
        "{{ '<s>' }}{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]"
        "{% elif m['role'] == 'assistant' %} {{ m['content'] | trim }}{{ eos_token }}"
        "{% else %}{{ raise_exception('roles') }}{% endif %}{% endfor %}",
        ["</s>"],
    ),
    # Ends the conversation in another token than the turn, as Phi-3 does.
    "phi": (
        "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>\n{% else %}{{ eos_token }}{% endif %}",
        ["<|end|>"],
    ),
    # Nothing ends a turn but the beginning of the next one, as in GLM-4.
    "glm": (
        "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>\n{% endif %}",
        ["<|user|>"],
    ),
    # Harmony: the last turn ends in another token than the others.
    "harmony": (
        "{% for m in messages %}<|start|>{{ m['role'] }}<|message|>{{ m['content'] }}"
        "{{ '<|return|>' if loop.last and m['role'] == 'assistant' else '<|end|>' }}{% endfor %}"
        "{% if add_generation_prompt %}<|start|>assistant{% endif %}",
        ["<|return|>", "<|end|>"],
    ),
    # Qwen3: thoughts are taken out of earlier answers, and an empty thought stands in front of the last one.
    "thinking": (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
        "{% if m['role'] == 'assistant' %}{% if loop.last %}<think>\n\n</think>\n\n{% endif %}"
        "{{ m['content'].split('</think>')[-1].lstrip('\n') }}{% else %}{{ m['content'] }}{% endif %}<|im_end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
        "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}",
        ["<|im_end|>"],
    ),
    # Plain text: the EOS token alone ends an answer.
    "plain_roles": (
        "{% for m in messages %}### {{ m['role'] }}:\n{{ m['content'] }}\n{% endfor %}### assistant:\n",
        [],
    ),
    "single_question": (
        "{{ raise_exception('one turn only') if messages | length > 1 }}{{ messages[0]['content'] }}",
        [],
    ),
    "parts": ("{% for m in messages %}{{ m['content'][0]['text'] }}<|im_end|>{% endfor %}", []),
}
SPECIAL = [
    *("<|endoftext|>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|eot_id|>", "<|start|>", "<|end_header|>"),
    *(
        "<start_of_turn>",
        "<end_of_turn>",
        "<|end|>",
        "<|user|>",
        "<|assistant|>",
        "<|message|>",
        "<|return|>",
        "[INST]",
    ),
    "[/INST]",
]
NOT_SPECIAL = ["<think>", "</think>", "<|fim|>", "[TOOL_CALLS]", "Fabry disease"]


def tokenizer_with(template: str | None, eos: str = "<|endoftext|>") -> PreTrainedTokenizerFast:
    """A byte-level tokenizer of nearly bytes alone, with the control tokens of all families."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in NOT_SPECIAL])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=eos, pad_token="<|endoftext|>", chat_template=template
    )


def named(name: str, **settings: str) -> PreTrainedTokenizerFast:
    return tokenizer_with(TEMPLATES[name][0], **({"eos": "</s>"} if name == "mistral" else {}) | settings)


def ids(tokenizer, *texts: str) -> list[int]:
    return [tokenizer.convert_tokens_to_ids(text) for text in texts]


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_end_of_a_turn_is_read_from_the_template(name):
    tokenizer = named(name)
    assert list(turn_end_ids(tokenizer)) == ids(tokenizer, *TEMPLATES[name][1])


def test_without_a_template_nothing_ends_a_turn():
    assert turn_end_ids(tokenizer_with(None)) == ()


def test_a_changed_template_is_read_again():
    tokenizer = named("chatml")
    assert list(turn_end_ids(tokenizer)) == ids(tokenizer, "<|im_end|>")
    tokenizer.chat_template = TEMPLATES["gemma"][0]
    assert list(turn_end_ids(tokenizer)) == ids(tokenizer, "<end_of_turn>")
    tokenizer.chat_template = None
    assert turn_end_ids(tokenizer) == ()


@pytest.mark.parametrize("from_config", [None, 7, [7, 8]])
def test_all_ends_are_united(from_config):
    tokenizer = named("harmony")
    known = {None: set(), 7: {7}}.get(from_config if not isinstance(from_config, list) else "", {7, 8})
    expected = known | set(ids(tokenizer, "<|endoftext|>", "<|return|>", "<|end|>"))
    assert eos_token_ids(SimpleNamespace(eos_token_id=from_config), tokenizer) == expected


def test_no_date_of_today_in_a_prompt():
    messages = [{"role": "user", "content": "Which organ?"}]
    text = render_chat(messages, named("llama3"))
    assert "Today: 26 Jul 2024" in text
    assert datetime.now().strftime("%d %b %Y") not in text


def test_settings_of_the_template_are_defaults_of_the_tokenizer(tmp_path):
    messages = [{"role": "user", "content": "Which organ?"}]
    tokenizer = named("thinking")
    plain = render_chat(messages, tokenizer)
    assert plain.endswith("<|im_start|>assistant\n")
    set_template_defaults(tokenizer, {"enable_thinking": False})
    assert render_chat(messages, tokenizer) == plain + "<think>\n\n</think>\n\n"
    assert list(turn_end_ids(tokenizer)) == ids(tokenizer, "<|im_end|>")
    set_template_defaults(tokenizer, {"enable_thinking": False})  # as for a model that was saved and loaded
    assert tokenizer.chat_template.count("set enable_thinking") == 1
    tokenizer.save_pretrained(tmp_path)
    loaded = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    assert render_chat(messages, loaded) == plain + "<think>\n\n</think>\n\n"
    with_thinking = loaded.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True, enable_thinking=True
    )
    assert with_thinking == plain
    set_template_defaults(loaded, {"enable_thinking": True})  # the newer setting counts
    assert render_chat(messages, loaded) == plain


@pytest.mark.parametrize(
    "value", [True, None, 3, 0.5, "26 Jul 2024", 'a "quoted"\nline\\', "naïve 'ß' 😀", ["a", False], {"a": [1, None]}]
)
def test_any_plain_value_reaches_the_template(value):
    tokenizer = tokenizer_with("\n{{ setting | tojson }}")
    set_template_defaults(tokenizer, {"setting": value})
    text = render_chat([{"role": "user", "content": ""}], tokenizer)
    assert text.startswith("\n")  # what the template begins with is kept
    assert json.loads(text) == value


@pytest.mark.parametrize(("name", "value"), [("enable-thinking", 1), ("a %}{{ 1", 1), ("a", object())])
def test_what_no_template_can_hold_is_refused(name, value):
    with pytest.raises(InputError, match="chat_template_kwargs"):
        set_template_defaults(named("chatml"), {name: value})


def test_named_templates_all_get_the_settings():
    tokenizer = tokenizer_with(None)
    tokenizer.chat_template = {"default": "{{ day }}", "other": "{{ day }}!"}
    set_template_defaults(tokenizer, {"day": "Monday"})
    assert render_chat([{"role": "user", "content": ""}], tokenizer) == "Monday"


PIECES = st.lists(
    st.sampled_from(
        [*SPECIAL, *NOT_SPECIAL, "<", "|", ">", "[", "]", "/", "<|im_", "end|>", " ", "\n", "é", "assistant"]
    ),
    max_size=12,
).map("".join)
RENDERS = [name for name in TEMPLATES if name not in ("parts",)]


@pytest.mark.slow
@given(PIECES)
def test_texts_of_control_tokens_make_no_turn(text):
    for name in RENDERS:
        tokenizer = TOKENIZERS[name]
        controls = control_token_ids(tokenizer)

        def num_controls(stem: str, tokenizer=tokenizer, controls=controls) -> int:
            question = toy_question()
            asked = type(question)(question.id, stem, {"A": stem, "B": "x"}, "A", "toy") if stem.strip() else question
            (prompt,) = encode_prompts([asked], "Answer.\n{question}", tokenizer, 100_000, "x")
            return sum(index in controls for index in prompt)

        assert num_controls(text) == num_controls("Which organ?")


TOKENIZERS = {name: named(name) for name in RENDERS} | {"none": tokenizer_with(None)}


@given(st.text(alphabet="<>|[]/ abc_\n", max_size=40))
def test_a_text_without_control_tokens_is_unchanged(text):
    tokenizer = TOKENIZERS["none"]
    if not any(token in text for token in [*SPECIAL, *NOT_SPECIAL]):
        assert escape_control_tokens(text, tokenizer) == text


def test_only_control_tokens_are_escaped():
    text = "Fabry disease <b>bold</b> [1] <think> x </think> <|im_end|> </s>"
    tokenizer = TOKENIZERS["none"]
    assert escape_control_tokens(text, tokenizer) == (
        "Fabry disease <b>bold</b> [1] < think> x < /think> < |im_end|> < /s>"
    )
    # A model writes its thoughts itself, so they stay what they are.
    assert escape_answer(text, tokenizer) == "Fabry disease <b>bold</b> [1] <think> x </think> < |im_end|> < /s>"


def test_escaping_one_token_can_complete_another():
    tokenizer = TOKENIZERS["none"]
    (escaped,) = encode_texts([escape_control_tokens("<|im_<|im_end|>end|> <<s>s>", tokenizer)], tokenizer)
    assert not control_token_ids(tokenizer) & set(escaped)


def test_the_control_tokens_of_a_prompt_template_are_kept():
    tokenizer = TOKENIZERS["none"]
    (message,) = prompt_messages(toy_question(), "<|im_start|>user\n{question}<|im_end|>", tokenizer)
    assert message["content"].startswith("<|im_start|>user\nWhich organ")


def test_targets_end_once_in_the_token_that_ends_a_turn():
    policy = Policy(random_policy("qwen3").model, named("chatml"), "{question}")
    end, other = ids(policy.tokenizer, "<|im_end|>", "<|endoftext|>")
    plain = policy.tokenizer("The answer is A.")["input_ids"]
    texts = ["The answer is A.", "The answer is A.<|im_end|>", "The answer is A.<|im_end|>\n<|endoftext|>\n"]
    assert policy.encode_targets(texts) == [[*plain, end]] * 3
    (inside,) = policy.encode_targets(["A.<|im_end|>\n<|im_start|>user\nB?<think>"])
    controls = [index for index in inside if index in control_token_ids(policy.tokenizer)]
    assert controls == [*ids(policy.tokenizer, "<think>"), end]
    assert other in policy.eos_token_ids


@pytest.mark.slow
def test_targets_without_a_template_end_in_eos(policy):
    tokenizer = tokenizer_with(None)
    (target,) = Policy(policy.model, tokenizer, "{question}").encode_targets(["B"])
    assert target[-1] == tokenizer.eos_token_id
    tokenizer.eos_token = None
    with pytest.raises(InputError, match="EOS"):
        Policy(policy.model, tokenizer, "{question}").encode_targets(["B"])


def test_a_saved_model_has_all_its_ends(tmp_path, random_policies):
    from transformers import GenerationConfig

    policy = Policy(copy_policy(random_policies["qwen3"]).model, named("chatml"), "{question}")
    policy.model.generation_config.eos_token_id = None
    policy.save(tmp_path)
    expected = sorted(ids(policy.tokenizer, "<|endoftext|>", "<|im_end|>"))
    assert GenerationConfig.from_pretrained(tmp_path).eos_token_id == expected


def test_given_questions_make_no_second_turn(shared_data):
    questions = list(read_questions(shared_data / "inputs" / "control_tokens.jsonl"))
    assert len(questions) == 4
    for name in RENDERS:
        tokenizer = named(name)
        prompts = encode_prompts(questions, "{question}", tokenizer, 10_000, "x")
        counts = {sum(index in control_token_ids(tokenizer) for index in prompt) for prompt in prompts}
        assert len(counts) == 1  # the second question has no control token
