"""Reasoning traces of other models as demonstrations: read, screened, and counted with the reasons."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medssr.answers import extract_choice
from medssr.benchmarks.reader import benchmark_files, load_benchmark
from medssr.errors import InputError
from medssr.models.prompts import PromptInput
from medssr.questions import Question
from medssr.questions.record import FieldError
from medssr.synthesis.contamination import ContaminationIndex
from medssr.training.demonstrations import Demonstration, LeftOut
from medssr.training.trace_forms import Fault, Trace, TraceForm, join_thinking
from medssr.utils.records import open_records

log = logging.getLogger(__name__)

_COUNTED = ("num_read", "num_with_options", "num_with_label", "num_without_readable_answer")


class BenchmarkScreen:
    """Finds the traces that repeat a question of a benchmark, as synthesis finds its questions that do.

    Args:
        path: A benchmark file, or a folder of them.
    """

    def __init__(self, path: str) -> None:
        questions = [question for file in benchmark_files(path).values() for question in load_benchmark(file)]
        self._ids = [question.id for question in questions]
        self._index = ContaminationIndex(
            (question.stem for question in questions), options=[question.options.values() for question in questions]
        )

    def __len__(self) -> int:
        """Returns the number of different questions of the benchmarks."""
        return len(self._index)

    def repeated(self, trace: Trace) -> str | None:
        """Returns the benchmark question that a trace repeats, with the score, or None."""
        match = self._index.check(trace.stem, trace.options.values())
        return None if match is None else f"{self._ids[match.index]} (score {match.score:.2f})"


class TraceDemonstrations:
    """The reasoning traces of a file or folder: JSON, JSONL, CSV, Parquet, or a dataset that `datasets` has saved.

    Args:
        path: The file or folder.
        form: Which fields hold what.
        tags: How the reasoning begins and ends in the completions to imitate; None for no marks.
        uses_template: Whether a question whose options can be read is asked with the model's prompt template, as
            training by rewards and evaluation ask it; else as the file has it.
        leaves_out_wrong: Whether a trace is left out whose answer is another letter than the known one. An answer
            without a letter is kept.
        benchmark_path: Benchmark file or folder whose questions are left out; None to compare with none.
    """

    def __init__(
        self,
        path: Path | str,
        form: TraceForm,
        tags: Sequence[str] | None,
        uses_template: bool,
        leaves_out_wrong: bool,
        benchmark_path: str | None,
    ) -> None:
        self.source = str(path)
        self.left_out: list[LeftOut] = []
        self.numbers: list[int] = []
        self._form = form
        self._tags = tags
        self._uses_template = uses_template
        self._leaves_out_wrong = leaves_out_wrong
        self._benchmark_path = benchmark_path
        self._counts: dict[str, Any] = {}

    def draw(self, seed: int) -> list[Demonstration]:
        """Returns the traces in the order of the file, without those that are left out.

        Raises:
            InputError: When the file is absent or broken, a field is missing or of the wrong type, or nothing is left.
        """
        screen = None if self._benchmark_path is None else BenchmarkScreen(self._benchmark_path)
        if screen is None:
            log.warning(
                "%s: compared with no benchmark; demonstrations.benchmark_path=FILES leaves out repeats", self.source
            )
        counts = Counter(dict.fromkeys(_COUNTED, 0))
        self.left_out, self.numbers, kept = [], [], []
        for number, record in enumerate(open_records(Path(self.source)), start=1):
            counts["num_read"] += 1
            trace = self._form.read(record)
            if isinstance(trace, Fault):
                self.left_out.append(LeftOut(number, trace.value))
            elif (fault := self._fault(trace, screen, counts)) is not None:
                self.left_out.append(LeftOut(number, fault[0].value, fault[1]))
            else:
                try:
                    kept.append(Demonstration(self._asked(trace, number), self._completion(trace)))
                    self.numbers.append(number)
                except FieldError as error:
                    raise record.error(error.problem, error.field) from error
        reasons = dict(Counter(each.reason for each in self.left_out))
        self._counts = {**counts, "left_out": reasons, "num_benchmark_questions": 0 if screen is None else len(screen)}
        log.info("%s: %d traces, left out %s", self.source, counts["num_read"], reasons or "none")
        if not kept:
            problem = f"none of its {counts['num_read']} traces is left ({reasons}); see demonstrations.form."
            raise InputError.at(self.source, problem)
        return kept

    def counts(self) -> dict[str, Any]:
        """Returns what the last draw counted, for the manifest."""
        return self._counts

    def _fault(self, trace: Trace, screen: BenchmarkScreen | None, counts: Counter[str]) -> tuple[Fault, str] | None:
        """Returns why a trace is left out, with what that rests on, or None; counts what is known of it."""
        counts["num_with_options"] += bool(trace.options)
        if trace.label is not None:
            letter = extract_choice(self._completion(trace), trace.options).letter
            counts["num_with_label"] += 1
            counts["num_without_readable_answer"] += letter is None
            if self._leaves_out_wrong and letter not in (None, trace.label):
                return Fault.wrong_answer, f"{letter}, and {trace.label} is right"
        if screen is not None and (repeated := screen.repeated(trace)) is not None:
            return Fault.in_benchmark, repeated
        return None

    def _completion(self, trace: Trace) -> str:
        return join_thinking(trace.reasoning, trace.answer, self._tags)

    def _asked(self, trace: Trace, number: int) -> PromptInput:
        if not (self._uses_template and trace.options):
            return trace.asked
        return Question(f"trace-{number:07d}", trace.stem, trace.options, trace.label, Path(self.source).name)
