"""Detects faults in the text of a question; each function returns the words at fault, or None."""

from __future__ import annotations

import re
from collections.abc import Iterable

from medssr.text.words import FUNCTION_WORDS, fold, singular, split_words

# A question mark with at most a remark after it; a last sentence that asks or starts like a question; an end that an
# option completes.
_AUXILIARY = (
    r"is|are|was|were|am|do|does|did|has|have|had|can|could|may|might|must|shall|should|will|would|isn't|aren't|doesn't"
)
_ASKS = re.compile(
    r"\?[^?]{0,200}$"
    r"|\b(?:which|what|who|whom|whose|when|where|why|how|identify|select|choose|name|match|determine|calculate|state"
    r"|suggest|decide|indicate|list|give)\b[^.!?]*[.:]?$"
    rf"|(?:^|[.!:]\s+)(?:{_AUXILIARY})\b[^.!?]*[.]?$"
    r"|(?:\b(?:is|are|was|were|be|by|to|of|with|in|for|from|as|the|an?|includes?|except(?: for)?(?: one)?[.]?)"
    r"|[:_\u2026-])$",
    re.IGNORECASE,
)
_LEAK = re.compile(
    r"\bcorrect (?:answer|option|choice)\b|\banswer\s*(?:is\b|:|=)|[(\[](?:correct|right answer)[)\]]"
    r"|\b(?:explanation|rationale|reasoning)\s*:|[\u2713\u2714\u2705]",
    re.IGNORECASE,
)
# Every match of the pattern above has one of these hints; the search for them is quick, and nearly all texts have none.
_LEAK_HINTS = ("answer", "correct", "explanation", "rationale", "reasoning", "\u2713", "\u2714", "\u2705")
_PICTURE = r"(?:figure|fig\.|image|photograph|photo|picture|graph|chart|diagram|table|tracing|illustration)s?"
_FIGURE = re.compile(
    "|".join(
        [
            rf"\b{_PICTURE} (?:\d|[a-d]\b|below|above|shown|provided|attached|(?:is|are) (?:shown|provided|attached))",
            rf"\b(?:see|refer to|shown in|depicted in) (?:(?:the|this|attached|accompanying|following) )*{_PICTURE}\b",
            rf"\b(?:following|accompanying|attached) {_PICTURE}\b",
            r"\b(?:is|are|as) (?:shown|depicted|pictured|illustrated)(?= ?[.,;:?)]|$)",
            r"\b(?:shown|depicted|pictured|illustrated) (?:here|below|above)\b",
            r"\bin the (?:image|picture|photograph|exhibit|figure)s?\b",
            r"\b(?:this|these) (?:image|picture|photograph|figure)s?\b",
            r"\bthe (?:image|picture|figure)s? (?:shows?|depicts?)\b",
            r"\blook(?:ing)? at (?:the|this|these) (?!patient)|\((?:figure|image|pictured|fig)\b|\bby the arrows?\b",
        ]
    ),
    re.IGNORECASE,
)
_FIGURE_HINTS = (
    "fig", "image", "photo", "pictur", "graph", "chart", "diagram", "table", "tracing", "illustrat", "shown", "depict",
    "exhibit", "look", "arrow",
)  # fmt: skip

# Each by itself: a pattern of one kind is searched for several times as fast as one of all kinds.
_GARBAGE = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # A character that stands for a lost one, a control or private character.
        "[\ufffd\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ue000-\uf8ff\ud800-\udfff]",
        # UTF-8 read as Latin-1.
        "\u00c3[\u0080-\u00bf]|\u00e2\u20ac",
        # Placeholders and markup.
        r"\{\{|\}\}|\{%|\{\w+\}|```|<\|?/?(?:passage|example|think|br|p|div|s|im_\w+)\b[^>]*>|\blorem ipsum\b",
        # A letter, and a word, over and over.
        r"([^\W\d_])\1{5}",
        r"\b(\w+)(?:\W+\1\b){3}",
    )
)
# Minima for English text: the fraction of Latin letters, and of English function words in a longer stem.
_MIN_LATIN = 0.8
_MIN_FUNCTION_WORDS = 0.1
_MIN_WORDS_TO_TELL = 8
# The parts that distinguish two options: words, numbers, and signs but for the hyphens within words.
_OPTION_PART = re.compile(
    r"[^\W\d_]+|\d+(?:[.,]\d+)*|[+<>=%\u2264\u2265\u00b1\u2191\u2193]|(?<![\w)\s])[-\u2212](?=\d)"
    r"|(?<=\s)[-\u2212](?=\d)|^[-\u2212](?=\d)|(?<=\w)[-\u2212](?!\w)"
)
_ARTICLE = re.compile(r"^(?:an?|the)\s+(?=\w{2})")


def asks_nothing(stem: str) -> str | None:
    """Returns the end of a stem that asks nothing and is no sentence for an option to complete."""
    stem = stem.strip()
    return None if stem.endswith("?") or _ASKS.search(stem) else f"ends in {stem[-60:]!r}"


def leaked_answer(text: str) -> str | None:
    """Returns words that speak of the right answer."""
    return _first(_LEAK, text) if _has_any(_LEAK_HINTS, text) else None


def missing_figure(text: str) -> str | None:
    """Returns words that point to a figure or table."""
    return _first(_FIGURE, text) if _has_any(_FIGURE_HINTS, text) else None


def garbage(text: str) -> str | None:
    """Returns garbled text: lost or wrongly decoded characters, markup, placeholders, a word over and over."""
    return next((repr(match) for pattern in _GARBAGE if (match := _first(pattern, text)) is not None), None)


def not_english(stem: str) -> str | None:
    """Returns how the text differs from English: letters of other scripts, too few English function words."""
    if not stem.isascii():
        letters = [char for char in stem if char.isalpha()]
        num_latin = sum(char < "\u0250" for char in letters)
        if num_latin < _MIN_LATIN * len(letters):
            return f"{num_latin} of {len(letters)} letters are Latin"
    words = split_words(stem)
    num_function = sum(word in FUNCTION_WORDS for word in words)
    if len(words) >= _MIN_WORDS_TO_TELL and num_function < _MIN_FUNCTION_WORDS * len(words):
        return f"{num_function} of {len(words)} words are English function words"
    return None


def option_key(option: str) -> str:
    """Returns a key that options share which differ in case, hyphens, apostrophes, plural or a leading article alone.

    Example:
        >>> option_key("The Ataxia-telangiectasia gene") == option_key("ataxia telangiectasia genes")
        True
        >>> option_key("CD4+"), option_key("CD4-"), option_key("1.5"), option_key("15")
        ('cd 4 +', 'cd 4 -', '1.5', '15')
    """
    parts = _OPTION_PART.findall(_ARTICLE.sub("", fold(option).strip()))
    key = ""
    for part in parts:
        is_joined = part.isalpha() and key[-1:].isalpha()
        key += singular(part) if is_joined else f" {singular(part)}"
    return key.strip() or option.strip()


def _has_any(hints: Iterable[str], text: str) -> bool:
    low = text.lower()
    return any(hint in low for hint in hints)


def _first(pattern: re.Pattern[str], text: str) -> str | None:
    match = pattern.search(text)
    return None if match is None else match[0]
