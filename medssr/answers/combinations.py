"""Reads a combination, however it is worded: "dapsone + rifampicin" for the option "Rifampicin and dapsone"."""

import re
from functools import lru_cache

from medssr.answers.cleaned_text import OptionTable, Page

_LEAD = re.compile(
    r"(?:(?:a|an|the|both|combined|combination|dual|triple|concurrent|therapy|treatment|regimen|use|of|with"
    r"|using)\s){1,6}"
)
_JOINER = (
    r"\s?(?:,|\+|&|/|;)\s?(?:(?:and|plus|with)\s)?(?:the\s|an?\s)?"
    r"|,?\s(?:in combination with|combined with|together with|along with|as well as|in addition to|added to|followed by"
    r"|and then|then|and also|and|plus|with"
    r"|und|mit|et|avec|y|con|e|com|en|met|и|和|加)\s(?:the\s|an?\s)?|\s?[和加与联]合?\s?"
)
JOINED_BY = re.compile(_JOINER)
_LETTERS = re.compile(
    r"(?:both\s)?\(?[a-z]\)?(?:(?:,\s(?:and\s)?|\s?(?:and|\+|&|plus|with)\s?)\(?[a-z](?![a-z0-9])\)?){1,4}"
)
_LONE_LETTER = re.compile(r"(?<![a-z])[a-z](?![a-z])")
_ALL = re.compile(
    r"all(?:\s(?:of\s(?:them|these|those|the\sabove)|three|four|the\sabove))?(?=\s*(?:[.,;!)]|\Z|\n|are\s))"
)
_ALL_TEXT = re.compile(r"all\s(?:of\sthe|the|of\sthese|of\sthose)")
_LETTER_OF_PART = re.compile(r"\s\([a-z]\)")
_WORD = re.compile(r"\s?[a-z][a-z-]{1,13}\s(?=[a-z])")
_BOTH = re.compile(r"both(?:\sof\s(?:them|these|those|the\sabove))?(?=\s*(?:[.,;!)]|\Z|\n))")
_BOTH_AT_END = re.compile(
    r"(?<![a-z])both(?:\s(?:of\sthem|drugs|agents|medications|treatments|options|measures|are\s[a-z]+))?\Z"
)
_TEXT_OF_LETTERS = re.compile(r"(?:both )?\(?([a-z])\)? (?:and|&|\+) \(?([a-z])\)?")
_PART_END = re.compile(r"(?![a-z0-9])")
_SHORTEST_PART = 3  # characters: "1 and 3" and "A and B" are no combinations
_MOST_PARTS = 8


def combination_at(page: Page, position: int) -> tuple[str, int] | None:
    """Returns the letters of the option that has the parts named here, and where they end."""
    everything = _ALL.match(page.low, position) if page.low.startswith("all", position) else None
    if everything:
        return next(
            ((key, everything.end()) for text, key in page.options.letters_of.items() if _ALL_TEXT.match(text)), None
        )
    letters_of, parts = _combinations(page.options)
    if not letters_of:
        return None
    both = _BOTH.match(page.low, position) if len(letters_of) == 1 else None
    if both:
        return next(iter(letters_of.values())), both.end()
    lettered = _LETTERS.match(page.low, position)
    if lettered:
        texts = frozenset(_text_of(page.options, letter.upper()) for letter in _LONE_LETTER.findall(lettered[0]))
        return (letters_of[texts], lettered.end()) if texts in letters_of else None
    lead = _LEAD.match(page.low, position)
    named: set[str] = set()
    end, start = position, lead.end() if lead else position
    for _ in range(_MOST_PARTS):
        part = _part_at(page.low, start, parts)
        if part is None and named:  # "ceftriaxone and oral azithromycin"
            word = _WORD.match(page.low, start)
            start = word.end() if word else start
            part = _part_at(page.low, start, parts)
        if part is None or not _PART_END.match(page.low, start + len(part)):
            break
        named.add(part)
        end = start + len(part)
        letter = _LETTER_OF_PART.match(page.low, end)
        end = letter.end() if letter else end
        joiner = JOINED_BY.match(page.low, end)
        if joiner is None and (word := _WORD.match(page.low, end)):  # "ceftriaxone IM and azithromycin"
            joiner = JOINED_BY.match(page.low, word.end() - 1)
        if joiner is None and page.low.startswith("-", end):
            start = end + 1
            continue
        if joiner is None:
            break
        start = joiner.end()
    letters = letters_of.get(frozenset(named)) if len(named) > 1 else None
    return (letters, end) if letters else None


def has_combinations(options: OptionTable) -> bool:
    """Returns whether an option combines others: "Both A and B", "Aspirin and heparin"."""
    return bool(_combinations(options)[0])


def combination_in(page: Page, start: int, end: int) -> str | None:
    """Returns the letter of the combination that a sentence names anywhere: "start dapsone with rifampicin"."""
    letters_of, parts = _combinations(page.options)
    if len(letters_of) == 1 and _BOTH_AT_END.search(page.low, start, end):
        return next(iter(letters_of.values()))
    lettered = combination_at(page, start)
    if lettered and len(lettered[0]) == 1:
        return lettered[0]
    first = min((at for at in (page.low.find(part, start, end) for part in parts) if at >= 0), default=-1)
    combined = combination_at(page, first) if first >= 0 else None
    return combined[0] if combined and len(combined[0]) == 1 else None


def _part_at(low: str, position: int, parts: tuple[str, ...]) -> str | None:
    return next((part for part in parts if low.startswith(part, position)), None)


def _text_of(options: OptionTable, letter: str) -> str:
    return next((text for text, letters in options.letters_of.items() if letter in letters), "")


@lru_cache(maxsize=4096)
def _combinations(options: OptionTable) -> tuple[dict[frozenset[str], str], tuple[str, ...]]:
    """Returns the letters of each set of parts, and all parts, the longest first."""
    letters_of: dict[frozenset[str], str] = {}
    for text, letters in options.letters_of.items():
        by_letter = _TEXT_OF_LETTERS.fullmatch(text)
        if by_letter:
            key = frozenset(_text_of(options, letter.upper()) for letter in by_letter.groups())
            letters_of[key] = letters_of.get(key, "") + letters
            continue
        lead = _LEAD.match(text)
        parts = [part for part in JOINED_BY.split(text[lead.end() if lead else 0 :]) if part]
        if len(parts) > 1 and all(len(part) >= _SHORTEST_PART and part[0].isalpha() for part in parts):
            key = frozenset(parts)
            letters_of[key] = letters_of.get(key, "") + letters
    return letters_of, tuple(sorted({part for key in letters_of for part in key if part}, key=len, reverse=True))
