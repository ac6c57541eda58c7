"""The policy: a causal language model with tokenizer and prompt template; loads it, encodes prompts, saves it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medssr.config import Dtype, LoRAConfig, ModelConfig
from medssr.errors import InputError
from medssr.models.chat import escape_answer, has_more_tokens, set_template_defaults, turn_end_ids
from medssr.models.kernels import use_kernels
from medssr.models.loading import check_folder, empty_model, load_model, pretrained, stored_dtype, torch_dtype
from medssr.models.lora import (
    SETTINGS_FILE,
    add_adapters,
    attach_adapters,
    check_continued,
    has_adapters,
    kept_share,
    load_adapters,
    merged_weights,
    save_adapters,
)
from medssr.models.prompts import (
    PromptInput,
    check_prompts,
    encode_prompts,
    input_text,
    longest_prompt,
    read_prompt_template,
)
from medssr.models.sharding import is_sharded
from medssr.utils.files import sync_folder
from medssr.utils.processes import is_main_process

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

# Of one file of weights, as models on the hub have it.
_MAX_FILE_SIZE = "5GB"
# The folder of the adapters within that of the merged model.
_ADAPTER_FOLDER = "adapter"


@dataclass(frozen=True, slots=True)
class Policy:
    """A model with its tokenizer and prompt template.

    Attributes:
        model: The causal language model.
        tokenizer: Its tokenizer, which has a chat template or not.
        prompt_template: The text of the prompt template.
        stop: Strings that end a completion where they occur in it.
        dtype: The dtype that engines sample in, although trained weights are float32; None for the model's.
        save_dtype: The number format of saved weights; None for the one that they have in memory, which is float32
            for those that adapters are merged into.
        load_whole: Loads the model with its weights as they are stored, where `model` has none because it is to be
            sharded over processes; None where it has.
    """

    model: Any
    tokenizer: Any
    prompt_template: str
    stop: tuple[str, ...] = ()
    dtype: Dtype | None = None
    save_dtype: Dtype | None = None
    load_whole: Callable[[], Any] | None = None

    @property
    def engine_dtype(self) -> torch.dtype:
        """The dtype of an engine's copy of the weights."""
        dtype: torch.dtype = self.model.dtype if self.dtype is None else torch_dtype(self.dtype)
        return dtype

    @property
    def eos_token_ids(self) -> frozenset[int]:
        """The ids of all tokens that end a completion; a model may have several."""
        return eos_token_ids(self.model.generation_config, self.tokenizer)

    def encode(self, inputs: Sequence[PromptInput], max_new_tokens: int, source: Path | str) -> list[list[int]]:
        """Returns the token ids of the prompt of each input.

        Raises:
            InputError: When a prompt and `max_new_tokens` do not fit the context; `source` names the file.
        """
        max_tokens = self._max_prompt_tokens(max_new_tokens)
        return encode_prompts(inputs, self.prompt_template, self.tokenizer, max_tokens, source)

    def longest_prompt(self, inputs: Sequence[PromptInput], max_new_tokens: int, source: Path | str) -> int:
        """Returns the number of tokens of the longest prompt.

        Raises:
            InputError: When a prompt and `max_new_tokens` do not fit the context; `source` names the file.
        """
        return longest_prompt(inputs, lambda batch: self.encode(batch, max_new_tokens, source))

    def check_prompts(self, inputs: Sequence[PromptInput], max_new_tokens: int, source: Path | str) -> None:
        """Raises InputError when a prompt and `max_new_tokens` do not fit the context; `source` names the file."""
        max_tokens = self._max_prompt_tokens(max_new_tokens)
        check_prompts(inputs, lambda batch: self.encode(batch, max_new_tokens, source), input_text, max_tokens)

    def _max_prompt_tokens(self, max_new_tokens: int) -> int:
        context: int = self.model.config.max_position_embeddings
        if max_new_tokens >= context:
            raise InputError(
                f"max_new_tokens: {max_new_tokens} tokens are kept for the completion, but the model's context has "
                f"{context} for it and the prompt together; give fewer."
            )
        return context - max_new_tokens

    def encode_targets(self, completions: Sequence[str]) -> list[list[int]]:
        """Returns the token ids of completions to imitate; each ends once, in the token that ends a turn.

        Raises:
            InputError: When the model has no end token, or a completion does not fit the context.
        """
        context = self.model.config.max_position_embeddings
        for text in completions:
            if has_more_tokens(text, context, self.tokenizer):
                problem = f'the completion "{text[:40]}..." has {len(text)} characters, and the model\'s context has'
                raise InputError(f"{problem} {context} tokens; shorten it or take a model with a longer context.")
        ends = [*turn_end_ids(self.tokenizer), self.tokenizer.eos_token_id]
        end = next((token for token in ends if token is not None), None)
        if end is None:
            raise InputError(
                "model.path: the tokenizer has neither a chat template that ends turns nor an EOS token, so targets "
                "would have no end; set eos_token in its tokenizer_config.json."
            )
        end_texts = tuple(self.tokenizer.convert_ids_to_tokens(sorted(self.eos_token_ids)))
        texts = [escape_answer(_without_ends(text, end_texts), self.tokenizer) for text in completions]
        return [[*token_ids, end] for token_ids in self.tokenizer(texts, add_special_tokens=False)["input_ids"]]

    def save(self, directory: Path) -> float | None:
        """Writes a Hugging Face checkpoint with merged adapters, and the adapters separately in `adapter/`.

        Its generation config has all end tokens, so that other programs end completions as this one does.
        Only the main process writes and holds the whole model, but all processes must call this if it is sharded.

        Returns:
            The share of the adapters' change that is left in merged weights of 16 bits (see `kept_share`); None for
            weights of float32, or without adapters.

        Raises:
            InputError: When writing fails.
        """
        import torch
        from safetensors import SafetensorError

        is_main = is_main_process()
        if not is_main and not is_sharded(self.model):
            return None
        save_dtype = self.save_dtype or (Dtype.float32 if has_adapters(self.model) else None)
        try:
            # Weights of a sharded model are gathered one by one, so tied ones would be there twice.
            tied = self.model.all_tied_weights_keys
            dtype = None if save_dtype is None else torch_dtype(save_dtype)
            named = merged_weights(self.model, dtype)
            weights = {name: weight.cpu() for name, weight in named if is_main and name not in tied}
            if not is_main:
                return None
            ids = sorted(self.eos_token_ids)
            self.model.generation_config.eos_token_id = ids if len(ids) > 1 else next(iter(ids), None)
            self.model.save_pretrained(directory, state_dict=weights, max_shard_size=_MAX_FILE_SIZE)
            if save_dtype is not None:  # transformers has written the dtype that the model has in memory
                config = deepcopy(self.model.config)
                config.dtype = save_dtype.value
                config.save_pretrained(directory)
            self.tokenizer.save_pretrained(directory)
            save_adapters(self.model, directory / _ADAPTER_FOLDER)
            sync_folder(directory)
        except (OSError, SafetensorError) as error:
            problem = f"could not be written ({error}). Make room and start the same command again."
            raise InputError.at(directory, problem) from error
        if not has_adapters(self.model) or dtype in (None, torch.float32):
            return None
        share = kept_share(self.model, dtype)
        message = "%s: rounding to %s kept %.0f%% of the adapters' change in the merged weights; %s has all of it"
        log.warning(message, directory, dtype, 100 * share, directory / _ADAPTER_FOLDER)
        return share


