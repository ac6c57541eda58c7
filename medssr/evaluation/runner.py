"""Puts the questions of a benchmark to a policy, as a protocol says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from medssr.config import ProtocolConfig, ProtocolKind
from medssr.engines.sampled_answers import SampledAnswer, answers_in_chunks, read_completion
from medssr.engines.types import RolloutEngine, Sampling
from medssr.evaluation.prompting import Prompter
from medssr.evaluation.recovery import likelihood_answers, recover
from medssr.models.policy import Policy
from medssr.models.prompts import check_prompt_lengths, encode_texts
from medssr.questions import Question
from medssr.utils.seeding import derive_seed

PURPOSE = "evaluation"


@dataclass(frozen=True, slots=True)
class BenchmarkRunner:
    """Asks questions.

    Attributes:
        policy: What is examined.
        engine: Generates; not used where letters are compared.
        protocol: How to ask.
        prompter: Makes the prompts.
        seed: Run seed.
        is_progress_shown: Whether to show a progress bar.
    """

    policy: Policy
    engine: RolloutEngine
    protocol: ProtocolConfig
    prompter: Prompter
    seed: int
    is_progress_shown: bool

    def answers(
        self, questions: Sequence[Question], directory: Path, source: Path | str
    ) -> Iterator[list[SampledAnswer]]:
        """Yields the answers to each question in order; what is in `directory` is read, not asked for again.

        Args:
            questions: What to ask.
            directory: Where the answers are kept, chunk by chunk.
            source: The questions' file, for messages.

        Raises:
            InputError: When a prompt does not fit the policy's context; before anything is asked.
        """
        contexts = [self.context(question) for question in questions]
        encoded = encode_texts(contexts, self.policy.tokenizer)
        check_prompt_lengths(questions, encoded, self._max_prompt_tokens(), source)
        is_generated = self.protocol.kind is ProtocolKind.generate

        def answer(start: int, end: int) -> list[list[SampledAnswer]]:
            if is_generated:
                return self._generated(questions[start:end], contexts[start:end], encoded[start:end])
            return likelihood_answers(self.policy, contexts[start:end], questions[start:end])

        description = f"{PURPOSE}: {len(questions)} questions x {self.protocol.num_samples}"
        yield from answers_in_chunks(
            questions, directory, self.protocol.questions_per_chunk, description, self.is_progress_shown, answer
        )

    def context(self, question: Question) -> str:
        """Returns what the model is given: the prompt, and how the answer begins if the protocol says it."""
        return self.prompter.text(question) + self._start(question)

    def _start(self, question: Question) -> str:
        if self.protocol.kind is ProtocolKind.letters:
            return self.protocol.cue
        return "" if self.protocol.prefill is None else str(question.provenance[self.protocol.prefill])

    def _generated(
        self, questions: Sequence[Question], contexts: Sequence[str], encoded: Sequence[list[int]]
    ) -> list[list[SampledAnswer]]:
        protocol = self.protocol
        seeds = [
            [derive_seed(self.seed, PURPOSE, question.id, sample) for sample in range(protocol.num_samples)]
            for question in questions
        ]
        sampling = Sampling(
            protocol.temperature, protocol.max_new_tokens, protocol.top_p, protocol.top_k, has_logps=False
        )
        answers = [
            [read_completion(item, question, self._start(question)) for item in group]
            for question, group in zip(questions, self.engine.generate(encoded, seeds, sampling), strict=True)
        ]
        if not protocol.second_pass:
            return answers
        prompts = [self.prompter.text(question) for question in questions]
        return recover(self.policy, prompts, questions, answers, protocol.cue)

    def _max_prompt_tokens(self) -> int:
        longest: int = self.policy.model.config.max_position_embeddings
        num_cue_tokens = len(self.policy.tokenizer(f"{self.protocol.cue} A", add_special_tokens=False)["input_ids"])
        return longest - self.protocol.max_new_tokens - (num_cue_tokens if self.protocol.second_pass else 1)
