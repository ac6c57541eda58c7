"""Writes benchmarks as tasks of lm-evaluation-harness 0.4.13, which compares letters like `protocol=loglikelihood`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from medssr.benchmarks.suite import Benchmark, Suite
from medssr.config import BenchmarkConfig, ModelConfig, ProtocolConfig
from medssr.errors import InputError
from medssr.evaluation.benchmark_results import protocol_record, text_sha256
from medssr.evaluation.runner import Prompter
from medssr.exporting.asked_questions import suite_prompter
from medssr.models.chat import encode_texts
from medssr.models.prompts import encode_rendered, encode_with_continuations
from medssr.questions import Question
from medssr.resources import RESOURCES
from medssr.utils.files import open_atomically, write_lines_atomically
from medssr.utils.naming import safe_name

_README = RESOURCES / "export" / "lm_eval_README.md"
_FAMILY = "medssr"
# Raised when the same questions would get another score.
_VERSION = 1


def write_for_lm_eval(
    folder: Path, suite: Suite, benchmark: BenchmarkConfig, protocol: ProtocolConfig, model: ModelConfig
) -> None:
    """Writes a task for each benchmark, a group for each mean over benchmarks, and how to run them. Loads no weights.

    The text in front of the letter is written as the model gets it, its chat template applied, so that nothing is left
    to the settings of the other side.

    Args:
        folder: Where to.
        suite: The benchmarks.
        benchmark: Where the suite is from; the means are in it.
        protocol: How the questions are asked; of the kind that compares letters.
        model: Its tokenizer makes the prompts.

    Raises:
        InputError: When a benchmark's name can be no task's, a prompt is too long, or the solved examples are missing.
    """
    for name, loaded in suite.benchmarks.items():
        if not re.fullmatch(r"[\w.-]+", name):
            raise InputError(
                f'benchmark.path: "{loaded.subset.source}" names a task of lm-evaluation-harness, so expected letters, '
                "digits, '.', '_' and '-' alone; rename the file."
            )
    prompter, longest = suite_prompter(suite, protocol, model)
    asked_as = protocol_record(protocol, prompter)
    for name, loaded in suite.benchmarks.items():
        texts = [prompter.text(question) + protocol.cue for question in loaded.questions]
        encode_rendered(loaded.questions, texts, prompter.tokenizer, longest - 1, loaded.subset.source)  # or refuses
        contexts = token_contexts(texts, loaded.questions, prompter.tokenizer)
        write_lines_atomically(folder / "questions" / f"{name}.jsonl", task_lines(loaded.questions, texts, contexts))
        _write_yaml(folder / f"{name}.yaml", _task(name, loaded, asked_as))
    for mean, members in benchmark.means.items():
        if all(member in suite.benchmarks for member in members):
            _write_yaml(folder / f"mean_{safe_name(mean)}.yaml", _group(mean, members))
    _write_readme(folder, model, prompter)


def task_lines(questions: Sequence[Question], texts: Sequence[str], contexts: Sequence[str]) -> Iterator[str]:
    """Yields a line of JSON for each question: what is read, what may follow, and which of it is right.

    Args:
        questions: What is asked.
        texts: For each of them all in front of the letter.
        contexts: For each of them the beginning of its text that is no part of a choice.

    Example:
        >>> question = Question("q", "Which organ?", {"A": "liver", "B": "heart"}, "B", "toy")
        >>> text = "Which organ? The answer is"
        >>> record = json.loads(next(task_lines([question], [text], [text])))
        >>> record["context"], record["choices"], record["gold"]
        ('Which organ? The answer is', [' A', ' B'], 1)
    """
    for question, text, context in zip(questions, texts, contexts, strict=True):
        letters = list(question.options)
        assert question.answer is not None
        record = {
            "id": question.id,
            "context": context,
            "choices": [f"{text[len(context) :]} {letter}" for letter in letters],
            "letters": letters,
            "gold": letters.index(question.answer),
            "is_rare": question.is_rare,
            "prompt_sha256": text_sha256(text),
        }
        yield json.dumps(record, ensure_ascii=False)


def token_contexts(texts: Sequence[str], questions: Sequence[Question], tokenizer: Any) -> list[str]:
    """Returns of each text as much as has the same tokens whichever letter follows.

    The harness counts the tokens of a context and takes what is behind them as the choice. Most tokenizers split at
    blanks, so that this is all of a text; others join the blank to a word in front of it.
    """
    letters = [[f" {letter}" for letter in question.options] for question in questions]
    shared, _ = encode_with_continuations(texts, letters, tokenizer)
    return [_context(text, token_ids, tokenizer) for text, token_ids in zip(texts, shared, strict=True)]


def _context(text: str, shared: list[int], tokenizer: Any) -> str:
    """Returns the longest beginning of a text whose tokens begin the shared ones."""
    for end in range(len(text), 0, -1):
        if not text[end - 1].isspace():  # the harness gives a blank at the end to the choice
            (token_ids,) = encode_texts([text[:end]], tokenizer)
            if token_ids == shared[: len(token_ids)]:
                return text[:end]
    raise InputError("model.path: the tokenizer gives the beginning of a prompt other tokens when a letter follows.")


def _task(name: str, benchmark: Benchmark, asked_as: Mapping[str, Any]) -> dict[str, Any]:
    subset = benchmark.subset
    return {
        "task": f"{_FAMILY}_{name}",
        "tag": _FAMILY,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": f"questions/{name}.jsonl"}},
        "test_split": "test",
        "output_type": "multiple_choice",
        # Names of fields: their texts are taken as they are.
        "doc_to_text": "context",
        "doc_to_choice": "choices",
        "doc_to_target": "gold",
        "target_delimiter": "",
        # Solved examples are part of the context.
        "num_fewshot": 0,
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        "metadata": {
            "version": _VERSION,
            "subset": {"name": subset.name, "sha256": subset.sha256, "source": subset.source},
            "num_excluded": len(benchmark.excluded),
            "protocol": dict(asked_as),
        },
    }


def _group(mean: str, members: Sequence[str]) -> dict[str, Any]:
    """Returns the group for a mean in which each benchmark counts the same, however many questions it has."""
    return {
        "group": f"{_FAMILY}_mean_{mean}",
        "task": [f"{_FAMILY}_{member}" for member in members],
        "aggregate_metric_list": [{"metric": "acc", "aggregation": "mean", "weight_by_size": False}],
        "metadata": {"version": _VERSION},
    }


def _write_readme(folder: Path, model: ModelConfig, prompter: Prompter) -> None:
    # What a chat template made has its start token already.
    start_token = ",add_bos_token=False" if prompter.form == "chat" else ""
    text = _README.read_text(encoding="utf-8")
    with open_atomically(folder / "README.md") as stream:
        stream.write(text.replace("{dtype}", model.dtype.value).replace("{start_token}", start_token))


def _write_yaml(path: Path, values: Mapping[str, Any]) -> None:
    with open_atomically(path) as stream:
        yaml.safe_dump(dict(values), stream, sort_keys=False, allow_unicode=True)