def _without_ends(text: str, end_texts: tuple[str, ...]) -> str:
    """Returns a text without the end tokens at its end; white space counts only between or behind these."""
    while (stripped := text.rstrip()).endswith(end_texts):
        text = next(stripped.removesuffix(end) for end in end_texts if stripped.endswith(end))
    return text


def eos_token_ids(generation_config: Any, tokenizer: Any) -> frozenset[int]:
    """Returns the ids of all tokens that end a completion: by generation config, tokenizer and chat template."""
    from_config = generation_config.eos_token_id
    ids = from_config if isinstance(from_config, list) else [from_config]
    ids = [*ids, tokenizer.eos_token_id, *turn_end_ids(tokenizer)]
    return frozenset(token for token in ids if token is not None)


def load_policy(config: ModelConfig) -> Policy:
    """Loads the policy of a folder, GGUF file or hub name, with its weights in `config.dtype`, and with its adapters.

    Raises:
        InputError: When the folder is incomplete, the adapters do not fit the model, or the hub has no such model or
            cannot be reached.
    """
    _warn_of_rounding(config)
    policy = _load_policy(config, config.dtype, load_model)
    if config.adapter_path is not None:
        attach_adapters(policy.model, Path(config.adapter_path))
    return policy


def load_trainable_policy(
    config: ModelConfig, lora: LoRAConfig | None, seed: int, *, is_sharded: bool = False
) -> Policy:
    """Loads the policy for training: all weights in float32, or adapters on frozen weights.

    In bfloat16, updates as small as those of reinforcement learning would be rounded away. Engines sample in
    `model.dtype` all the same.

    Args:
        config: The configuration of the model; training goes on with the adapters of its `adapter_path`, if any.
        lora: The adapters to train; None to train all weights.
        seed: Run seed, which determines the weights of new adapters.
        is_sharded: Whether the model is to be sharded over processes. Without adapters, its weights are then on the
            meta device, and `sharding.fill` reads them once it is.

    Raises:
        InputError: As `load_policy`, and when the model's adapters have another rank or other layers than `lora`.
    """
    if lora is None:
        assert config.adapter_path is None, "refused when the configuration is composed"
        policy = _load_policy(config, Dtype.float32, empty_model if is_sharded else load_model)
        use_kernels(policy.model, config)
        if not is_sharded:
            return policy
        return replace(policy, load_whole=lambda: load_model(config, stored_dtype(config)))
    adapters = None if config.adapter_path is None else Path(config.adapter_path)
    if adapters is not None:
        check_continued(lora, adapters)
    policy = load_policy(replace(config, adapter_path=None))
    add_adapters(policy.model, lora, seed)
    if adapters is not None:
        load_adapters(policy.model, adapters)
    use_kernels(policy.model, config)
    return replace(policy, save_dtype=config.save_dtype)


