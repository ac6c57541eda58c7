"""Reads a combination, however it is worded: "dapsone + rifampicin" for the option "Rifampicin and dapsone".

An option combines others by their texts, by their letters ("Both A and B", "Neither A nor B"), or as a whole ("All of
the above"). What an answer names together is that option, and no letter where the question has none such.
"""

import re
from functools import lru_cache

from medssr.answers.cleaned_text import OptionTable, Page
from medssr.answers.numerals import statements_at

_LEAD = re.compile(
    r"(?:(?:a|an|the|both|either|neither|combined|combination|dual|triple|concurrent|therapy|treatment|regimen|use|of"
    r"|with|using)\s){1,6}"
)
_JOINER = (
    r"\s?(?:,|\+|&|/|;)\s?(?:(?:and|plus|with|or|nor)\s)?(?:the\s|an?\s)?"
    r"|,?\s(?:in combination with|combined with|together with|along with|as well as|in addition to|added to|followed by"
    r"|and then|then|and also|and|plus|with"
    r"|und|mit|et|avec|y|con|e|com|en|met|и|和|加)\s(?:the\s|an?\s)?|\s?[和加与联]合?\s?"
)
JOINED_BY = re.compile(_JOINER)
_JOINED_OR = re.compile(rf"{_JOINER}|,?\s(?:or|nor)\s(?:the\s|an?\s)?")
_LETTERS = re.compile(
    r"(?:(?:options|choices|statements)\s)?(?:(?:both|either|neither)\s)?\(?[a-z]\)?"
    r"(?:(?:,\s(?:(?:and|or|nor)\s)?|\s?(?:and|or|nor|\+|&|plus|with|together with|along with"
    r"|as well as)\s?)\(?[a-z](?![a-z0-9])\)?){1,6}"
)
_LONE_LETTER = re.compile(r"(?<![a-z])[a-z](?![a-z])")
_OF_THEM = (
    r"(?:\sof\s(?:them|these|those|the\s(?:above|options|choices|two|three|four|others|first\stwo|listed))"
    r"(?!\s(?:is|are|can|could|would|may|might)\s?(?:n't|not|be\s)?\s?(?:wrong|false|incorrect|not|less|excluded"
    r"|unlikely|possible))"
    r"(?=\s*(?:[.,;!)]|\Z|\n|[a-z]+\s*[.!]|(?:is|are|can|could|may|occur|apply|applies)\s))"
    r"|(?:\sthe\sabove|\sthree|\sfour)?(?=\s*(?:[.,;!)]|\Z|\n|are\s|applies|apply|is\scorrect|is\sright)))"
)
_WHOLES = {
    kind: re.compile(rf"(?:{words}){_OF_THEM}")
    for kind, words in {
        "all": r"all|each|every\sone|every(?:thing)?(?:\s(?:listed|above))?",
        "none": r"none|neither(?:\sone)?|no\sone",
        "both": r"both(?:\s[a-z]+s(?:\stogether)?)?",
        "either": r"either(?:\s(?:one|drug|agent|option|treatment))?",
    }.items()
}
_WHOLE_START = ("all", "ea", "ev", "no", "ne", "bo", "ei")
_WHOLE_TEXTS = {
    "all": re.compile(r"all\s(?:of\sthe|the|of\sthese|of\sthose)"),
    "none": re.compile(r"(?:none|neither)(?:\sof\s(?:the|these|those|them).*)?"),
}
_LETTER_OF_PART = re.compile(r"\s\([a-z]\)")
# A word beside a part: "oral azithromycin"; not "clopidogrel, not aspirin", nor "(stop) metformin and start insulin".
_WORD = re.compile(
    r"\s?(?!(?:not|no|never|without|but|instead|rather|than|over|nicht|ohne|pas|sans|sin|non|senza"
    r"|start|begin|stop|switch|hold|avoid|discontinue|withhold|replace)\s)[a-z][a-z-]{1,13}\s(?=[a-z])"
)
_ADDED = re.compile(
    r"(?:\s?[+&]\s?|\s(?:plus|and|with|together with|combined with|along with)\s)(?:an?\s|the\s)?[a-z]{2}"
)
_COMMA = re.compile(r",\s?")
_BOTH_AT_END = re.compile(
    r"(?<![a-z])both(?:\s(?:of\sthem|drugs|agents|medications|treatments|options|measures|are\s[a-z]+))?\Z"
)
_TEXT_OF_LETTERS = re.compile(
    r"(both |either |neither )?(\(?[a-h]\)?(?:, ?\(?[a-h]\)?)*),? (and|&|\+|or|nor) \(?([a-h])\)?"
)
_PART_END = re.compile(r"(?![a-z0-9])")
_SHORTEST_PART = 3  # characters: "1 and 3" is no combination
_MOST_PARTS = 8
_KINDS = {"both": "and", "either": "or", "neither": "neither", "or": "or", "nor": "neither"}

_Groups = dict[tuple[str, frozenset[str]], str]


