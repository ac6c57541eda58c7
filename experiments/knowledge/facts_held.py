"""Compares synthetic questions and their labels with the built-in facts.

    python experiments/knowledge/facts_held.py SWEEP

For each run in the sweep's folder (with generator=tiny_writer), the script prints how many questions have the right
answer among their options, how many labels are right, and how many drafts synthesis rejected.
"""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from medssr.knowledge.facts import Fact, builtin_common_diseases, builtin_rare_diseases, relations
from medssr.questions import Question, read_questions

# The fact that each stem asks for; None if the tables have none.
Facts = dict[str, Fact | None]


def facts_by_stem() -> Facts:
    """Returns each wording of each relation for each disease, with the fact that answers it."""
    return {
        stem.format(entity=entity.name): next((fact for fact in entity.facts if fact.relation == relation), None)
        for entity in [*builtin_rare_diseases(), *builtin_common_diseases()]
        for relation, wording in relations().items()
        for stem in wording.stems
    }


def verdict(question: Question, facts: Facts) -> str:
    """Returns how the options of the question compare with the tables."""
    if question.stem not in facts:
        return "no stem of the tables"
    fact = facts[question.stem]
    if fact is None:
        return "no fact to check"
    if fact.value not in question.options.values():
        return "not held"
    return "held, another right too" if {*fact.also_true} & {*question.options.values()} else "held"


def counted(questions: Iterable[Question], facts: Facts) -> dict[bool, Counter[str]]:
    """Returns counts of verdicts by whether a question has injected knowledge."""
    counts: dict[bool, Counter[str]] = defaultdict(Counter)
    for question in questions:
        counts[bool(question.provenance["is_injected"])][verdict(question, facts)] += 1
    return counts


def labels_right(questions: Iterable[Question], facts: Facts) -> Counter[tuple[bool, bool]]:
    """Returns the number of labels by (has injected knowledge, is right)."""
    counts: Counter[tuple[bool, bool]] = Counter()
    for question in questions:
        fact = facts.get(question.stem)
        if fact is not None and question.answer is not None:
            chosen = question.options[question.answer]
            counts[bool(question.provenance["is_injected"]), chosen in {fact.value, *fact.also_true}] += 1
    return counts


def main() -> None:
    """Prints the counts of each run."""
    facts = facts_by_stem()
    for file in sorted(Path(sys.argv[1]).glob("**/results.json")):
        results = json.loads(file.read_text(encoding="utf-8"))
        if "synthesize" not in results.get("artifacts", {}):
            continue
        written, labelled = (Path(results["artifacts"][step]) for step in ("synthesize", "pseudo_label"))
        counts = json.loads((written / "manifest.json").read_text(encoding="utf-8"))["counts"]
        print(results["run"], {name: counts[name] for name in ("num_questions", "num_unfilled", "rejected")})
        for is_injected, verdicts in counted(read_questions(written / "questions.jsonl"), facts).items():
            print("  with knowledge" if is_injected else "  without", dict(verdicts))
        print(
            "  labels (with knowledge, right):", dict(labels_right(read_questions(labelled / "questions.jsonl"), facts))
        )


if __name__ == "__main__":
    main()
