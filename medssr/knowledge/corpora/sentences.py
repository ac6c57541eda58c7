"""Splits texts into sentences, and into pieces that end at sentence ends."""

from __future__ import annotations

import re
from collections.abc import Iterator

# A stop, with the quotes and brackets that close after it, before a blank; or an empty line.
_BREAK = re.compile(r"""[.!?]["'\u201d\u2019)\]]*\s+|\n[^\S\n]*\n\s*""")
_LONGEST_WORD = 40  # Characters that are looked at before a stop.
# What a stop follows within a sentence; and what only does so before a number. Not here is what often ends a sentence,
# such as "etc" or "mg".
_ABBREVIATIONS = re.compile(
    r"al|cf|dr|eds?|eg|esp|ie|incl|mr|mrs|ms|ph\.d|prof|resp|spp?|ssp|st|subsp|syn|viz|vs|(?:[a-z]\.)+[a-z]",
    re.IGNORECASE,
)
_BEFORE_NUMBERS = re.compile(r"approx|art|ca|ch|est|figs?|max|min|nos?|nr|pp?|refs?|sect|tab|vols?", re.IGNORECASE)


def split_sentences(text: str) -> list[str]:
    """Returns the sentences of a text, without the blanks around them.

    A stop ends no sentence before a small letter, after an abbreviation ("vs.", "Dr.", "e.g.") or after a person's
    initial; a decimal point has no blank behind it. An empty line ends a sentence without a stop.

    Example:
        >>> split_sentences("It affects 1.5% vs. 3% of adults. See Dr. J. Smith, e.g. Monday. Avoid vitamin D. Rest.")
        ['It affects 1.5% vs. 3% of adults.', 'See Dr. J. Smith, e.g. Monday.', 'Avoid vitamin D.', 'Rest.']
    """
    sentences = []
    start = 0
    for match in _BREAK.finditer(text):
        if match[0].count("\n") >= 2 or _ends_sentence(text, start, match):
            sentences.append(text[start : match.end()].strip())
            start = match.end()
    sentences.append(text[start:].strip())
    return [sentence for sentence in sentences if sentence]


def _ends_sentence(text: str, start: int, match: re.Match[str]) -> bool:
    """Returns whether the stop at `match` ends the sentence that begins at `start`."""
    if match.end() < len(text) and text[match.end()].islower():
        return False
    if match[0][0] != ".":
        return True
    before = text[max(start, match.start() - _LONGEST_WORD) : match.start()].split()
    if not before:
        return True
    word = before[-1].lstrip("(['\"\u201c\u2018")
    if _ABBREVIATIONS.fullmatch(word):
        return False
    if _BEFORE_NUMBERS.fullmatch(word) and text[match.end() : match.end() + 1].isdigit():
        return False
    # "J. Smith" and "Dr. J. Smith" go on; "vitamin D. Patients" does not.
    is_initial = len(word) == 1 and word.isupper()
    return not (is_initial and (len(before) == 1 or before[-2][0].isupper()))


def split_text(text: str, max_chars: int | None) -> list[str]:
    """Returns the text in pieces of at most `max_chars` characters that end at sentence ends.

    A sentence that is longer than a whole piece is cut at the last blank before the limit, or at the limit itself when
    it has no blank.

    Args:
        text: The text.
        max_chars: The most characters of a piece. None: the text is one piece.

    Example:
        >>> split_text("One is short. Two is short. Three.", 28)
        ['One is short. Two is short.', 'Three.']
    """
    if max_chars is None or len(text) <= max_chars:
        return [text]
    pieces: list[str] = []
    piece = ""
    for sentence in split_sentences(text):
        for part in _cut(sentence, max_chars):
            if piece and len(piece) + 1 + len(part) > max_chars:
                pieces.append(piece)
                piece = part
            else:
                piece = f"{piece} {part}" if piece else part
    return [*pieces, piece] if piece else pieces


def _cut(sentence: str, max_chars: int) -> Iterator[str]:
    rest = sentence.strip()
    while len(rest) > max_chars:
        blank = rest.rfind(" ", 1, max_chars + 1)
        end = blank if blank > 0 else max_chars
        yield rest[:end].rstrip()
        rest = rest[end:].lstrip()
    if rest:
        yield rest
