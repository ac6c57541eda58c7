"""A generator on this machine: a Hugging Face model behind a rollout engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from medssr.errors import InputError
from medssr.llm.chat_protocol import ChatCall
from medssr.llm.ledger import Ledger, Reply
from medssr.synthesis.generators import Outcome, Rejection, SynthesisRequest
from medssr.synthesis.replies import Conversation

if TYPE_CHECKING:
    from medssr.config import ModelConfig
    from medssr.engines.types import Completion, RolloutEngine


class LocalGenerator:
    """Continues each prompt with a model of one's own and reads the question from what it writes.

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
        import transformers

        from medssr.engines.types import Sampling
        from medssr.models.device import use_gpu
        from medssr.models.policy import load_policy

        if temperature <= 0 or not 0 < top_p <= 1 or max_new_tokens < 1 or batch_size < 1:
            raise InputError(
                f"generator: temperature {temperature}, top_p {top_p}, max_new_tokens {max_new_tokens}, batch_size "
                f"{batch_size}; all are above 0, and top_p is at most 1."
            )
        transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        config = _typed(model)
        self._policy = load_policy(config)
        self._engine = rollout(policy=self._policy)
        use_gpu(self._policy, is_gpu_free=not self._engine.fills_gpu)
        self._sampling = Sampling(temperature, max_new_tokens, top_p, has_logps=False)
        self._batch_size = batch_size
        self._model = Path(config.path).name if Path(config.path).is_dir() else config.path
        # What the answers depend on, beside prompt and seed.
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
        """Returns what comes of each request; those to be repaired are asked again together."""
        conversations = {place: Conversation(request, self._model) for place, request in enumerate(batch)}
        outcomes: dict[int, Outcome] = {}
        while conversations:
            answers = self._answers(list(conversations.values()))
            for (place, conversation), answer in zip(list(conversations.items()), answers, strict=True):
                outcome = answer if isinstance(answer, Rejection) else conversation.take(answer)
                if outcome is not None:
                    outcomes[place] = outcome
                    del conversations[place]
        return [outcomes[place] for place in range(len(batch))]

    def _answers(self, conversations: Sequence[Conversation]) -> list[Reply | Rejection]:
        """Returns the model's next turn in each conversation, from the ledger where it is there."""
        from medssr.models.prompts import encode_texts, render_chat

        texts = [render_chat(conversation.messages, self._policy.tokenizer) for conversation in conversations]
        prompts = encode_texts(texts, self._policy.tokenizer)
        calls = [self._call(conversation) for conversation in conversations]
        answers: list[Reply | Rejection | None] = [self._ledger.find(call.key) for call in calls]
        room = self._policy.model.config.max_position_embeddings - self._sampling.max_new_tokens
        for place, prompt in enumerate(prompts):
            if len(prompt) > room:
                answers[place] = Rejection("prompt_too_long", f"{len(prompt)} tokens, {room} leave room for the answer")
        unknown = [place for place, answer in enumerate(answers) if answer is None]
        for place in unknown:
            self._ledger.note_sent(calls[place].key, 0)
        start = time.monotonic()
        seeds = [[calls[place].seed] for place in unknown]
        groups = self._engine.generate([prompts[place] for place in unknown], seeds, self._sampling) if unknown else []
        for place, (completion,) in zip(unknown, groups, strict=True):
            latency_s = round(time.monotonic() - start, 3)
            reply = self._reply(calls[place], completion, len(prompts[place]), latency_s)
            self._ledger.append(reply)
            answers[place] = reply
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
    """Returns what tells the weights from others: their hash, or the commit that a hub resolved the name to."""
    from medssr.utils.files import hash_path

    folder = Path(config.path)
    if folder.is_dir():
        return hash_path(folder)
    return f"{config.path}@{model.config._commit_hash}"
