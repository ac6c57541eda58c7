"""Encoders of Hugging Face: texts, or pairs of texts, to vectors and to scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medssr.errors import InputError

# One text, or two that the encoder sees as a pair.
Text = str | tuple[str, str]


class Pooling(Enum):
    """How the vectors of tokens become the vector of a text: that of the first token, or the mean."""

    cls = "cls"
    mean = "mean"


@dataclass(frozen=True, slots=True)
class Batch:
    """Texts as tokens.

    Attributes:
        tensors: What the model takes, `[B, T]` each, on its device.
        num_truncated: How many of the texts were longer than the model was told to read.
    """

    tensors: Any
    num_truncated: int


class TextEncoder:
    """A transformer with its tokenizer, read from a folder or a hub: safetensors only, no code of others.

    Attributes:
        path: The folder, or the name on a hub.
        max_length: The most tokens of a text, or of a pair together; the rest is cut off.
    """

    def __init__(self, path: str, max_length: int, where: str, kind: str = "AutoModel") -> None:
        """Loads it.

        Args:
            path: The folder, or the name on a hub.
            max_length: The most tokens of a text.
            where: The configuration key of the path, for messages.
            kind: The class of transformers to load.

        Raises:
            InputError: When it cannot be loaded.
        """
        import torch
        import transformers
        from safetensors import SafetensorError

        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        try:
            self._tokenizer = transformers.AutoTokenizer.from_pretrained(path, trust_remote_code=False)
            model = getattr(transformers, kind).from_pretrained(
                path, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
            )
        except (OSError, ValueError, SafetensorError) as error:
            raise InputError(
                f"{where}: {path} could not be loaded: {str(error).strip()} Expected a folder with config.json, "
                "safetensors and a tokenizer, or a hub name that this machine can reach."
            ) from error
        longest = getattr(model.config, "max_position_embeddings", max_length)  # absent where positions are relative
        if max_length > longest:
            raise InputError(f"{where}: {path} reads at most {longest} tokens, not {max_length}.")
        self.path = path
        self.max_length = max_length
        self._longest_token = max(map(len, self._tokenizer.get_vocab()))
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model = model.to(self._device).eval()

    @property
    def dimension(self) -> int:
        """The length of a vector."""
        return int(self._model.config.hidden_size)

    def encode(self, texts: Sequence[Text], pooling: Pooling) -> tuple[NDArray[np.float32], int]:
        """Returns one vector for each text, `[B, D]`, and how many of the texts were cut off."""
        import torch

        batch = self._batch(texts)
        with torch.inference_mode():
            states = self._model(**batch.tensors).last_hidden_state  # [B, T, D]
            if pooling is Pooling.cls:
                vectors = states[:, 0]
            else:
                mask = batch.tensors["attention_mask"][..., None]  # [B, T, 1]
                vectors = (states * mask).sum(dim=1) / mask.sum(dim=1)
        return vectors.float().cpu().numpy(), batch.num_truncated

    def score(self, pairs: Sequence[tuple[str, str]]) -> tuple[NDArray[np.float32], int]:
        """Returns the first logit of a classifier for each pair, `[B]`, and how many of the pairs were cut off."""
        import torch

        batch = self._batch(pairs)
        with torch.inference_mode():
            logits = self._model(**batch.tensors).logits[:, 0]  # [B]
        return logits.float().cpu().numpy(), batch.num_truncated

    def _batch(self, texts: Sequence[Text]) -> Batch:
        # Texts are cut to what cannot have fewer tokens, since tokens take a hundred times the memory of characters.
        most = (self.max_length + 1) * self._longest_token
        first = [(text if isinstance(text, str) else text[0])[:most] for text in texts]
        second = None if isinstance(texts[0], str) else [text[1][:most] for text in texts]
        whole = self._tokenizer(first, second, truncation=False, verbose=False)["input_ids"]
        tensors = self._tokenizer(
            first, second, truncation=True, max_length=self.max_length, padding=True, return_tensors="pt"
        ).to(self._device)
        return Batch(tensors, sum(len(tokens) > self.max_length for tokens in whole))


def batches_by_length(texts: Sequence[Text], batch_size: int) -> list[list[int]]:
    """Returns the indices of the texts in batches of similar lengths, so that little is padded.

    Example:
        >>> batches_by_length(["aaaa", "b", ("c", "cc"), "dd"], batch_size=2)
        [[1, 3], [2, 0]]
    """
    order = sorted(range(len(texts)), key=lambda index: _length(texts[index]))
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def _length(text: Text) -> int:
    return len(text) if isinstance(text, str) else len(text[0]) + len(text[1])
