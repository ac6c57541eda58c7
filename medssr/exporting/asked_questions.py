"""Benchmarks as conversations with the options and answers, and the settings of a protocol that generates answers.

What inspect-ai and verifiers get in common: the questions as a policy is asked them, for a server that applies the
policy's chat template, and how answers are sampled.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medssr.benchmarks.suite import Suite
from medssr.config import ModelConfig, ProtocolConfig, ProtocolKind
from medssr.errors import InputError
from medssr.evaluation.benchmark_results import protocol_record, text_sha256
from medssr.evaluation.runner import Prompter, choose_shots
from medssr.exporting.common import SettingsReader, default_protocol
from medssr.exporting.conversations import chat_token_ids, with_chat_template
from medssr.models.loading import pretrained
from medssr.models.policy import load_tokenizer
from medssr.models.prompts import encode_rendered, read_prompt_template
from medssr.questions import Question
from medssr.utils.files import open_atomically, write_lines_atomically
from medssr.utils.naming import safe_name

SETTINGS_FILE, QUESTIONS_FOLDER = "settings.json", "questions"


def suite_prompter(suite: Suite, protocol: ProtocolConfig, model: ModelConfig) -> tuple[Prompter, int]:
    """Returns what makes the prompts, and how many tokens the model can read. Loads no weights."""
    from transformers import AutoConfig

    template = read_prompt_template(protocol.prompt_path)
    shots = choose_shots(protocol, [item for loaded in suite.benchmarks.values() for item in loaded.questions])
    tokenizer = load_tokenizer(model)
    with pretrained(model) as arguments:
        longest: int = AutoConfig.from_pretrained(**arguments).max_position_embeddings
    return Prompter(template, shots, tokenizer), longest


@dataclass(frozen=True, slots=True)
class AskedQuestions:
    """What another framework needs to ask and to score.

    Attributes:
        prompter: Makes the conversations.
        tokenizer: The policy's, with a chat template that renders the conversations to the policy's own prompts.
        settings: How answers are sampled, by the names of OpenAI's API, and where the questions are from.
    """

    prompter: Prompter
    tokenizer: Any
    settings: dict[str, Any]


def ask_questions(suite: Suite, protocol: ProtocolConfig, model: ModelConfig, framework: str) -> AskedQuestions:
    """Returns the questions of a suite for another framework. Loads no weights.

    Args:
        suite: The benchmarks.
        protocol: How they are asked.
        model: Its tokenizer makes the prompts.
        framework: Its name, for messages.

    Raises:
        InputError: When the framework has no counterpart of a setting of the protocol, a prompt is too long, or no
            chat template gives the prompts.
    """
    reader = SettingsReader(framework, "protocol", protocol, default_protocol())
    sampling = _sampling(reader)
    prompter, longest = suite_prompter(suite, protocol, model)
    tokenizer = with_chat_template(prompter.tokenizer)
    for loaded in suite.benchmarks.values():
        texts = [prompter.text(question) for question in loaded.questions]
        room = longest - protocol.max_new_tokens - 1
        wanted = encode_rendered(loaded.questions, texts, prompter.tokenizer, room, loaded.subset.source)
        for question, token_ids in zip(loaded.questions, wanted, strict=True):
            if chat_token_ids(prompter.messages(question), tokenizer) != token_ids:
                raise InputError(
                    f"model.path: no chat template gives the prompts of {model.path} in {framework}; the prompt of "
                    f'question "{question.id}" has other tokens there. Give the tokenizer a chat template.'
                )
    without_template = model.stop_without_template if prompter.form == "plain" else []
    stop = [*model.stop, *without_template, *prompter.stop]
    settings = sampling | {
        "stop": list(dict.fromkeys(stop)),
        "protocol": protocol_record(protocol, prompter),
        "benchmarks": {
            name: {"sha256": loaded.subset.sha256, "source": loaded.subset.source}
            for name, loaded in suite.benchmarks.items()
        },
    }
    return AskedQuestions(prompter, tokenizer, settings)


def _sampling(reader: SettingsReader) -> dict[str, Any]:
    """Returns how answers are sampled; a setting that no other framework has is refused unless it is the default."""
    reader.counterpart("kind", {ProtocolKind.generate: "generate"})
    # The conversations hold the prompt; the cue belongs to the second pass, and chunks to what is kept of answers here.
    reader.ignore("name", "prompt_path", "num_shots", "shots_path", "cue", "questions_per_chunk")
    sampling = {
        "num_samples": reader.value("num_samples"),
        "temperature": reader.value("temperature"),
        "top_p": reader.value("top_p"),
        "top_k": reader.value("top_k"),
        "max_tokens": reader.value("max_new_tokens"),
    }
    reader.refuse_rest()
    return sampling


def write_asked(folder: Path, suite: Suite, asked: AskedQuestions) -> None:
    """Writes the settings, and a file of conversations for each benchmark."""
    folder.mkdir(parents=True, exist_ok=True)
    with open_atomically(folder / SETTINGS_FILE) as stream:
        stream.write(json.dumps(asked.settings, indent=2, ensure_ascii=False) + "\n")
    for name, loaded in suite.benchmarks.items():
        lines = asked_lines(loaded.questions, asked.prompter)
        write_lines_atomically(folder / QUESTIONS_FOLDER / f"{safe_name(name)}.jsonl", lines)


def asked_lines(questions: list[Question], prompter: Prompter) -> Iterator[str]:
    """Yields a line of JSON for each question. Provenance, which may hold a hidden truth, stays behind."""
    for question in questions:
        record = {
            "id": question.id,
            "messages": prompter.messages(question),
            "options": question.options,
            "answer": question.answer,
            "source": question.source,
            "is_rare": question.is_rare,
            "prompt_sha256": text_sha256(prompter.text(question)),
        }
        yield json.dumps(record, ensure_ascii=False)
