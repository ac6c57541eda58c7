"""Generators that are language models: behind an OpenAI-compatible address, or loaded on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from medssr.errors import InputError
from medssr.llm.chat_client import ChatModel
from medssr.llm.chat_protocol import ChatCall
from medssr.llm.ledger import Ledger, Reply
from medssr.synthesis.generators import Outcome, Rejection
from medssr.synthesis.plan import SynthesisRequest
from medssr.synthesis.replies import Conversation, question_schema

if TYPE_CHECKING:
    from medssr.config import ModelConfig
    from medssr.engines.types import Completion, RolloutEngine


@dataclass(frozen=True, kw_only=True)
class OpenAIGenerator(ChatModel):
    """Sends each prompt to a chat-completions server and reads the question from its answer.

    An answer that is no question is shown to the model once with what is wrong about it.

    Attributes:
        num_options: Options of a question.
    """

    name: ClassVar[str] = "openai"
    group: ClassVar[str] = "generator"
    ledger_name: ClassVar[str] = "openai.jsonl"

    num_options: int

    def generate(self, requests: Iterable[SynthesisRequest]) -> Iterator[tuple[SynthesisRequest, Outcome]]:
        """Yields each request with its question or a rejection.

        The reasons are those of the ledger (refusal, empty_response, truncated, malformed_response, timeout,
        connection, api_error, invalid_request) and unparsable.

        Raises:
            InputError: As `ChatClient.ask`. What was answered before is in the ledger.
        """
        return self._client.ask_all(self._outcome, requests)

    def _outcome(self, request: SynthesisRequest) -> Outcome:
        conversation = Conversation(request, self.model)
        schema = question_schema(self.num_options)
        outcome = None
        while outcome is None:
            seed = request.draw.rng_seed
            reply = self._client.ask(conversation.purpose, conversation.messages, seed, schema)
            outcome = conversation.take(reply)
        if reply.outcome == "answer":
            self._client.note_use(reply, outcome.detail if isinstance(outcome, Rejection) else None)
        return outcome


class LocalGenerator:
    """Continues each prompt with a model on this machine and reads the question from the completion.

    What the model writes is a function of its weights, the prompt and the request's seed. It goes to a ledger, so that
    a killed run does not generate it again.

    Args:
        model: The model, as in the group `model`; its prompt template is not used.
        rollout: Makes the engine when it is given the policy.
        temperature: Sampling temperature.
        top_p: Mass of the tokens that are sampled from.
        max_new_tokens: The most tokens of an answer.
        batch_size: Requests that are handed to the engine at a time.
        ledger_dir: Folder of the ledger `local.jsonl`.

    Raises:
        InputError: When the model cannot be loaded or a number is out of range.
    """

    name: ClassVar[str] = "local"
    loads_model: ClassVar[bool] = True

    def __init__(
        self,
        model: Mapping[str, Any],
        rollout: Callable[..., RolloutEngine],
        temperature: float,
        top_p: float,
        max_new_tokens: int,
        batch_size: int,
        ledger_dir: Path | str,
    ) -> None:
        from medssr.engines.types import Sampling
        from medssr.models.device import use_gpu
        from medssr.models.policy import load_policy

        if temperature <= 0 or not 0 < top_p <= 1 or max_new_tokens < 1 or batch_size < 1:
            raise InputError(
                f"generator: temperature {temperature}, top_p {top_p}, max_new_tokens {max_new_tokens}, batch_size "
                f"{batch_size}; all are above 0, and top_p is at most 1."
            )
        config = _typed(model)
        self._policy = load_policy(config)
        self._engine = rollout(policy=self._policy)
        use_gpu(self._policy, is_gpu_free=not self._engine.fills_gpu)
        self._sampling = Sampling(temperature, max_new_tokens, top_p, has_logps=False)
        self._batch_size = batch_size
        self._model = Path(config.path).name if Path(config.path).is_dir() else config.path
        # The settings that the answers depend on, beside prompt and seed.
        self._settings = {
            "model": _identity(config, self._policy.model),
            "dtype": config.dtype.value,
            "temperature": temperature,
            "top_p": top_p,
            "max_new_tokens": max_new_tokens,
        }
        self._ledger = Ledger(Path(ledger_dir) / "local.jsonl")
        self._num_answers = 0
        self._num_tokens = 0

    def generate(self, requests: Iterable[SynthesisRequest]) -> Iterator[tuple[SynthesisRequest, Outcome]]:
        """Yields each request with its question or a rejection.

        The reasons are prompt_too_long (for the model's context), truncated, empty_response and unparsable.
        """
        requests = iter(requests)
        while batch := list(islice(requests, self._batch_size)):
            yield from zip(batch, self._outcomes(batch), strict=True)

    def usage(self) -> dict[str, Any]:
        """Returns how many answers were used so far, and how many tokens they took."""
        return {"num_answers": self._num_answers, "tokens": self._num_tokens}

    def close(self) -> None:
        """Frees the engine and closes the ledger."""
        self._engine.close()
        self._ledger.close()

    def _outcomes(self, batch: Sequence[SynthesisRequest]) -> list[Outcome]:
        """Returns the outcome of each request; replies that need a repair are asked for again in one batch."""
        conversations = {index: Conversation(request, self._model) for index, request in enumerate(batch)}
        outcomes: dict[int, Outcome] = {}
        while conversations:
            answers = self._answers(list(conversations.values()))
            for (index, conversation), answer in zip(list(conversations.items()), answers, strict=True):
                outcome = answer if isinstance(answer, Rejection) else conversation.take(answer)
                if outcome is not None:
                    outcomes[index] = outcome
                    del conversations[index]
        return [outcomes[index] for index in range(len(batch))]

    def _answers(self, conversations: Sequence[Conversation]) -> list[Reply | Rejection]:
        """Returns the model's next turn in each conversation, from the ledger where it is there."""
        from medssr.models.chat import encode_texts, escape_messages, render_chat

        tokenizer = self._policy.tokenizer
        texts = [render_chat(escape_messages(item.messages, tokenizer), tokenizer) for item in conversations]
        prompts = encode_texts(texts, tokenizer)
        calls = [self._call(conversation) for conversation in conversations]
        answers: list[Reply | Rejection | None] = [self._ledger.find(call.key) for call in calls]
        room = self._policy.model.config.max_position_embeddings - self._sampling.max_new_tokens
        for index, prompt in enumerate(prompts):
            if len(prompt) > room:
                answers[index] = Rejection("prompt_too_long", f"{len(prompt)} tokens, {room} leave room for the answer")
        unanswered = [index for index, answer in enumerate(answers) if answer is None]
        for index in unanswered:
            self._ledger.note_sent(calls[index].key, 0)
        start = time.monotonic()
        seeds = [[calls[index].seed] for index in unanswered]
        new_prompts = [prompts[index] for index in unanswered]
        groups = self._engine.generate(new_prompts, seeds, self._sampling) if unanswered else []
        for index, (completion,) in zip(unanswered, groups, strict=True):
            latency_s = round(time.monotonic() - start, 3)
            reply = self._reply(calls[index], completion, len(prompts[index]), latency_s)
            self._ledger.append(reply)
            answers[index] = reply
        return [self._counted(answer) for answer in answers if answer is not None]

    def _call(self, conversation: Conversation) -> ChatCall:
        seed = conversation.request.draw.rng_seed
        return ChatCall.of(conversation.purpose, conversation.messages, self._settings, seed, schema=None)

    def _reply(self, call: ChatCall, completion: Completion, num_prompt_tokens: int, latency_s: float) -> Reply:
        outcome = "truncated" if completion.is_truncated else "answer" if completion.text.strip() else "empty_response"
        return Reply(
            key=call.key,
            purpose=list(call.purpose),
            model=self._model,
            prompt_sha256=call.prompt_sha256,
            settings_sha256=call.settings_sha256,
            seed=call.seed,
            outcome=outcome,
            text=completion.text,
            error=None,
            prompt_tokens=num_prompt_tokens,
            completion_tokens=len(completion.token_ids),
            is_estimated=False,
            dollars=None,
            num_attempts=1,
            failures=[],
            latency_s=latency_s,
        )

    def _counted(self, answer: Reply | Rejection) -> Reply | Rejection:
        if isinstance(answer, Reply):
            self._num_answers += 1
            self._num_tokens += answer.cost.tokens
        return answer


def _typed(model: Mapping[str, Any]) -> ModelConfig:
    from omegaconf import OmegaConf

    from medssr.config import ModelConfig

    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(ModelConfig), dict(model)))
    assert isinstance(config, ModelConfig)
    return config


def _identity(config: ModelConfig, model: Any) -> str:
    """Returns the identity of the weights: the hash of a folder, or the commit of a name on the hub."""
    from medssr.utils.files import hash_path

    folder = Path(config.path)
    if folder.is_dir():
        return hash_path(folder)
    return f"{config.path}@{model.config._commit_hash}"
