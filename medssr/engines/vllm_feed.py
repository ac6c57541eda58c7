"""Feeds requests to vLLM in this process while others are under way, and reads what it has finished."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any, ClassVar

from medssr.engines.completions import stop_strings
from medssr.engines.streaming import Answers, Request
from medssr.engines.types import Completion, Sampling
from medssr.engines.vllm_process import VLLMProcess
from medssr.engines.vllm_requests import num_completions, read_samples
from medssr.models.policy import Policy


class VLLMFeed:
    """The requests under way in a vLLM process, all with the same sampling.

    A prompt counts with all its completions until the last is finished, so more than vLLM can work on at the same time
    have to be under way; it begins with one that waits as soon as a completion ends.

    Args:
        process: vLLM.
        policy: Its end tokens and stop strings end completions.
        sampling: How tokens are sampled.
        max_completions: Maximum number of completions under way.
    """

    _numbers: ClassVar[count[int]] = count()

    def __init__(self, process: VLLMProcess, policy: Policy, sampling: Sampling, max_completions: int) -> None:
        self._process = process
        self._policy = policy
        self._sampling = sampling
        self._max_completions = max_completions
        self._running: dict[str, Request] = {}
        self._num_completions = 0

    def has_room(self, request: Request) -> bool:
        """Returns whether the request can be added; an empty feed has room for any."""
        return not self._running or self._num_completions + self._size(request) <= self._max_completions

    def add(self, request: Request) -> None:
        """Gives a request to vLLM."""
        from vllm.inputs import tokens_input

        name = str(next(self._numbers))
        with self._process.active():
            prompt, adapters = tokens_input(request.prompt), self._process.adapters
            self._process.llm.llm_engine.add_request(name, prompt, self._params(request), lora_request=adapters)
        self._running[name] = request
        self._num_completions += self._size(request)

    def finished(self) -> Answers:
        """Lets vLLM work until a request is finished, and yields it, with those that were finished at the same time."""
        outputs: list[Any] = []
        with self._process.active():
            while not outputs:
                outputs = [output for output in self._process.llm.llm_engine.step() if output.finished]
        for output in outputs:
            request = self._running.pop(output.request_id)
            self._num_completions -= self._size(request)
            yield request.index, self._completions(request, output.outputs)

    def rest(self) -> Answers:
        """Yields all requests under way, once they are finished."""
        while self._running:
            yield from self.finished()

    def abort(self) -> None:
        """Ends all requests under way."""
        with self._process.active():
            self._process.llm.llm_engine.abort_request(list(self._running))
        self._running.clear()
        self._num_completions = 0

    def _size(self, request: Request) -> int:
        return num_completions(request, self._sampling)

    def _params(self, request: Request) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        if request.scored:
            return SamplingParams(
                temperature=0,
                max_tokens=1,
                logprob_token_ids=list(request.scored),
                detokenize=False,
                output_kind=RequestOutputKind.FINAL_ONLY,
            )
        sampling = self._sampling
        stop = list(stop_strings(self._policy, sampling))
        return SamplingParams(
            n=self._size(request),
            seed=request.seeds[0],
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            max_tokens=sampling.max_new_tokens,
            ignore_eos=True,  # vLLM uses one such token; the policy may have several
            stop_token_ids=sorted(self._policy.eos_token_ids),
            logprobs=0 if sampling.has_logps else None,  # 0: only of the sampled token
            flat_logprobs=True,
            stop=stop,
            detokenize=bool(stop),
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    def _completions(self, request: Request, samples: Sequence[Any]) -> list[Completion]:
        if request.scored:
            (logps,) = samples[0].logprobs
            return [Completion(list(request.scored), [logps[token].logprob for token in request.scored], "", False)]
        token_rows = [list(sample.token_ids) for sample in samples]
        logp_rows = [list(sample.logprobs.logprobs) if self._sampling.has_logps else [] for sample in samples]
        return read_samples(self._policy, token_rows, logp_rows, len(request.seeds), self._sampling)
