"""A text together with the options of its question, and the option text that stands at a given place."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

from medssr.answers.cleaning import plain_characters, without_markup

_LETTERED_START = re.compile(r"(?:\n[\s#>|-]{0,8}|[.;!?,)\"]\s{1,2})(?:[Oo]ption )?\(?([A-Z])[).:\]](?=\s)")
_TEXT_END = re.compile(r"(?![a-z0-9]|[-/][a-z0-9]|[.,][0-9]|%)")


@dataclass(frozen=True, slots=True)
class OptionTable:
    """The options of a question, as they are looked up: letters, and normalised texts, the longest first."""

    letters: str
    letters_of: dict[str, str]  # option text -> the letters that have it
    texts: tuple[str, ...]

    @property
    def longest(self) -> int:
        """The length of the longest option text."""
        return len(self.texts[0]) if self.texts else 0


@dataclass(frozen=True)
class Page:
    """A text as written (`raw`) and in lower case (`low`), character by character alike, with its options."""

    raw: str
    low: str
    options: OptionTable

    @cached_property
    def heads(self) -> list[int]:
        """Where the letters stand that head a line or a sentence on one option: "A. ...", "- Option B: ..."."""
        found = _LETTERED_START.finditer("\n" + self.raw)
        return [match.start(1) - 1 for match in found if match[1] in self.options.letters]

    @cached_property
    def walk_end(self) -> int:
        """Where a walk through the options, which discusses all and chooses none, has its last head; -1 without one."""
        letters = [self.raw[head] for head in self.heads]
        is_walk = len(letters) > 1 and all(first < second for first, second in pairwise(letters))
        return self.heads[-1] if is_walk else -1


def page_of(text: str, options: OptionTable) -> Page:
    """The page of a cleaned text."""
    return Page(text, text.lower(), options)


def option_table(options: Mapping[str, str]) -> OptionTable:
    """The table of a question's options, made once for all of its completions."""
    return _table(tuple(options.items()))


@lru_cache(maxsize=4096)
def _table(items: tuple[tuple[str, str], ...]) -> OptionTable:
    letters_of: dict[str, str] = {}
    for letter, text in items:
        key = option_text(text)
        if key:
            letters_of[key] = letters_of.get(key, "") + letter
    longest_first = tuple(sorted(letters_of, key=len, reverse=True))
    return OptionTable("".join(letter for letter, _ in items), letters_of, longest_first)


def option_text(text: str) -> str:
    """An option's text in the form in which it is looked for."""
    return " ".join(without_markup(plain_characters(text)).lower().split()).strip("\"'()[]{} .;,")


def is_letter_at(low: str, position: int) -> bool:
    """Whether a single letter of the alphabet stands here, not the start of a word."""
    char, following = low[position : position + 1], low[position + 1 : position + 2]
    return char.isascii() and char.isalpha() and not (following.isascii() and following.isalnum())


def text_at(page: Page, position: int) -> tuple[str, int] | None:
    """The letters of the longest option text that starts here, and where it ends."""
    for text in page.options.texts:
        if page.low.startswith(text, position):
            end = position + len(text)
        elif " " in text and (wrapped := _wrapped_end(page.low, position, text)):
            end = wrapped
        else:
            continue
        if _TEXT_END.match(page.low, end):
            return page.options.letters_of[text], end
    return None


def _wrapped_end(low: str, position: int, text: str) -> int | None:
    """Where the text ends if it stands here with other white space between its words."""
    for word in text.split(" "):
        while position < len(low) and low[position].isspace():
            position += 1
        if not low.startswith(word, position):
            return None
        position += len(word)
    return position
