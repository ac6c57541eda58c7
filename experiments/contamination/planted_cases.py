"""Measures how many planted copies of benchmark stems are detected, and the false alarms between benchmarks.

python experiments/contamination/planted_cases.py FOLDER_OF_BENCHMARKS
"""

from __future__ import annotations

import argparse
import math
import random
import re
from collections.abc import Callable
from functools import partial
from itertools import permutations

import numpy as np

from medssr.benchmarks.reader import benchmark_files, load_benchmark
from medssr.questions import read_questions
from medssr.synthesis.contamination import ContaminationIndex
from medssr.toy.builtin_questions import EVALUATION_FILE, HUMAN_FILE
from medssr.utils.seeding import derive_seed

THRESHOLDS = (0.5, 0.55, 0.58, 0.6, 0.65, 0.7)
CHOSEN = 0.58
NUM_PER_CASE = 300
Edit = Callable[[str, random.Random], str | None]
Word = Callable[[str, random.Random], str]


def in_other_punctuation(stem: str, rng: random.Random) -> str:
    """Returns the stem with other punctuation at a third of its spaces."""
    return "".join(rng.choice([", ", "; ", " - ", " ... "]) if c == " " and rng.random() < 1 / 3 else c for c in stem)


def with_other_number(stem: str, rng: random.Random, how_many: int | None) -> str | None:
    """Returns the stem with changed numbers, or None if it has none."""
    matches = list(re.finditer(r"\d+", stem))
    if not matches:
        return None
    for match in sorted(rng.sample(matches, how_many or len(matches)), key=lambda match: -match.start()):
        number = rng.choice([str(value) for value in range(1, 100) if str(value) != match[0]])
        stem = stem[: match.start()] + number + stem[match.end() :]
    return stem


def with_a_fifth_replaced(stem: str, rng: random.Random, word: Word, scattered: bool, rounded: Callable) -> str:
    """Returns the stem with a fifth of its words, at least one, replaced."""
    words = stem.split()
    count = min(max(1, rounded(len(words) / 5)), len(words))
    start = rng.randrange(len(words) - count + 1)
    indices = rng.sample(range(len(words)), count) if scattered else range(start, start + count)
    for index in indices:
        words[index] = word(words[index], rng)
    return " ".join(filter(None, words))


def another_form(word: str, _rng: random.Random) -> str:
    """Returns a word with another ending."""
    return word[:-2] + "ing" if len(word) > 4 else word + "s"


def edits(stems: list[str]) -> dict[str, Edit]:
    """Returns the kinds of edits by name."""
    vocabulary = sorted({word for stem in stems for word in stem.split()})
    running = [word for stem in stems for word in stem.split()]
    any_word: Word = lambda _, rng: rng.choice(vocabulary)  # noqa: E731
    usual_word: Word = lambda _, rng: rng.choice(running)  # noqa: E731
    no_word: Word = lambda _, rng: ""  # noqa: E731
    fifth = partial(with_a_fifth_replaced, scattered=True, rounded=round)

    def inside(stem: str, rng: random.Random) -> str:
        return f"{' '.join(rng.choice(stems).split()[:30])}. {stem} Give the single best answer to this question."

    def part(stem: str, _rng: random.Random, start: float, end: float) -> str | None:
        words = stem.split()
        return " ".join(words[int(start * len(words)) : int(end * len(words))]) if len(words) >= 30 else None

    return {
        "exact": lambda stem, _: stem,
        "upper case": lambda stem, _: stem.upper(),
        "no punctuation": lambda stem, _: re.sub(r"[^\w\s]", "", stem),
        "blanks for punctuation": lambda stem, _: re.sub(r"[^\w\s]", " ", stem),
        "other punctuation": in_other_punctuation,
        "one number": partial(with_other_number, how_many=1),
        "all numbers": partial(with_other_number, how_many=None),
        "fifth: words of other stems": partial(fifth, word=any_word),
        "fifth: usual words": partial(fifth, word=usual_word),
        "fifth: other forms": partial(fifth, word=another_form),
        "fifth: dropped": partial(fifth, word=no_word),
        "fifth: in one run": partial(with_a_fifth_replaced, word=any_word, scattered=False, rounded=round),
        "fifth: run dropped": partial(with_a_fifth_replaced, word=no_word, scattered=False, rounded=round),
        "fifth, rounded up": partial(with_a_fifth_replaced, word=any_word, scattered=True, rounded=math.ceil),
        "(inside a longer question)": inside,
        "(first half, stems of 30 words)": partial(part, start=0.0, end=0.5),
        "(last half, stems of 30 words)": partial(part, start=0.5, end=1.0),
    }


