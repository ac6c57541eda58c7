"""Reads numbered statements: "statements I and III are correct" for the option "I and III", "only II" for "II only"."""

import re
from functools import lru_cache

from medssr.answers.cleaned_text import OptionTable

_NUMERAL = r"(?:iii|ii|iv|ix|i|viii|vii|vi|v|[1-9])(?![a-z0-9]|[.,][0-9]|%)"
_LIST = rf"\(?{_NUMERAL}\)?(?:(?:,? ?(?:and|&|\+|und|et|y|e) |, ?)\(?{_NUMERAL}\)?)*"
_NAMED = re.compile(_NUMERAL)
_OPTION = re.compile(
    rf"(?P<only>only )?(?:statements? |both )?(?P<list>{_LIST})(?P<alone> only| alone)?(?: (?:are|is) correct)?"
)
_MENTION = re.compile(
    rf"(?<![a-z0-9.,-])(?P<only>only |just )?(?P<noun>(?:(?:all )?(?:two|three|four|five) )?(?:statements?|items?"
    rf"|assertions?) )?"
    rf"(?P<both>both )?\(?(?P<list>{_LIST})\)?(?P<alone> only| alone)?"
)

_ALL = re.compile(  # "all three are correct"; how many there are, the options tell
    r"(?<![a-z])all(?: (?:of the )?(?:two|three|four|five|[2-5]|the))?(?: statements| items| of them| of these)?"
    r"(?=\s*[.!]|\s*\Z| (?:are|were) (?:correct|true|right|valid))"
)


@lru_cache(maxsize=4096)
def _options(options: OptionTable) -> dict[frozenset[str], str]:
    """Returns the letter of each option that lists numbered statements; none where no option lists several."""
    letter_by_statements: dict[frozenset[str], str] = {}
    is_list = False
    for text, letters in options.letters_of.items():
        option = _OPTION.fullmatch(text)
        if option and len(letters) == 1:
            numerals = frozenset(_NAMED.findall(option["list"]))
            is_list |= len(numerals) > 1 or bool(option["only"] or option["alone"])
            letter_by_statements.setdefault(numerals, letters)
    return letter_by_statements if is_list and len(letter_by_statements) > 1 else {}


def statements_at(options: OptionTable, low: str, position: int) -> tuple[str, int] | None:
    """Returns the letter of the option with the statements listed at a position of a text, and where the list ends."""
    letter_by_statements = _options(options)
    if not letter_by_statements:
        return None
    all_of_them = _ALL.match(low, position)
    if all_of_them:
        letter = _letter_of_all(letter_by_statements)
        return (letter, all_of_them.end()) if letter else None
    mention = _MENTION.match(low, position)
    letter = _letter(letter_by_statements, mention) if mention else None
    return (letter, mention.end()) if letter and mention else None


def mentions_of_statements(options: OptionTable, text: str) -> list[tuple[int, int, str]]:
    """Returns start, end and letter of each list of statements in a text that an option has."""
    letter_by_statements = _options(options)
    if not letter_by_statements:
        return []
    low = text.lower()
    mentions = [(mention, _letter(letter_by_statements, mention)) for mention in _MENTION.finditer(low)]
    mentions += [(mention, _letter_of_all(letter_by_statements)) for mention in _ALL.finditer(low)]
    return sorted((*mention.span(), letter) for mention, letter in mentions if letter)


def _letter_of_all(letter_by_statements: dict[frozenset[str], str]) -> str | None:
    return letter_by_statements.get(frozenset().union(*letter_by_statements))


def _letter(letter_by_statements: dict[frozenset[str], str], mention: re.Match[str]) -> str | None:
    numerals = frozenset(_NAMED.findall(mention["list"]))
    is_marked = len(numerals) > 1 or mention["only"] or mention["noun"] or mention["alone"]
    return letter_by_statements.get(numerals) if is_marked else None
