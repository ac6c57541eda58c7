"""Puts a sign in place of each option that a text names: clauses are then read whatever the options are called."""

import re
from functools import lru_cache

from medssr.answers.cleaned_text import OptionTable, Page
from medssr.answers.combinations import combined
from medssr.answers.lexicon import SMALL_TEXTS

_FIRST_SIGN = 0xE000  # of the characters for private use, one for each option
SIGN = "[\ue000-\ue019]"
SIGNS = re.compile(SIGN)
RUN = f"{SIGN}+"
RUNS = re.compile(RUN)


def names_another(page: Page, letter: str | None, start: int, end: int) -> bool:
    """Returns whether a part of a page names an option other than the one with the letter."""
    for text, letters in page.options.letters_of.items():
        if letters != letter and (len(text) > 2 or text in SMALL_TEXTS) and page.low.find(text, start, end) >= 0:
            return True
    by_letter = _mentions(page.options)[0].finditer(page.raw, start, end)
    return any(mention[0] != letter for mention in by_letter)


def with_signs(page: Page, start: int, end: int) -> str:
    """Returns the text in lower case with a sign in place of each option that is named by letter, text or both."""
    by_either = _mentions(page.options)[1]
    letters_of = page.options.letters_of
    signs = by_either.sub(lambda match: _sign(match[0], letters_of), page.raw[start:end])
    low = _SAME_TWICE.sub(r"\1", signs).lower()
    return _GROUP.sub(lambda match: _run(match, page.options), low)


_SAME_TWICE = re.compile(rf"({SIGN})(?:\s?[(\[,:.)]\s?|\)[.:]?\s|\s)(?:option |choice )?\1[)\]]?")
_NEXT = r"(?:the |an? |option |options |choice )*"
_GROUP = re.compile(
    rf"(?P<kind>both |either |neither )?{_NEXT}{SIGN}\)?(?:,\s?{_NEXT}{SIGN}\)?)*,?"
    rf"(?:\s(?P<joiner>and|or|nor|as well as|plus|along with|together with|&|\+)\s|\s?(?P<slash>[/+&])\s?)"
    rf"(?:(?:also|either|neither) )?{_NEXT}\(?{SIGN}(?!\.?\)? (?:is|was|isn't|has|does|would|can|cannot|will|should"
    rf"|makes|fits"
    rf"|acts)(?![a-z]))"
)


def _sign(named: str, letters_of: dict[str, str]) -> str:
    letter = letters_of.get(named.lower(), named if len(named) == 1 else "")
    return chr(_FIRST_SIGN + ord(letter) - ord("A")) if len(letter) == 1 else named


def _run(match: re.Match[str], options: OptionTable) -> str:
    """Returns the sign of the option that combines those named together, or else their signs in a row."""
    signs = "".join(SIGNS.findall(match[0]))
    is_neither = (match["kind"] or "").startswith("neither") or match["joiner"] == "nor"
    is_choice = match["joiner"] == "or"
    kind = "neither" if is_neither else "or" if is_choice else "and"
    letter = combined(options, letters_in(signs), kind)
    if letter:
        return chr(_FIRST_SIGN + ord(letter) - ord("A"))
    return ("not " if is_neither else "") + signs


_ARTICLE_END = (  # of "A patient", but not of "A is"
    r"(?!(?<=A) (?!(?:is|was|it|fits|makes|because|since|but|and|or|to|would|must|can|cannot|isn't|then|that|were"
    r"|seems|does|has|over|rather|instead|as|beats|plus|with|nor|after|for|in|of|on|at|by|from|when|if|so|yet|though"
    r"|although|while|whereas|about|against|be|being|earlier|first|initially|above|again|here|alone|are|looks|remains"
    r"|explains|causes|acts|covers|stands|wins|comes|without|doesn't|won't|had|should|could|might|may|cause"
    r"|cuz)\b)[a-z])"
)


# In front of a short text, such as "no", that ends the text or a line: "..., so no."
_SMALL_LEADS = (",", ":", ";", "[.]", "[>]", "so", "is", "be", "it", "to", "that", "'s")
_SMALL_LEAD = "(?:" + "|".join(f"(?<={lead} )" for lead in _SMALL_LEADS) + ")"


@lru_cache(maxsize=4096)
def _mentions(options: OptionTable) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Returns the pattern of a letter of the question, and the one of a letter or a text."""
    letters = "".join(letter for letter in options.letters if "A" <= letter <= "Z")
    texts = "|".join(re.escape(text) for text in options.texts if len(text) > 2 and text not in SMALL_TEXTS)
    by_letter = (  # the letter comes first, so that a search skips all else quickly
        rf"[{letters}](?<![A-Za-z0-9'/-].)(?![A-Za-z0-9/-]|'(?!s)){_ARTICLE_END}(?!(?<=I)[ ']|\. [a-z]{{3}})"
        if letters
        else "(?!)"
    )
    by_text = rf"|(?<![A-Za-z0-9])(?i:{texts})(?![A-Za-z0-9])" if texts else ""
    small = "|".join(text for text in options.texts if text in SMALL_TEXTS)
    by_small = rf"|{_SMALL_LEAD}(?i:{small})(?=[.!]?\s*(?:\Z|\n))" if small else ""
    return re.compile(by_letter), re.compile(by_letter + by_text + by_small)


def letters_in(signs: str) -> str:
    """Returns the letters of the options that some signs stand for."""
    return "".join(chr(ord(sign) - _FIRST_SIGN + ord("A")) for sign in signs)