def scores(index: ContaminationIndex, stems: list[str]) -> np.ndarray:
    """Returns the score of each stem, 0 if nothing matches."""
    matches = [index.check(stem) for stem in stems]
    return np.array([0.0 if match is None else match.score for match in matches])


def percent(values: np.ndarray, threshold: float) -> str:
    """Returns the percentage of values at or above the threshold."""
    return f"{(values >= threshold).mean():.1%}" if len(values) else "-"


def main() -> None:
    """Prints the tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--show-alarms", action="store_true", help="print every alarm between benchmarks")
    arguments = parser.parse_args()
    stems = {
        name: [question.stem for question in load_benchmark(path)]
        for name, path in benchmark_files(arguments.folder).items()
    }
    indexes = {name: ContaminationIndex(texts, threshold=min(THRESHOLDS)) for name, texts in stems.items()}
    copy_scores = planted(stems, indexes)
    alarms = {
        (asked, kept): scores(indexes[kept], stems[asked]) for asked, kept in permutations(stems, 2)
    } | builtin_alarms()
    print_tables(list(stems), copy_scores, alarms)
    if arguments.show_alarms:
        for (asked, kept), values in alarms.items():
            for index in np.flatnonzero(values >= CHOSEN) if asked in stems else ():
                match = indexes[kept].check(stems[asked][index])
                print(f"{asked} > {kept} {match.score:.2f}\n    {stems[asked][index][-400:]!r}\n    {match.stem!r}")


def planted(stems: dict[str, list[str]], indexes: dict[str, ContaminationIndex]) -> dict[tuple[str, str], np.ndarray]:
    """Returns the scores of planted copies by (edit, benchmark)."""
    copy_scores = {}
    for name, texts in stems.items():
        for edit, function in edits([stem for others in stems.values() for stem in others]).items():
            rng = random.Random(derive_seed(0, name, edit))
            chosen = rng.sample(texts, min(NUM_PER_CASE, len(texts)))
            copies = [copy for stem in chosen if (copy := function(stem, rng)) is not None]
            copy_scores[edit, name] = scores(indexes[name], copies)
    return copy_scores


def builtin_alarms() -> dict[tuple[str, str], np.ndarray]:
    """Returns the scores of built-in training questions against built-in evaluation questions about the same facts."""
    evaluation = [question.stem for question in read_questions(EVALUATION_FILE)]
    index = ContaminationIndex(evaluation, threshold=min(THRESHOLDS))
    return {
        ("built-in training", "built-in evaluation"): scores(index, [q.stem for q in read_questions(HUMAN_FILE)]),
    }


def print_tables(names: list[str], copy_scores: dict, alarms: dict) -> None:
    """Prints the detection rates at the chosen threshold, and alarms and lowest detection rates at each threshold."""
    print(f"Detected at the threshold {CHOSEN}:\n\n| copy | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for edit in dict.fromkeys(edit for edit, _ in copy_scores):
        print(f"| {edit} | {' | '.join(percent(copy_scores[edit, name], CHOSEN) for name in names)} |")
    print("\nAlarms:\n\n| questions of | index of |", " | ".join(map(str, THRESHOLDS)), "|")
    print(f"|---|---|{'---|' * len(THRESHOLDS)}")
    for (asked, kept), values in alarms.items():
        print(f"| {asked} | {kept} | {' | '.join(percent(values, threshold) for threshold in THRESHOLDS)} |")
    print(f"\nThe lowest detection rate:\n\n| | {' | '.join(map(str, THRESHOLDS))} |\n|---|{'---|' * len(THRESHOLDS)}")
    groups = {
        "case, punctuation, numbers": ("upper", "no p", "blanks", "other p", "one", "all"),
        "a fifth": ("fifth:",),
    }
    for group, starts in groups.items():
        values = [scored for (edit, _), scored in copy_scores.items() if edit.startswith(starts) and len(scored)]
        lowest = [f"{min((v >= threshold).mean() for v in values):.1%}" for threshold in THRESHOLDS]
        print(f"| {group} | {' | '.join(lowest)} |")


if __name__ == "__main__":
    main()
