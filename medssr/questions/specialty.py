"""The medical specialty of a question, by the words of its text."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from functools import cache

import yaml

from medssr.questions import Question
from medssr.resources import RESOURCES
from medssr.text.words import fold

UNKNOWN = "unknown"
_WORD = re.compile(r"\w+")
_NUM_KEY_CHARS = 3


def specialty(question: Question) -> str:
    """Returns the specialty whose key words occur most in stem and entity, "unknown" where none or two lead.

    Where the provenance states one, it is that. Otherwise it is a rough guess that shows whether a set is lopsided, not
    a label; `resources/specialties.yaml` has the words.
    """
    if "specialty" in question.provenance:
        return str(question.provenance["specialty"])
    text = fold(f"{question.stem} {question.entity or ''}")
    matches = set()
    for word in _WORD.finditer(text):
        candidates = _beginnings().get(text[word.start() : word.start() + _NUM_KEY_CHARS], ())
        longest = next((pair for pair in candidates if text.startswith(pair[0], word.start())), None)
        if longest is not None:
            matches.add(longest)
    counts = Counter(name for _, name in matches).most_common(2)
    if not counts or (len(counts) == 2 and counts[0][1] == counts[1][1]):
        return UNKNOWN
    return counts[0][0]


@cache
def _beginnings() -> Mapping[str, list[tuple[str, str]]]:
    """Returns the key words by their first letters, the longest first, each with its specialty."""
    table: dict[str, list[str]] = yaml.safe_load((RESOURCES / "specialties.yaml").read_text(encoding="utf-8"))
    by_first_letters: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for name, words in table.items():
        for word in words:
            assert len(word) >= _NUM_KEY_CHARS, word
            by_first_letters[word[:_NUM_KEY_CHARS]].append((word, name))
    return {first: sorted(pairs, key=lambda pair: -len(pair[0])) for first, pairs in by_first_letters.items()}
