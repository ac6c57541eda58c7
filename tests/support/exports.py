"""Exports of tiny policies, made by the command itself, for the tests of exporting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from support.helpers import loss_node, typed
from tokenizers.processors import TemplateProcessing

from medssr.commands.export import export
from medssr.config import ExportSettings, Truncated
from medssr.exporting.common import default_settings
from medssr.grpo.losses import DAPO
from medssr.models.policy import Policy, load_policy
from medssr.questions import Question, write_questions

PROMPT = "Réponds.\n{question}\nThink first."
QUESTIONS = [
    Question("q1", "Which organ makes insulin?", {"A": "liver", "B": "pancreas"}, "B", "toy"),
    Question("q2", "  Spaces, 漢字, “quotes” and <|im_end|>?", {"A": "é", "B": "β-blocker", "C": "n/a"}, "C", "toy"),
    Question(
        "q3",
        "Which {gene}?\nA. is not an option here",
        {"A": "GLA", "B": "HBB", "C": "none", "D": "both", "E": "{question}"},
        "A",
        "other",
        entity="Fabry disease",
        is_rare=True,
        provenance={"truth": "secret"},
    ),
    Question("q4", "Which drug?", {"A": "aspirin", "B": "warfarin"}, "A", "toy", is_rare=False),
]


@dataclass(frozen=True, slots=True)
class Exported:
    """An export and what it was made from."""

    directory: Path
    model: Path
    policy: Policy

    @property
    def prompts(self) -> list[list[int]]:
        return self.policy.encode(QUESTIONS, 16, "toy.jsonl")


@cache
def defaults() -> ExportSettings:
    """The settings that the exporters compare with, composed once; a test that changes settings takes a copy."""
    return default_settings()


class ForeignLoss(DAPO):
    """A loss of a user's own."""


def settings_with(loss: str | None = None, loss_values: Mapping[str, Any] | None = None, **grpo: Any) -> ExportSettings:
    """The settings `recommended` with another loss, or other values for its parameters and other fields of `grpo`."""
    settings = deepcopy(defaults())
    node = settings.grpo.loss if loss is None else loss_node(loss)
    return replace(settings, grpo=replace(settings.grpo, loss={**node, **(loss_values or {})}, **grpo))


# What no other framework has, with the key and the value that the refusal names.
NO_FRAMEWORK_HAS: list[tuple[dict[str, Any], list[str]]] = [
    ({"truncated": Truncated.mask}, ["grpo.truncated", "mask"]),
    ({"overlong_buffer": 64}, ["grpo.overlong_buffer", "64"]),
    ({"shuffle_options": True}, ["grpo.shuffle_options", "True", "set it to False"]),
    ({"dynamic_sampling_rounds": 2}, ["grpo.dynamic_sampling_rounds", "2"]),
    ({"max_skipped_steps": 7}, ["grpo.max_skipped_steps", "7"]),
    ({"loss_values": {"_target_": "support.exports.ForeignLoss"}}, ["grpo.loss._target_", "ForeignLoss"]),
]


def without_chat_template(tokenizer: Any) -> None:
    tokenizer.chat_template = None


def with_start_token(tokenizer: Any) -> None:
    """Makes it a base model's that puts a start token before a text, as Llama's does."""
    tokenizer.chat_template = None
    tokenizer.bos_token = "<|begin_of_text|>"
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", tokenizer.bos_token_id)]
    )


POLICIES: dict[str, tuple[str, Callable[[Any], None]]] = {
    "qwen3": ("qwen3", lambda tokenizer: None),
    "llama": ("llama", lambda tokenizer: None),
    "qwen3 base": ("qwen3", without_chat_template),
    "llama base": ("llama", with_start_token),
}


def make_export(name: str, policies: dict[str, Policy], folder: Path, *overrides: str) -> Exported:
    folder.mkdir(exist_ok=True)
    family, change = POLICIES[name]
    policy = replace(policies[family], tokenizer=deepcopy(policies[family].tokenizer))
    change(policy.tokenizer)
    model = folder / "model"
    policy.save(model)
    write_questions(folder / "questions.jsonl", QUESTIONS)
    (folder / "prompt.txt").write_text(PROMPT, encoding="utf-8")
    config = typed(
        "export",
        "experiment=tiny_export",
        f"model.path={model}",
        f"model.prompt_path={folder / 'prompt.txt'}",
        "model.stop_without_template=[]",  # neither framework has strings that end a completion
        f"data.path={folder / 'questions.jsonl'}",
        f"paths.root_dir={folder}",
        *overrides,
    )
    return Exported(export(config).directory, model, load_policy(config.model))
