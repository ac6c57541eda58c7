"""Puts a sign in place of each option that a text names: clauses are then read whatever the options are called."""

import re
from functools import lru_cache

from medssr.answers import lexicon
from medssr.answers.cleaned_text import OptionTable, Page
from medssr.answers.combinations import combined
from medssr.answers.lexicon import SMALL_TEXTS, any_of
from medssr.answers.numerals import mentions_of_statements

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
    if mentions_of_statements(page.options, page.raw[start:end]):
        return True
    by_letter = _LETTER.finditer(page.raw, start, end)
    return any(mention[0] != letter and _is_option(mention, page.options) for mention in by_letter)


@lru_cache(maxsize=2)  # the end of an open text is read twice, for what it weighs and for what it concludes
def with_signs(page: Page, start: int, end: int) -> str:
    """Returns the text in lower case with a sign in place of each option that is named by letter, text or both."""
    letters_of = page.options.letters_of
    text = page.raw[start:end]
    for first, last, letter in reversed(mentions_of_statements(page.options, text)):
        text = text[:first] + _sign(letter) + text[last:]
    by_text = _texts(page.options)
    if by_text:
        text = by_text.sub(lambda match: _sign(letters_of.get(match[0].lower(), "")) or match[0], text)
    text = _LETTER.sub(lambda match: _sign(match[0]) if _is_option(match, page.options) else match[0], text)
    low = _SAME_TWICE.sub(r"\1", text).lower()
    return _GROUP.sub(lambda match: _run(match, page.options), low)


_SAME_TWICE = re.compile(
    rf"(?<!vs )(?<!vs. )(?<!versus )({SIGN})(?:\s?[(\[,:.)]\s?|\)[.:]?\s|\s)(?:option |choice )?\1[)\]]?"
)
_LONGEST_NAME = 16
_NEXT = r"(?:the |an? |option |options |choice )*"
_GROUP = re.compile(
    rf"(?P<kind>both |either |neither )?{_NEXT}{SIGN}\)?(?:,\s?{_NEXT}{SIGN}\)?)*,?"
    rf"(?:\s(?P<joiner>and|or|nor|as well as|plus|along with|together with|&|\+)\s|\s?(?P<slash>[/+&])\s?)"
    rf"(?:(?:also|either|neither) )?{_NEXT}\(?{SIGN}(?!\.?\)? (?:is|was|isn't|has|does|would|can|cannot|will|should"
    rf"|makes|fits"
    rf"|acts)(?![a-z]))"
)


def _is_option(mention: re.Match[str], options: OptionTable) -> bool:
    """Returns whether a capital letter names an option: no article, and no part of a name ("vitamin C", "group A")."""
    after = mention.string[mention.end() : mention.end() + 2]
    if mention[0] == "A" and after[:1] == " " and SIGNS.match(after[1:]) and after[1] != _sign("A"):
        return False  # "a lumbar puncture"
    before = mention.string[max(0, mention.start() - _LONGEST_NAME) : mention.start()]
    is_article = _ARTICLE.match(mention.string, mention.start()) and not _INSIDE.search(before)
    if mention[0] not in options.letters or is_article:
        return False
    return not before.endswith((" ", "-")) or before[:-1].rpartition(" ")[2].lower() not in _NAMING


def _sign(letter: str) -> str:
    return chr(_FIRST_SIGN + ord(letter) - ord("A")) if len(letter) == 1 else ""


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


_LETTER = re.compile(  # the letter comes first, so that a search skips all else quickly
    rf"[A-Z](?<![A-Za-z0-9'/-].)(?![A-Za-z0-9/-]|'(?!s))(?!(?<=I)[ ']|\. [a-z]{{3}}| {any_of(lexicon.NAMED_BEHIND)})"
)
_INSIDE = re.compile(  # in front of a capital "A" that is no article
    r"(?i:(?<![a-z])(?:while|whereas|although|though|than|that|because|since|but|and|or|over|both|either|only|option"
    r"|choice|opción|opção)) \Z"
)
_NAMING = frozenset(lexicon.NAMING_BEFORE)
_ARTICLE = re.compile(  # "A patient", but not "A is"
    r"A (?!(?:is|was|it|fits|makes|because|since|but|and|or|to|would|must|can|cannot|isn't|then|that|were"
    r"|seems|does|has|over|rather|instead|as|beats|plus|with|nor|after|for|in|of|on|at|by|from|when|if|so|yet|though"
    r"|although|while|whereas|about|against|be|being|earlier|first|initially|above|again|here|alone|are|looks|remains"
    r"|gets|es|est|ist|passt|stimmt|survives|through|followed|combined|preceded|together|along|the|my|our|slightly|most|more|best|now|first|too|also|still|really|clearly|seems|probably|definitely|certainly|today|overall|anyway|i|we|which|who|where"
    r"|explains|causes|acts|covers|stands|wins|comes|without|doesn't|won't|had|should|could|might|may|cause"
    r"|cuz)\b)[a-z]"
)


# In front of a short text, such as "no", that ends the text or a line: "..., so no."
_SMALL_LEADS = (",", ":", ";", "[.]", "[>]", "so", "is", "be", "it", "to", "that", "'s")
_SMALL_LEAD = "(?:" + "|".join(f"(?<={lead} )" for lead in _SMALL_LEADS) + ")"


@lru_cache(maxsize=4096)
def _texts(options: OptionTable) -> re.Pattern[str] | None:
    """Returns the pattern of an option's text."""
    texts = "|".join(re.escape(text) for text in options.texts if len(text) > 2 and text not in SMALL_TEXTS)
    small = "|".join(text for text in options.texts if text in SMALL_TEXTS)
    by_text = [rf"(?<![A-Za-z0-9])(?:{texts})(?![A-Za-z0-9])"] if texts else []
    by_small = [rf"{_SMALL_LEAD}(?:{small})(?=[.!]?\s*(?:\Z|\n)|,? (?:because|since|as)\b)"] if small else []
    return re.compile("|".join(by_text + by_small), re.IGNORECASE) if texts or small else None


def letters_in(signs: str) -> str:
    """Returns the letters of the options that some signs stand for."""
    return "".join(chr(ord(sign) - _FIRST_SIGN + ord("A")) for sign in signs)
