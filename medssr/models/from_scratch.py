"""Creates a randomly initialised model and trains its tokenizer; the tiny policies begin with these."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# The control tokens and turn formats of the two families, so that the tiny policies behave like the large models.
CHAT_FORMATS: dict[str, dict[str, str]] = {
    "qwen3": {
        "pad": "<|endoftext|>",
        "eos": "<|im_end|>",
        "others": "<|im_start|>",
        "template": (
            "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
            "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
        ),
    },
    "llama": {
        "pad": "<|end_of_text|>",
        "eos": "<|eot_id|>",
        "others": "<|begin_of_text|> <|start_header_id|> <|end_header_id|>",
        "template": (
            "<|begin_of_text|>{% for message in messages %}<|start_header_id|>{{ message['role'] }}<|end_header_id|>"
            "\n\n{{ message['content'] }}<|eot_id|>{% endfor %}"
            "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
        ),
    },
}

_DELIMITERS = r": (?:yes|no)\.|(?:^|[\n ])[A-Z]\. |[.:?\n]"
# The beginning of a JSON field with the end of the text before it, and the ends of texts and objects.
_JSON_DELIMITERS = r'(?:", |\{)"[A-Za-z]+": (?:\{"[A-Z]": )?"|"\}+|"'


def train_tokenizer(texts: Iterable[str], vocab_size: int, family: str, phrases: Sequence[str] = ()) -> Any:
    """Returns a byte-level BPE tokenizer with the family's control tokens and chat template.

    Merges may span several words ("autosomal recessive"), and an option's letter or verdict ("B. ", ": no.") is one
    token. This makes sequences of the built-in world a third as long; any other text is encoded at least as bytes.

    Args:
        texts: The training texts of the merges.
        vocab_size: Maximum number of entries, control tokens and phrases included.
        family: A key of `CHAT_FORMATS`.
        phrases: Texts that become one token each where they occur as whole words. A single word with non-ASCII letters
            is not allowed, because the decoder breaks it. With phrases, the text between the values of a JSON object
            is also one token.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    chat_format = CHAT_FORMATS[family]
    control_tokens = [chat_format["pad"], chat_format["eos"], *chat_format["others"].split()]
    delimiters = f"{_JSON_DELIMITERS}|{_DELIMITERS}" if phrases else _DELIMITERS
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(delimiters), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(phrases),
        special_tokens=control_tokens,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_pieces_between(texts, phrases), trainer)
    tokenizer.add_tokens([AddedToken(phrase, single_word=True, normalized=False) for phrase in phrases])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=chat_format["pad"],
        eos_token=chat_format["eos"],
        additional_special_tokens=chat_format["others"].split(),
        chat_template=chat_format["template"],
        clean_up_tokenization_spaces=False,
    )


def _pieces_between(texts: Iterable[str], phrases: Sequence[str]) -> Iterable[str]:
    """Returns the pieces of the texts between the phrases, each piece once."""
    if not phrases:
        return texts
    longest_first = sorted(phrases, key=lambda phrase: (-len(phrase), phrase))
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)")
    return dict.fromkeys(piece for text in texts for piece in pattern.split(text))


def new_model(family: str, architecture: Mapping[str, Any], tokenizer: Any) -> Any:
    """Returns a randomly initialised causal language model; `architecture` holds its Hugging Face config fields."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        family,
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        **architecture,
    )
    return AutoModelForCausalLM.from_config(config)
