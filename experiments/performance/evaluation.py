"""Measures extraction, scoring and the report of ten benchmarks; questions and completions are generated.

python experiments/performance/evaluation.py completions      extract and score 10,000 completions
python experiments/performance/evaluation.py hostile          extract a letter from slow texts of a million characters
python experiments/performance/evaluation.py coverage         count the intervals that contain the true accuracy
python experiments/performance/evaluation.py report           make the page of 3 models, 8,000 questions x 4
python experiments/performance/evaluation.py report --num-questions 80000 --num-models 2
python experiments/performance/evaluation.py report --num-models 50 --num-questions 500 --keep FOLDER
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from medssr.answers import extract_choice
from medssr.commands.compare import compare
from medssr.config import CompareConfig, ExtrasConfig, PathsConfig
from medssr.evaluation.results_io import (
    EvaluatedModel,
    EvaluationResults,
    predictions_file,
    questions_file,
    write_evaluation,
)
from medssr.evaluation.scoring import Prediction, score
from medssr.questions import Question, write_questions
from medssr.statistics import clustered_bootstrap_interval
from medssr.utils.files import write_lines_atomically

# Sizes and numbers of options of the paper's benchmarks; all questions of RareDis-Sub are about rare diseases.
BENCHMARKS = {
    "medqa": (1273, 4), "medmcqa": (1200, 4), "pubmedqa": (500, 3), "mmlu": (1089, 4), "medxpertqa": (2450, 10),
    "medbullets": (308, 5), "lancet": (412, 4), "nejm": (603, 5), "bioasq": (782, 2), "raredis_sub": (2122, 4),
}  # fmt: skip
TEXT = (
    "the patient has fever cough and a rash since two days his blood pressure is low which drug comes first "
    "aspirin warfarin heparin renal failure of unknown cause biopsy shows granulomas therefore we think that it fits "
    "best with what was said about the onset in childhood"
)
WORDS = TEXT.split()
ENDINGS = (
    "The answer is {}.", "**Final answer: {}**", "\\boxed{{{}}}", "So the correct option is ({}).", "Answer: {}",
    "Therefore, the most likely diagnosis is option {}.", "I cannot decide between them.",
)  # fmt: skip
NUM_SAMPLES = 4
HOSTILE_LENGTH = 1_000_000
HOSTILE = (
    "a", "A. ", "\n", "A\n", "answer ", "the answer is ", "the answer is B or ", "answer (A, B, ", "boxed{",
    "\\boxed{A} and ", "<think>", "</think>", "<answer>", "<response>", "{", '{"answer": ', '{"answer": "B", ', "*",
    "_", "\\", "(", "(B", "B, ", "if the x, ", "no, ", "wait, that is wrong. ", "B is the correct ", "Question:\n",
    "- A: wrong\n", "| A |", "diagnosis is ", "option B ", "Vitamin K ", "warfarin", "W", "不", "答案是", "\u200b",
    "\U0001d400",
)  # fmt: skip
NUM_BENCHMARKS = 2_000
# Number of questions, samples per question, true accuracy, fraction of questions that are duplicates.
COVERAGE = ((300, 4, 0.6, 0.1), (300, 4, 0.9, 0.1), (1000, 4, 0.75, 0.0), (400, 1, 0.85, 0.25), (300, 4, 0.3, 0.0))


def questions(benchmark: str, count: int, num_options: int) -> list[Question]:
    """Returns questions with stems of 60 words and options of three words."""
    rng = random.Random(benchmark)
    return [
        Question(
            f"{benchmark}-{number:06d}",
            f"Case {number}: {' '.join(rng.choices(WORDS, k=60))}?",
            {letter: f"{' '.join(rng.choices(WORDS, k=3))} {letter}" for letter in "ABCDEFGHIJ"[:num_options]},
            rng.choice("ABCDEFGHIJ"[:num_options]),
            benchmark,
            is_rare=benchmark == "raredis_sub" or rng.random() < 0.1,
        )
        for number in range(count)
    ]


def completions(question: Question, skill: float, rng: random.Random) -> Iterator[str]:
    """Yields endless completions of 150 words; how many are right depends on the skill and the question."""
    chance = min(1.0, max(0.0, rng.gauss(skill, 0.3)))
    others = [letter for letter in question.options if letter != question.answer]
    while True:
        letter = question.answer if rng.random() < chance else rng.choice(others)
        start = rng.randrange(len(WORDS))
        text = " ".join(itertools.islice(itertools.cycle(WORDS), start, start + 150))
        yield f"{text}.\n\n{rng.choices(ENDINGS, [9, 9, 9, 9, 9, 9, 1])[0].format(letter)}"


def write_model(folder: Path, name: str, skill: float, num_questions: int) -> None:
    """Writes the evaluation of a simulated model on all benchmarks, with sizes in proportion."""
    rng = random.Random(name)
    scale = num_questions / sum(size for size, _ in BENCHMARKS.values())
    scores = {}
    for benchmark, (size, num_options) in BENCHMARKS.items():
        asked = questions(benchmark, max(20, round(size * scale)), num_options)
        lines, predictions = [], []
        for question in asked:
            texts = list(itertools.islice(completions(question, skill, rng), NUM_SAMPLES))
            choices = [extract_choice(text, question.options) for text in texts]
            answers = [
                {
                    "text": text,
                    "num_tokens": 200,
                    "is_truncated": False,
                    "letter": choice.letter,
                    "reason": choice.reason,
                }
                for text, choice in zip(texts, choices, strict=True)
            ]
            lines.append(json.dumps({"question_id": question.id, "gold": question.answer, "answers": answers}))
            predictions.append(
                Prediction(question.id, [choice.letter for choice in choices], [choice.reason for choice in choices])
            )
        write_questions(questions_file(folder, benchmark), asked)
        write_lines_atomically(predictions_file(folder, benchmark), lines)
        scores[benchmark] = score(asked, predictions)
    write_evaluation(folder, EvaluationResults(EvaluatedModel(f"models/{name}"), {"num_samples": NUM_SAMPLES}, scores))


def time_completions() -> None:
    """Prints the time to extract answers from 10,000 completions and to score them."""
    asked = questions("medqa", 2_500, 4)
    rng = random.Random(0)
    texts = [list(itertools.islice(completions(question, 0.6, rng), NUM_SAMPLES)) for question in asked]
    start, start_cpu = time.perf_counter(), time.process_time()
    predictions = []
    for question, row in zip(asked, texts, strict=True):
        choices = [extract_choice(text, question.options) for text in row]
        predictions.append(
            Prediction(question.id, [choice.letter for choice in choices], [choice.reason for choice in choices])
        )
    extracted = time.process_time()
    score(asked, predictions)
    end, end_cpu = time.perf_counter(), time.process_time()
    mean = sum(len(text) for row in texts for text in row) / (len(texts) * NUM_SAMPLES)
    print(f"10,000 completions of {mean:.0f} characters: extracted in {extracted - start_cpu:.2f} s, ", end="")
    print(f"scored in {end_cpu - extracted:.2f} s of processor time; {end - start:.2f} s by the clock")


def time_hostile() -> None:
    """Prints the repeated pieces of text that take the extractor longest."""
    options = {"A": "Aspirin", "B": "Warfarin", "C": "Heparin", "D": "Clopidogrel"}
    seconds = {}
    for piece in HOSTILE:
        text = (piece * (HOSTILE_LENGTH // len(piece) + 1))[:HOSTILE_LENGTH]
        start = time.process_time()
        extract_choice(text, options)
        seconds[piece] = time.process_time() - start
    slowest = sorted(seconds, key=lambda piece: -seconds[piece])[:5]
    print(f"{HOSTILE_LENGTH} characters, {len(HOSTILE)} texts, the slowest:")
    for piece in slowest:
        print(f"{seconds[piece]:.2f} s  {piece!r}")


def measure_coverage() -> None:
    """Prints how many intervals contain the true accuracy, lie below it and lie above it."""
    for num_questions, num_samples, accuracy, duplicate_rate in COVERAGE:
        rng = np.random.default_rng(0)
        num_copies = round(num_questions * duplicate_rate)
        clusters = [*range(num_questions - num_copies), *range(num_copies)]
        intervals = []
        for number in range(NUM_BENCHMARKS):
            chances = rng.beta(2 * accuracy, 2 * (1 - accuracy), size=num_questions - num_copies)
            scores = rng.binomial(num_samples, chances[clusters]) / num_samples
            intervals.append(clustered_bootstrap_interval(scores, clusters, seed=number, num_resamples=2_000))
        below = sum(interval.high < accuracy for interval in intervals) / NUM_BENCHMARKS
        above = sum(interval.low > accuracy for interval in intervals) / NUM_BENCHMARKS
        print(
            f"{num_questions} questions x {num_samples}, accuracy {accuracy}, {duplicate_rate:.0%} duplicates: ", end=""
        )
        print(f"{1 - below - above:.1%} contain it, {below:.1%} lie below, {above:.1%} above", flush=True)


def time_report(num_models: int, num_questions: int, folder: Path) -> None:
    """Prints the time from predictions on disk to the report page."""
    skills = [0.55, 0.62, 0.5, *(0.3 + 0.01 * number for number in range(num_models))][:num_models]
    for number, skill in enumerate(skills):
        write_model(folder / f"model-{number:02d}", f"model-{number:02d}", skill, num_questions)
    size = sum(file.stat().st_size for file in folder.rglob("*.jsonl")) / 2**20
    paths = PathsConfig(**dict.fromkeys(PathsConfig.__dataclass_fields__, str(folder)))
    extras = ExtrasConfig(**dict.fromkeys(ExtrasConfig.__dataclass_fields__))  # type: ignore[arg-type]
    config = CompareConfig(
        task_name="compare",
        runs=[str(folder)],
        study=None,
        wandb=None,
        baseline=None,
        num_examples=5,
        output_dir=str(folder / "report"),
        paths=paths,
        extras=extras,
    )
    start, start_cpu = time.perf_counter(), time.process_time()
    page = compare(config)
    print(f"{num_models} models, ten benchmarks, {num_questions} questions x {NUM_SAMPLES}, {size:.0f} MiB: ", end="")
    print(
        f"{time.perf_counter() - start:.1f} s by the clock, {time.process_time() - start_cpu:.1f} s of processor time"
    )
    print(page, f"{page.stat().st_size / 1024:.0f} KiB")


def main() -> None:
    """Runs one of the measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["completions", "hostile", "coverage", "report"])
    parser.add_argument("--num-models", type=int, default=3)
    parser.add_argument("--num-questions", type=int, default=8_000)
    parser.add_argument("--keep", type=Path, help="a folder for the evaluations and the page")
    arguments = parser.parse_args()
    measurements = {"completions": time_completions, "hostile": time_hostile, "coverage": measure_coverage}
    if arguments.what in measurements:
        measurements[arguments.what]()
        return
    with tempfile.TemporaryDirectory() as temporary:
        time_report(arguments.num_models, arguments.num_questions, arguments.keep or Path(temporary))


if __name__ == "__main__":
    main()
