"""The benchmarks beside this file as a task of inspect-ai 0.3, scored by medssr's extractor of answers.

    inspect eval inspect_tasks.py -T benchmark=NAME --model openai-api/local/MODEL --model-base-url http://HOST:8000/v1

A server of OpenAI's chat completions answers, such as vLLM's with the tokenizer of this export. The package medssr has
to be there; its extractor needs nothing else, so that `pip install --no-deps CLONE` does, CLONE being the folder of its
repository.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from inspect_ai import Epochs, Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageUser, GenerateConfig
from inspect_ai.scorer import CORRECT, INCORRECT, NOANSWER, Score, Scorer, Target, accuracy, scorer, stderr
from inspect_ai.solver import TaskState, generate

from medssr.answers import extract_choice

HERE = Path(__file__).resolve().parent
_ROLES = {"user": ChatMessageUser, "assistant": ChatMessageAssistant}


@task
def medssr(benchmark: str | None = None) -> Task:
    """One benchmark, with the prompts and the sampling of the protocol that it was exported with.

    Args:
        benchmark: The name of a file in `questions`; may be left out where there is one.
    """
    names = sorted(file.stem for file in (HERE / "questions").glob("*.jsonl"))
    name = names[0] if benchmark is None and len(names) == 1 else benchmark
    if name not in names:
        raise ValueError(f"benchmark={benchmark}: expected one of {', '.join(names)}; -T benchmark=NAME.")
    settings = json.loads((HERE / "settings.json").read_text(encoding="utf-8"))
    with (HERE / "questions" / f"{name}.jsonl").open(encoding="utf-8") as lines:
        samples = [_sample(json.loads(line)) for line in lines]
    return Task(
        dataset=MemoryDataset(samples, name=name),
        solver=generate(),
        scorer=extracted_letter(),
        epochs=Epochs(settings["num_samples"], "mean"),
        config=GenerateConfig(
            temperature=settings["temperature"],
            top_p=settings["top_p"],
            max_tokens=settings["max_tokens"],
            stop_seqs=settings["stop"] or None,
            # Not in OpenAI's API, but in that of vLLM and others.
            extra_body={"top_k": settings["top_k"]} if settings["top_k"] else None,
        ),
        name=f"medssr_{name}",
        metadata={"protocol": settings["protocol"], **settings["benchmarks"].get(name, {})},
    )


def _sample(record: dict[str, Any]) -> Sample:
    messages: list[ChatMessage] = [_ROLES[turn["role"]](content=turn["content"]) for turn in record["messages"]]
    kept = {name: record[name] for name in ("options", "source", "is_rare", "prompt_sha256")}
    return Sample(id=record["id"], input=messages, target=record["answer"], metadata=kept)


@scorer(metrics=[accuracy(), stderr()])
def extracted_letter() -> Scorer:
    """Right where the extracted letter is the answer; `N` where none can be read, which counts as wrong."""

    async def score(state: TaskState, target: Target) -> Score:
        choice = extract_choice(state.output.completion, state.metadata["options"])
        value = CORRECT if choice.letter == target.text else NOANSWER if choice.letter is None else INCORRECT
        return Score(value=value, answer=choice.letter, explanation=str(choice.reason))

    return score