def combination_at(page: Page, position: int) -> tuple[str, int] | None:
    """Returns the letters of the option that has the parts named here, and where they end."""
    statements = statements_at(page.options, page.low, position)
    if statements:
        return statements
    groups, parts, wholes = _combinations(page.options)
    if wholes and page.low.startswith(_WHOLE_START, position):
        for kind, letters in wholes.items():
            whole = _WHOLES[kind].match(page.low, position)
            if whole:
                return letters, whole.end()
    if not groups:
        return None
    lettered = _LETTERS.match(page.low, position)
    if lettered:
        texts = frozenset(_text_of(page.options, letter.upper()) for letter in _LONE_LETTER.findall(lettered[0]))
        group = groups.get((_kind_of(lettered[0]), texts))
        return (group, lettered.end()) if group else None
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
        joiner = _JOINED_OR.match(page.low, end)
        if joiner is None and (word := _WORD.match(page.low, end)):  # "ceftriaxone IM and azithromycin"
            joiner = _JOINED_OR.match(page.low, word.end() - 1)
        if joiner is None and page.low.startswith("-", end):
            start = end + 1
            continue
        if joiner is None:
            break
        start = joiner.end()
    if len(named) < 2:
        return None
    group = groups.get((_kind_of(page.low[position:end]), frozenset(named)))
    return (group, end) if group else None


def combined(options: OptionTable, letters: str, kind: str) -> str | None:
    """Returns the letter of the one option that combines some others.

    Args:
        options: The options of the question.
        letters: Those that are combined.
        kind: How they are: "and", "or", or "neither".
    """
    groups, _, _ = _combinations(options)
    group = groups.get((kind, frozenset(_text_of(options, letter) for letter in letters))) if groups else None
    return group if group and len(group) == 1 else None


def is_part_with_more(page: Page, letter: str, end: int) -> bool:
    """Returns whether an option named here is a part of another one and more is added to it.

    "Metformin plus basal insulin" is more than the option "Metformin" where another option joins metformin and insulin;
    "aspirin, clopidogrel and warfarin" is more than aspirin where options join some of them.
    """
    _, parts, _ = _combinations(page.options)
    if not parts or _text_of(page.options, letter) not in parts:
        return False
    comma = _COMMA.match(page.low, end)
    listed = _part_at(page.low, comma.end(), parts) if comma else None
    end = comma.end() + len(listed) if comma and listed else end
    return _ADDED.match(page.low, end) is not None


def has_combinations(options: OptionTable) -> bool:
    """Returns whether an option combines others: "Both A and B", "Aspirin and heparin"."""
    return bool(_combinations(options)[0])


def combination_in(page: Page, start: int, end: int) -> tuple[str, int, int] | None:
    """Returns the letter of the combination that a sentence names, and where: "start dapsone with rifampicin"."""
    _, parts, wholes = _combinations(page.options)
    both = _BOTH_AT_END.search(page.low, start, end) if "both" in wholes else None
    if both:
        return wholes["both"], both.start(), end
    first = min((at for at in (page.low.find(part, start, end) for part in parts) if at >= 0), default=start)
    for position in (start, first):
        group = combination_at(page, position)
        if group and len(group[0]) == 1:
            return group[0], position, group[1]
    return None


def _part_at(low: str, position: int, parts: tuple[str, ...]) -> str | None:
    return next((part for part in parts if low.startswith(part, position)), None)


def _text_of(options: OptionTable, letter: str) -> str:
    return next((text for text, letters in options.letters_of.items() if letter in letters), "")


_KIND = re.compile(r"\A(both|either|neither)\s|\s(or|nor)\s")


def _kind_of(words: str) -> str:
    kind = _KIND.search(words)
    return _KINDS[kind[1] or kind[2]] if kind else "and"


@lru_cache(maxsize=4096)
def _combinations(options: OptionTable) -> tuple[_Groups, tuple[str, ...], dict[str, str]]:
    """Returns the letters of each group of parts, all parts with the longest first, and the letters of the wholes."""
    groups: _Groups = {}
    wholes: dict[str, str] = {}
    for text in options.own_texts:
        letters = options.letters_of[text]
        whole = next((kind for kind, pattern in _WHOLE_TEXTS.items() if pattern.match(text)), None)
        by_letter = _TEXT_OF_LETTERS.fullmatch(text)
        if by_letter:
            named = [*_LONE_LETTER.findall(by_letter[2]), by_letter[4]]
            key = (_kind_of(text), frozenset(_text_of(options, letter.upper()) for letter in named))
        elif whole and len(letters) == 1:
            wholes.setdefault(whole, letters)
            combining = "".join(groups.values())
            above = [letter for letter in options.letters[: options.letters.index(letters)] if letter not in combining]
            key = ("and" if whole == "all" else "neither", frozenset(_text_of(options, letter) for letter in above))
        else:
            lead = _LEAD.match(text)
            parts = [part for part in JOINED_BY.split(text[lead.end() if lead else 0 :]) if part]
            if len(parts) < 2 or not all(len(part) >= _SHORTEST_PART and part[0].isalpha() for part in parts):
                continue
            key = ("and", frozenset(parts))
        groups[key] = groups.get(key, "") + letters
    for kind, name in (("and", "both"), ("or", "either"), ("neither", "none")):
        pairs = [letters for (of, _), letters in groups.items() if of == kind]
        if len(pairs) == 1:
            wholes.setdefault(name, pairs[0])
    return groups, tuple(sorted({part for _, key in groups for part in key if part}, key=len, reverse=True)), wholes