def load_reference(config: ModelConfig, *, is_empty: bool) -> Any:
    """Loads the reference of the KL: the model that training starts from, frozen, with its weights in `config.dtype`.

    Args:
        config: The configuration of the policy's model.
        is_empty: Whether to leave its weights on the meta device, for `sharding.fill`.
    """
    load = empty_model if is_empty else load_model
    model = load(config, torch_dtype(config.dtype)).requires_grad_(False)
    use_kernels(model, config)
    return model


def _load_policy(config: ModelConfig, dtype: Dtype, load: Callable[[ModelConfig, torch.dtype], Any]) -> Policy:
    """Returns the policy of a configuration, with the model that `load` returns."""
    template = read_prompt_template(config.prompt_path)
    check_folder(config)
    tokenizer = load_tokenizer(config)
    model = load(config, torch_dtype(dtype))
    stop, save_dtype = policy_stop(config, tokenizer), config.save_dtype or config.dtype
    return Policy(model, tokenizer, template, stop, dtype=config.dtype, save_dtype=save_dtype)


def policy_stop(config: ModelConfig, tokenizer: Any) -> tuple[str, ...]:
    """Returns the strings that end a completion of a model, with those for models without a chat template."""
    return (*config.stop, *(config.stop_without_template if tokenizer.chat_template is None else []))


def _warn_of_rounding(config: ModelConfig) -> None:
    """Warns if a model with merged adapters is loaded in a number format that rounds most of their change away."""
    adapters = Path(config.path) / _ADAPTER_FOLDER
    if (adapters / SETTINGS_FILE).is_file() and config.dtype is not Dtype.float32:
        log.warning(
            "%s has adapters merged into its weights, and model.dtype=%s rounds small changes of weights away. "
            "model.path of the base model with model.adapter_path=%s, or model.dtype=float32, keeps them",
            config.path,
            config.dtype.value,
            adapters,
        )


def load_tokenizer(config: ModelConfig) -> Any:
    """Loads the policy's tokenizer, with a padding token and the settings of the chat template.

    Raises:
        InputError: When the folder has none, or the hub has no such model or cannot be reached.
    """
    from transformers import AutoTokenizer

    with pretrained(config) as source:
        tokenizer = AutoTokenizer.from_pretrained(**source)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    set_template_defaults(tokenizer, config.chat_template_kwargs)
    return tokenizer
