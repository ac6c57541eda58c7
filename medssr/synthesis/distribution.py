"""The distribution of the accepted questions beside the requested one, counted in constant memory."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from medssr.questions import Question
from medssr.questions.specialty import specialty
from medssr.utils.files import write_json_atomically, write_lines_atomically

_NUM_TOP_ENTITIES = 10
# A chi-square test needs an expected count of at least five at each position.
_MIN_EXPECTED = 5


class Distribution:
    """Counts the accepted questions.

    Args:
        rare_share: The requested fraction of questions with injected knowledge.
    """

    def __init__(self, rare_share: float) -> None:
        self._rare_share = rare_share
        self._num_questions = 0
        self._num_injected = 0
        self._is_rare: Counter[bool | None] = Counter()
        self._specialties: Counter[str] = Counter()
        self._stem_words: Counter[int] = Counter()
        self._option_words: Counter[int] = Counter()
        self._num_options: Counter[int] = Counter()
        self._answers: Counter[str] = Counter()
        self._expected_answers: dict[str, float] = defaultdict(float)
        self._entities: Counter[str] = Counter()

    def add(self, question: Question) -> None:
        """Counts one question; where its provenance holds the truth, its position too."""
        self._num_questions += 1
        self._num_injected += bool(question.provenance.get("is_injected"))
        self._is_rare[question.is_rare] += 1
        self._specialties[specialty(question)] += 1
        self._stem_words[len(question.stem.split())] += 1
        self._option_words.update(len(text.split()) for text in question.options.values())
        self._num_options[len(question.options)] += 1
        if question.entity is not None:
            self._entities[question.entity] += 1
        truth = question.provenance.get("truth")
        if truth is not None:
            self._answers[truth] += 1
            for letter in question.options:
                self._expected_answers[letter] += 1 / len(question.options)

    def record(self) -> dict[str, Any]:
        """Returns the counts and the statistics of them, for JSON."""
        total = self._num_questions
        return {
            "num_questions": total,
            "rare_share": {
                "asked": self._rare_share,
                "injected": _fraction(self._num_injected, total),
                "is_rare": _fraction(self._is_rare[True], total),
                "is_not_rare": _fraction(self._is_rare[False], total),
                "is_rare_unknown": _fraction(self._is_rare[None], total),
            },
            "specialty": dict(self._specialties.most_common()),
            "stem_words": _summary(self._stem_words),
            "option_words": _summary(self._option_words),
            "num_options": {str(size): self._num_options[size] for size in sorted(self._num_options)},
            "answer_position": self._answer_position(),
            "entities": self._entity_use(),
        }

    def write(self, directory: Path) -> None:
        """Writes `distribution.json` and the same in a table, `distribution.md`."""
        record = self.record()
        write_json_atomically(directory / "distribution.json", record)
        write_lines_atomically(directory / "distribution.md", markdown_lines(record))

    def _answer_position(self) -> dict[str, Any]:
        """Returns how often each letter is right, and the p-value of a chi-square test for equal chances."""
        from scipy.stats import chisquare

        letters = sorted(self._expected_answers)
        observed = [self._answers[letter] for letter in letters]
        expected = [self._expected_answers[letter] for letter in letters]
        is_testable = len(letters) > 1 and min(expected) >= _MIN_EXPECTED
        return {
            "num_known": sum(observed),
            "counts": dict(zip(letters, observed, strict=True)),
            "chi_square_p": round(float(chisquare(observed, expected).pvalue), 4) if is_testable else None,
        }

    def _entity_use(self) -> dict[str, Any]:
        repeats = Counter(self._entities.values())
        return {
            "num_questions": self._entities.total(),
            "num_distinct": len(self._entities),
            "num_entities_by_questions": {str(count): repeats[count] for count in sorted(repeats)},
            "most_used": dict(self._entities.most_common(_NUM_TOP_ENTITIES)),
        }


def markdown_lines(record: Mapping[str, Any]) -> Iterator[str]:
    """Yields the lines of a table of the requested and the achieved distribution."""
    total, rare, position = record["num_questions"], record["rare_share"], record["answer_position"]
    yield f"# Distribution of {total} questions"
    yield ""
    yield "| what | asked | achieved |"
    yield "|---|---|---|"
    yield f"| knowledge injected | {rare['asked']:.1%} | {rare['injected']:.1%} |"
    yield f"| about a rare disease | | {rare['is_rare']:.1%}, unknown {rare['is_rare_unknown']:.1%} |"
    for name, label in (("stem_words", "words of a stem"), ("option_words", "words of an option")):
        words = record[name]
        yield f"| {label} | | median {words['median']}, {words['min']} to {words['max']}, mean {words['mean']} |"
    yield f"| options | | {_listed(record['num_options'])} |"
    test = "not tested" if position["chi_square_p"] is None else f"p = {position['chi_square_p']} for equal chances"
    counts = f"{_listed(position['counts'])} of {position['num_known']} known"
    yield f"| position of the right option | equal | {counts}, {test} |"
    entities = record["entities"]
    uses = max(map(int, entities["num_entities_by_questions"]), default=0)
    used = f"{entities['num_distinct']} in {entities['num_questions']} questions, each at most {uses} times"
    yield f"| entities | | {used} |"
    for name, count in record["specialty"].items():
        yield f"| {name} | | {_fraction(count, total):.1%} |"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in counts.items()) or "none"


def _summary(counts: Mapping[int, int]) -> dict[str, float]:
    """Returns mean, extremes and quartiles of the values counted."""
    values, total = sorted(counts), sum(counts.values())
    if not total:
        return {"mean": 0.0, "min": 0, "quartile_1": 0, "median": 0, "quartile_3": 0, "max": 0}

    def quantile(fraction: float) -> int:
        seen = 0
        for value in values:
            seen += counts[value]
            if seen >= fraction * total:
                return value
        return values[-1]

    return {
        "mean": round(sum(value * counts[value] for value in values) / total, 1),
        "min": values[0],
        "quartile_1": quantile(0.25),
        "median": quantile(0.5),
        "quartile_3": quantile(0.75),
        "max": values[-1],
    }


def _fraction(part: int, total: int) -> float:
    return round(part / total, 4) if total else 0.0
