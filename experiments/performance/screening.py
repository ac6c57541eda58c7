"""Measures time and memory of the checks of synthetic questions, on random texts of realistic lengths.

python experiments/performance/screening.py contamination        43,000 questions against 9,000 benchmark stems
python experiments/performance/screening.py duplicates --num-questions 100000
python experiments/performance/screening.py filters
"""

from __future__ import annotations

import argparse
import random
import resource
import string
import time
from collections.abc import Callable, Iterator

from medssr.knowledge.corpora import Passage
from medssr.knowledge.facts import Entity
from medssr.knowledge.retrieval import Hit
from medssr.questions import Question
from medssr.synthesis.contamination import ContaminationIndex
from medssr.synthesis.duplicates import NearDuplicates
from medssr.synthesis.filters import FilterLimits, check_draft
from medssr.synthesis.generators import Draft
from medssr.synthesis.plan import Draw, SynthesisRequest
from medssr.text.words import EXAM_WORDS, FUNCTION_WORDS

# Numbers of words, in turn: a one-sentence question, a case, a long case.
STEM_WORDS = (10, 60, 120)
NUM_STEMS = 9_000


def texts(seed: int) -> Iterator[str]:
    """Yields endless stems: half function and exam words, half words with Zipf-distributed frequencies."""
    rng = random.Random(seed)
    letters = random.Random(0)
    vocabulary = ["".join(letters.choices(string.ascii_lowercase, k=8)) for _ in range(20_000)]
    weights = [1 / (rank + 50) for rank in range(len(vocabulary))]
    frequent = sorted(FUNCTION_WORDS | EXAM_WORDS)
    number = 0
    while True:
        half = STEM_WORDS[number % len(STEM_WORDS)] // 2
        words = rng.choices(frequent, k=half) + rng.choices(vocabulary, weights, k=half)
        rng.shuffle(words)
        yield f"{' '.join(words)}?"
        number += 1


def questions(count: int, seed: int) -> Iterator[Question]:
    """Yields questions with four options of two words."""
    source = texts(seed)
    for number in range(count):
        stem = next(source)
        words = stem.rstrip("?").split()
        options = {letter: " ".join(words[index : index + 2]) for index, letter in enumerate("ABCD")}
        yield Question(str(number), stem, options, None, "random")


def report(name: str, count: int, check: Callable[[Question], object]) -> None:
    """Prints the CPU seconds of `check` alone, and the peak memory of the process before and after."""
    before, seconds = _peak_mib(), 0.0
    for question in questions(count, seed=1):
        start = time.process_time()
        check(question)
        seconds += time.process_time() - start
    print(f"{name}: {count} questions, {seconds:.1f} s on one core, {1000 * seconds / count:.2f} ms each; ", end="")
    print(f"peak memory {before:.0f} MiB before, {_peak_mib():.0f} MiB after")


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Runs one of the measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["contamination", "duplicates", "filters"])
    parser.add_argument("--num-questions", type=int, default=43_000)
    arguments = parser.parse_args()
    count = arguments.num_questions
    if arguments.what == "contamination":
        source = texts(seed=0)
        start = time.process_time()
        index = ContaminationIndex(next(source) for _ in range(NUM_STEMS))
        print(f"index of {len(index)} stems: {time.process_time() - start:.1f} s")
        report("contamination", count, lambda question: index.check(question.stem))
    elif arguments.what == "duplicates":
        seen = NearDuplicates()
        report("duplicates", count, lambda question: (seen.find(question), seen.add(question)))
    else:
        limits = FilterLimits(4, 3, 300, 60, 12)
        source = texts(seed=2)
        hits = tuple(Hit(Passage(str(number), "title", next(source)), 1.0) for number in range(9))
        request = SynthesisRequest(0, Draw(0, 0.0, True, Entity("the disease", True), 0, (), 0), hits, "")

        def check(question: Question) -> object:
            return check_draft(Draft(question.stem, question.options, None, None, None), request, limits)

        report("filters, nine passages", count, check)


if __name__ == "__main__":
    main()
