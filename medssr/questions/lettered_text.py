"""Options and their letters in texts: lettered lines below a stem, letters inside options, cues for the answer."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

LETTERS = string.ascii_uppercase

# The released benchmarks write "A. text" or "A) text". The others are tried where no line is of that kind.
_OPTION_LINES = tuple(
    re.compile(pattern)
    for pattern in (
        r"^\s*([A-Z])[.)]\s?(.*)$",
        r"^\s*[(\[]([A-Z])[)\]]\s?(.*)$",
        r"^\s*([A-Z])\s?[:\uff1a\u3001\uff0e]\s?(.*)$",
        r"^\s*[(\[]?([a-z])[.)\]]\s?(.*)$",
    )
)
_LINE_BEHIND_Z = re.compile(r"^\s*[(\[]?(?:AA|27)[.):\]]", re.MULTILINE)
# Of a text without blanks around it; possessive, so that a run of blanks is read once.
_LETTER_BEFORE = re.compile(r"(?:[(\[]\s*+)?([A-Za-z])\s*+[.):\]\uff1a\u3001\uff0e\uff09]\s*+(.+)", re.DOTALL)
_LONE_LETTER = re.compile(r"[(\[]?\s*([A-Za-z])\s*[.):\]]?")
_LONGEST_CUE = 100
# "Answer:", "The correct answer is:", "Answer: B" on a line of its own, and "Answer:" at the end of the last option.
_ANSWER = "answer|antwort|respuesta|r[ée]ponse|\u7b54\u6848"
_CUE = re.compile(
    rf"(?:(?:^|\n)[ \t*#_>]*(?:the\s+|your\s+)?(?:(?:correct|best|right|final)\s+)?(?:{_ANSWER})"
    r"(?:\s+is)?\s*[*_]*[:\uff1a]?[ \t*_]*[(\[]?[A-Z]?[)\].]?[*_]*"
    r"|\n[ \t*#_>]*(?:the\s+)?(?:correct|best|right)\s+(?:option|choice)(?:\s+is)?\s*[:\uff1a]?[*_]*"
    r"|\n[ \t*_>]*#{1,6}[ \t]*(?:response|solution)[ \t]*:?"
    r"|\n[ \t*_>]*(?:let(?:'|\u2019)s\s+think\s+step\s+by\s+step"
    r"|(?:please\s+)?(?:answer|respond|reply)\s+with\s+(?:only\s+)?(?:the|a|one|its|a\s+single)\s+(?:option\s+)?letter"
    r"[^\n]{0,60})[.:]?[*_]*"
    r"|\n[ \t]*A:"
    r"|[ \t]+Answer[ \t]*:)\s*\Z",
    re.IGNORECASE,
)


def parse_lettered_text(text: str) -> tuple[str, dict[str, str]]:
    r"""Returns the stem and the options of a text that ends in lettered lines.

    The options are the last run of lines A, B, C ... that reaches the end of the text: a stem may hold lettered lines
    of its own. A line without a letter continues the option above it. A cue behind the options ("Answer:") is dropped.

    Raises:
        ValueError: When no run of at least two options reaches the end.

    Example:
        >>> parse_lettered_text("Which organ?\nA. liver\nB. heart\nAnswer:")
        ('Which organ?', {'A': 'liver', 'B': 'heart'})
    """
    lines = _without_cue(text.rstrip()).split("\n")
    for pattern in _OPTION_LINES:
        starts = [(index, match) for index, line in enumerate(lines) if (match := pattern.match(line))]
        first = max((index for index, (_, match) in enumerate(starts) if match[1].upper() == "A"), default=None)
        if first is not None and len(starts) - first >= 2:
            break
    else:
        raise ValueError("no lettered options (lines that start with 'A. ', 'B. ', ...) at the end of the text")
    run = starts[first:]
    letters = [match[1].upper() for _, match in run]
    if letters != list(LETTERS[: len(letters)]):
        raise ValueError(f"the options are lettered {', '.join(letters)}, not A, B, C ... in order")
    ends = [index for index, _ in run[1:]] + [len(lines)]
    options = {
        letter: "\n".join([match[2], *lines[index + 1 : end]]).strip()
        for letter, (index, match), end in zip(letters, run, ends, strict=True)
    }
    if len(options) == len(LETTERS) and _LINE_BEHIND_Z.search(options["Z"]):
        raise ValueError(f"more than {len(LETTERS)} options (A to Z), which is more than can be asked")
    return "\n".join(lines[: run[0][0]]).strip(), options


def _without_cue(text: str) -> str:
    # From there on only, since a long run of blanks takes the expression the cube of its length.
    cue = _CUE.search(text, max(0, len(text) - _LONGEST_CUE))
    return text if cue is None else text[: cue.start()].rstrip()


def without_letters(texts: Sequence[str]) -> list[str]:
    """Returns the options without their letters, where all of them carry theirs: "A. x", "(B) y", "c: z".

    Example:
        >>> without_letters(["A. liver", "B. heart"]), without_letters(["A. baumannii", "E. coli"])
        (['liver', 'heart'], ['A. baumannii', 'E. coli'])
    """
    first = _LETTER_BEFORE.fullmatch(texts[0].strip()) if texts else None
    if first is None or first[1] not in "Aa":  # as in nearly all files
        return list(texts)
    matches = [_LETTER_BEFORE.fullmatch(text.strip()) for text in texts]
    letters = [match[1].upper() for match in matches if match is not None]
    if len(texts) < 2 or letters != list(LETTERS[: len(texts)]):
        return list(texts)
    return [match[2].strip() for match in matches if match is not None]


def lone_letter(text: str) -> str | None:
    """Returns the letter that a text consists of, "B", "(b)", "B."; None for any other.

    Example:
        >>> lone_letter(" (b) "), lone_letter("B. liver")
        ('B', None)
    """
    match = _LONE_LETTER.fullmatch(text.strip())
    return None if match is None else match[1].upper()
