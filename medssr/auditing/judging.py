"""Asks a judge model behind an OpenAI-compatible address to fill in the rubric."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from medssr.auditing.rubric import CRITERIA, REQUIRED, Verdict, verdict_from_record, verdict_schema
from medssr.knowledge.corpora import Passage
from medssr.llm.chat_client import ChatModel
from medssr.llm.ledger import Reply
from medssr.questions import FieldError, Question, render_question
from medssr.synthesis.prompts import fenced_passages, fill_template, text_hash, unfence
from medssr.synthesis.replies import ReplyError, last_object, repair_messages
from medssr.utils.files import read_jsonl
from medssr.utils.seeding import derive_seed


@dataclass(frozen=True, slots=True)
class JudgeRequest:
    """A question to judge, with its prompt and a sampling seed."""

    question: Question
    prompt: str
    seed: int


@dataclass(frozen=True, slots=True)
class JudgeReply:
    """The reply of the judge about one question.

    Attributes:
        question_id: The question.
        verdict: The judge's verdict; None where there is none.
        outcome: "judged", or why there is no verdict: an outcome of the ledger (refusal, truncated, timeout ...) or
            "unparsable".
        detail: What happened, where there is no verdict.
        details: Model, hash of the prompt, calls and tokens.
    """

    question_id: str
    verdict: Verdict | None
    outcome: str
    detail: str
    details: dict[str, Any]

    def record(self) -> dict[str, Any]:
        """Returns it as JSON, as `read_judge_replies` reads it."""
        return asdict(self)


def judge_request(template: str, question: Question, passages: Sequence[Passage], seed: int) -> JudgeRequest:
    """Returns the request for a question; neither its answer nor its hidden truth is in it.

    Args:
        template: A Jinja template with the variables `question` (stem and lettered options), `passages` (each with
            `title` and `text`), `criteria` (of the rubric) and `letters`.
        question: The question.
        passages: The passages from which it was made.
        seed: The run's seed.

    Raises:
        InputError: When the template cannot be filled.
    """
    values = {
        "question": unfence(render_question(question)),
        "passages": fenced_passages(passages),
        "criteria": CRITERIA,
        "letters": list(question.options),
    }
    return JudgeRequest(question, fill_template(template, values), derive_seed(seed, "judge", question.id))


def parse_verdict(reply: str, letters: Sequence[str]) -> Verdict:
    """Returns the verdict in the last JSON object of the reply that has the required criteria.

    Raises:
        ReplyError: When there is none, or a field has the wrong form.
    """
    record = last_object(reply, REQUIRED)
    try:
        return verdict_from_record({"best_answer": None, "comment": ""} | record, letters)
    except FieldError as error:
        raise ReplyError(f'Field "{error.field}": {error.problem}') from error


def read_judge_replies(path: Path) -> list[JudgeReply]:
    """Returns the replies that a run has written."""
    return [
        JudgeReply(**record | {"verdict": record["verdict"] and Verdict(**record["verdict"])})
        for _, record in read_jsonl(path)
    ]


@dataclass(frozen=True, kw_only=True)
class OpenAIJudge(ChatModel):
    """Asks a chat-completions server, with one repair of a reply that cannot be read."""

    group: ClassVar[str] = "judge"
    ledger_name: ClassVar[str] = "judge.jsonl"

    def judge(self, requests: Iterable[JudgeRequest]) -> Iterator[JudgeReply]:
        """Yields the reply to each request, in their order.

        Raises:
            InputError: As `ChatClient.ask`. What was answered before is in the ledger.
        """
        for _, reply in self._client.ask_all(self._ask, requests):
            yield reply

    def _ask(self, request: JudgeRequest) -> JudgeReply:
        question, letters = request.question, list(request.question.options)
        messages = [{"role": "user", "content": request.prompt}]
        replies: list[Reply] = []
        verdict, outcome, problem = None, "unparsable", ""
        for repair in (0, 1):
            purpose: list[str | int] = ["audit", question.id, repair]
            reply = self._client.ask(purpose, messages, request.seed, verdict_schema(letters))
            replies.append(reply)
            if reply.outcome != "answer" or reply.text is None:
                outcome, problem = reply.outcome, reply.why_unusable
                break
            try:
                verdict, outcome, problem = parse_verdict(reply.text, letters), "judged", ""
                break
            except ReplyError as error:
                problem = str(error)
                messages = [*messages, *repair_messages(reply.text, problem)]
        if reply.outcome == "answer":
            self._client.note_use(reply, problem or None)
        details = {
            "model": self.model,
            "prompt_sha256": text_hash(request.prompt),
            "num_calls": len(replies),
            "prompt_tokens": sum(reply.prompt_tokens for reply in replies),
            "completion_tokens": sum(reply.completion_tokens for reply in replies),
        }
        return JudgeReply(question.id, verdict, outcome, problem, details)
