"""Multiple-choice questions as an environment of verifiers 0.4: one question, one answer, medssr's extractor.

The reward is that of medssr-train's label_match: 1 for the labelled answer of a finished completion, else 0. The metric
`is_right` is what medssr-evaluate counts, which also reads answers that were cut. The package medssr has to be there;
its extractor needs nothing else, so that `pip install --no-deps CLONE` does, CLONE being the folder of its repository.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import verifiers.v1 as vf
from verifiers.v1.dialects.chat import message_to_wire

from medssr.answers import extract_choice
from medssr.answers.choice import Choice

HERE = Path(__file__).resolve().parent


class QuestionData(vf.TaskData):
    """A question with its options and its label."""

    options: dict[str, str]
    answer: str
    is_rare: bool | None = None


class QuestionTask(vf.Task[QuestionData]):
    """Scores one answer."""

    def _choice(self, trace: vf.Trace) -> Choice:
        answers = trace.assistant_messages
        return extract_choice((answers[-1].content or "") if answers else "", self.data.options)

    @vf.reward(weight=1.0)
    async def label_match(self, trace: vf.Trace) -> float:
        """Whether the answer is finished and right."""
        return float(not trace.is_truncated and self._choice(trace).letter == self.data.answer)

    @vf.metric
    async def is_right(self, trace: vf.Trace) -> float:
        """Whether the extracted letter is right, also in an answer that was cut."""
        return float(self._choice(trace).letter == self.data.answer)

    @vf.metric
    async def is_invalid(self, trace: vf.Trace) -> float:
        """Whether no letter can be read."""
        return float(self._choice(trace).letter is None)


class QuestionsConfig(vf.TasksetConfig):
    """Which of the question sets are asked."""

    benchmark: str | None = None
    """The name of a file in `questions`; all of them if left out."""


class QuestionTaskset(vf.Taskset[QuestionTask, QuestionsConfig]):
    """The questions beside this file."""

    def load(self) -> Iterator[QuestionTask]:
        """Yields the questions in their order."""
        name = self.config.benchmark or "*"
        files = sorted((HERE / "questions").glob(f"{name}.jsonl"))
        if not files:
            raise ValueError(f"benchmark={name}: there is no such file in {HERE / 'questions'}.")
        for file in files:
            with file.open(encoding="utf-8") as lines:
                yield from (self._task(json.loads(line)) for line in lines)

    def _task(self, record: dict[str, Any]) -> QuestionTask:
        data = QuestionData(
            id=record["id"],
            prompt=record["messages"],
            options=record["options"],
            answer=record["answer"],
            is_rare=record["is_rare"],
        )
        return QuestionTask(data, self.config.task)


class OneAnswerConfig(vf.HarnessConfig):
    """Nothing to set."""


class OneAnswerHarness(vf.Harness[OneAnswerConfig]):
    """Asks the model once, from this process; verifiers adds the sampling settings of the run to the request."""

    EXECUTES_CODE = False
    NEEDS_CONTAINER = False

    async def launch(
        self,
        ctx: vf.ModelContext,
        trace: vf.Trace,
        runtime: vf.Runtime,
        endpoint: str,
        secret: str,
        mcp_urls: dict[str, str],
        data: vf.TaskData,
    ) -> vf.ProgramResult:
        """Returns once the answer is in the trace."""
        _, prompt = self.resolve_prompt(data)
        call = {"model": ctx.model, "messages": [message_to_wire(message) for message in prompt]}
        async with httpx.AsyncClient(timeout=None) as client:
            reply = await client.post(
                f"{endpoint}/chat/completions", json=call, headers={"Authorization": f"Bearer {secret}"}
            )
        return vf.ProgramResult(int(reply.is_error), "", reply.text if reply.is_error else "")


class QuestionEnvConfig(vf.SingleAgentEnvConfig):
    """One agent, which needs no sandbox."""

    agent: vf.AgentConfig = vf.AgentConfig(runtime=vf.SubprocessConfig())


class QuestionEnv(vf.SingleAgentEnv, vf.Env[QuestionEnvConfig]):
    """One question, one answer."""


__all__ = ["OneAnswerHarness", "QuestionEnv", "QuestionTaskset"]
