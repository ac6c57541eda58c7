"""Asks a policy the questions of a benchmark by a protocol: makes the prompts and samples or compares answers."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medssr.benchmarks.reader import load_benchmark
from medssr.config import ProtocolConfig, ProtocolKind
from medssr.engines.sampled_answers import SampledAnswer, answer_seeds, answers_in_chunks, read_completion
from medssr.engines.streaming import Request, StreamingEngine, stream_completions
from medssr.engines.truncation import TruncationWatch
from medssr.engines.types import Completion, RolloutEngine, Sampling
from medssr.errors import InputError
from medssr.evaluation.letter_likelihood import likelihood_answers, recover
from medssr.evaluation.second_pass import SecondPass, answers_in_two_passes
from medssr.models.chat import escape_answer, render_chat
from medssr.models.policy import Policy
from medssr.models.prompts import check_prompts, encode_rendered, input_text, prompt_messages
from medssr.questions import Question
from medssr.text.words import words_key
from medssr.utils.progress import Progress


@dataclass(frozen=True, slots=True)
class Prompter:
    """Makes prompts.

    Attributes:
        template: The text of a prompt template, with `{question}`.
        shots: Solved questions in front of each prompt, as turns of a conversation where the tokenizer has a chat
            template, else one below the other.
        tokenizer: Its chat template, or that it has none, decides the form.
    """

    template: str
    shots: tuple[Question, ...]
    tokenizer: Any

    @property
    def form(self) -> str:
        """Returns "chat" for turns of a conversation, "plain" for text alone."""
        return "plain" if self.tokenizer.chat_template is None else "chat"

    def text(self, question: Question) -> str:
        """Returns the prompt of a question, up to where its answer begins."""
        return render_chat(self.messages(question), self.tokenizer)

    def messages(self, question: Question) -> list[dict[str, str]]:
        """Returns the prompt of a question as a conversation, the solved questions first."""
        messages = []
        for shot in self.shots:
            messages += [*self._turn(shot), {"role": "assistant", "content": f"The answer is {shot.answer}."}]
        return [*messages, *self._turn(question)]

    @property
    def stop(self) -> tuple[str, ...]:
        """Strings that end an answer: the blank line that separates solved questions without a chat template."""
        return ("\n\n",) if self.shots and self.form == "plain" else ()

    def _turn(self, question: Question) -> list[dict[str, str]]:
        return prompt_messages(question, self.template, self.tokenizer)


def choose_shots(protocol: ProtocolConfig, questions: Sequence[Question]) -> tuple[Question, ...]:
    """Returns the first solved questions of a protocol's file, without those whose stems are asked.

    Raises:
        InputError: When the file cannot be read or has too few of them.
    """
    if protocol.num_shots == 0:
        return ()
    assert protocol.shots_path is not None
    stems = {words_key(question.stem) for question in questions}
    unasked = [question for question in load_benchmark(protocol.shots_path) if words_key(question.stem) not in stems]
    if len(unasked) < protocol.num_shots:
        raise InputError.at(
            Path(protocol.shots_path),
            f"has {len(unasked)} questions that are not asked themselves; protocol.num_shots is {protocol.num_shots}.",
            field="protocol.shots_path",
        )
    return tuple(unasked[: protocol.num_shots])


PURPOSE = "evaluation"


@dataclass(frozen=True, slots=True)
class BenchmarkRunner:
    """Asks the questions of a benchmark.

    Attributes:
        policy: The policy that is asked.
        engine: Generates; not used where letters are compared.
        protocol: How to ask.
        prompter: Makes the prompts.
        seed: Run seed.
        progress: Counts the answers.
    """

    policy: Policy
    engine: RolloutEngine
    protocol: ProtocolConfig
    prompter: Prompter
    seed: int
    progress: Progress

    def answers(
        self, questions: Sequence[Question], directory: Path, source: Path | str
    ) -> Generator[list[SampledAnswer]]:
        """Yields the answers to each question in order; answers that are in `directory` are read instead of sampled.

        Args:
            questions: The questions.
            directory: The folder that keeps the answers, one file a chunk.
            source: The questions' file, for messages.

        Raises:
            InputError: When a prompt does not fit the policy's context; before anything is asked.
        """

        def encode(some: Sequence[Question]) -> list[list[int]]:
            contexts = [self.context(question) for question in some]
            return encode_rendered(some, contexts, self.policy.tokenizer, self._max_prompt_tokens(), source)

        check_prompts(questions, encode, self._own_text, self._max_prompt_tokens())
        name, num_answers = f"{PURPOSE} of {Path(source).name}", len(questions) * self.protocol.num_samples
        watch = TruncationWatch(name, "protocol.max_new_tokens", num_answers)
        rows = answers_in_chunks(
            questions,
            directory,
            self.protocol.questions_per_chunk,
            self.progress,
            lambda chunks: self._answered(questions, encode, chunks),
        )
        with closing(rows):
            for answers in rows:
                watch.add(item.is_truncated for item in answers)
                yield answers

    def context(self, question: Question) -> str:
        """Returns the text that the model continues: the prompt, and the start of the answer if any."""
        return self.prompter.text(question) + self._start(question)

    def _start(self, question: Question) -> str:
        if self.protocol.kind is ProtocolKind.letters:
            return self.protocol.cue
        if self.protocol.prefill is None:
            return ""
        return escape_answer(str(question.provenance[self.protocol.prefill]), self.policy.tokenizer)

    def _own_text(self, question: Question) -> str:
        return input_text(question) + self._start(question)

    def _answered(
        self,
        questions: Sequence[Question],
        encode: Callable[[Sequence[Question]], list[list[int]]],
        chunks: Iterable[range],
    ) -> Generator[tuple[int, list[SampledAnswer]]]:
        """Yields the index of each question of some chunks with its answers."""
        if self.protocol.kind is ProtocolKind.letters:
            for chunk in chunks:
                asked = questions[chunk.start : chunk.stop]
                contexts = [self.context(question) for question in asked]
                yield from zip(chunk, likelihood_answers(self.policy, contexts, asked), strict=True)
            return
        batches = (self._requests(questions, encode, chunk) for chunk in chunks)
        if not self.protocol.second_pass:
            yield from self._generated(questions, batches)
            return
        if isinstance(self.engine, StreamingEngine):
            second = SecondPass(self.policy, self.protocol.cue, len(questions))

            def read(index: int, group: list[Completion]) -> tuple[str, list[SampledAnswer]]:
                return self.prompter.text(questions[index]), self._read(questions[index], group)

            yield from answers_in_two_passes(self.engine, batches, self._sampling(), second, questions, read)
            return
        for batch in batches:
            generated = dict(self._generated(questions, [batch]))
            asked = [questions[request.index] for request in batch]
            prompts = [self.prompter.text(question) for question in asked]
            answers = [generated[request.index] for request in batch]
            recovered = recover(self.policy, prompts, asked, answers, self.protocol.cue)
            yield from zip((request.index for request in batch), recovered, strict=True)

    def _requests(
        self, questions: Sequence[Question], encode: Callable[[Sequence[Question]], list[list[int]]], chunk: range
    ) -> list[Request]:
        asked = questions[chunk.start : chunk.stop]
        return [
            Request(index, prompt, answer_seeds(self.seed, PURPOSE, question, self.protocol.num_samples))
            for index, prompt, question in zip(chunk, encode(asked), asked, strict=True)
        ]

    def _generated(
        self, questions: Sequence[Question], batches: Iterable[Sequence[Request]]
    ) -> Generator[tuple[int, list[SampledAnswer]]]:
        """Yields the index of each question with the answers that are read from its completions."""
        with closing(stream_completions(self.engine, batches, self._sampling())) as completions:
            for index, group in completions:
                yield index, self._read(questions[index], group)

    def _read(self, question: Question, group: Sequence[Completion]) -> list[SampledAnswer]:
        return [read_completion(item, question, self._start(question)) for item in group]

    def _sampling(self) -> Sampling:
        protocol = self.protocol
        return Sampling(
            protocol.temperature,
            protocol.max_new_tokens,
            protocol.top_p,
            protocol.top_k,
            has_logps=False,
            stop=self.prompter.stop,
        )

    def _max_prompt_tokens(self) -> int:
        longest: int = self.policy.model.config.max_position_embeddings
        num_cue_tokens = len(self.policy.tokenizer(f"{self.protocol.cue} A", add_special_tokens=False)["input_ids"])
        return longest - self.protocol.max_new_tokens - (num_cue_tokens if self.protocol.second_pass else 1)
