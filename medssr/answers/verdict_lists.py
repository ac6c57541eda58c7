"""Reads a list or table that gives each option a verdict or a mark of its own, and calls one of them right."""

import re

from medssr.answers.choice import Decision, Reason
from medssr.answers.cleaned_text import Page

_RIGHT_MARK = r"(?:[✅✔✓☑●]|[\[(][x✓✔][\])])"
_WRONG_MARK = r"(?:[❌✗✘✖❎☐○]|[\[(] ?[\])])"
_LINE = re.compile(
    rf"^[\s#>|*-]{{0,8}}(?:(?P<right>{_RIGHT_MARK})|(?P<wrong>{_WRONG_MARK}))?\s{{0,2}}"
    rf"(?:option )?\(?(?P<letter>[a-z])(?:[).:\]]| ?\|| ?-(?= |yes|no)|(?= (?:{_RIGHT_MARK}|{_WRONG_MARK}))"
    rf"|(?=[ \t]*$))(?P<rest>[^\n]*)$",
    re.MULTILINE,
)
_END = r"[\s.!|)\]]{0,9}\Z"
_ENDS_RIGHT = re.compile(
    rf"(?:(?<![a-z])(?<!not )(?:correct|right|true|yes|t|y|correct answer|(?:very|most|highly) likely)"
    rf"|{_RIGHT_MARK}){_END}"
)
_ENDS_WRONG = re.compile(
    rf"(?:(?<![a-z])(?:incorrect|not correct|wrong|false|no|f|n|(?:very |highly )?unlikely|(?:less|least) likely)"
    rf"|{_WRONG_MARK}){_END}"
)
_STARTS_RIGHT = re.compile(rf"[\s|:-]{{0,5}}(?:{_RIGHT_MARK}|(?:yes|true|correct|right)(?= ?[.,:;!|-]))")
_STARTS_WRONG = re.compile(rf"[\s|:-]{{0,5}}(?:{_WRONG_MARK}|(?:no|false|incorrect|wrong)(?= ?[.,:;!|-]))")
_IS_MARKED = re.compile(rf"{_RIGHT_MARK}|\(correct\)|(?:<|←|<-|is the) ?-?(?:the )?correct(?: answer)?{_END}")
_REACH = 40
# With one of which each right mark and word begins, or has its sign.
_RIGHT_SIGNS = (*"✅✔✓☑●", "[x", "(x", "correct", "right", "true", "yes")
_INLINE = re.compile(
    rf"(?<![a-z0-9])([a-z])[).:]{{0,2}}\s?(?:({_RIGHT_MARK}|(?:correct|right|true|yes)(?![a-z]))"
    rf"|{_WRONG_MARK}|(?:incorrect|wrong|false|no)(?![a-z]))"
)


def verdict_list(page: Page) -> Decision | None:
    """Reads a verdict on each option, where one alone is right."""
    return _judged_line_by_line(page) or _marked_in_line(page)


def _judged_line_by_line(page: Page) -> Decision | None:
    """Reads "A. Aspirin: false", "B. Warfarin: true" ..., one line an option."""
    verdicts: dict[str, bool | None] = {}
    marked = ""
    for line in _LINE.finditer(page.low):
        letter = line["letter"].upper()
        if letter not in page.options.letters:
            continue
        if letter in verdicts:
            return None
        verdicts[letter] = True if line["right"] else False if line["wrong"] else _verdict(page, letter, line["rest"])
        if line["right"] or _IS_MARKED.search(line["rest"]):
            marked += letter
    right = [letter for letter, is_right in verdicts.items() if is_right]
    if len(verdicts) < len(page.options.letters) or len(right) != 1:
        return None
    is_each_judged = None not in verdicts.values()
    is_one_marked = marked == right[0] and False not in verdicts.values()
    is_decided = is_each_judged or is_one_marked
    return Decision(right[0], Reason.VERDICT, is_explicit=False, end=len(page.low)) if is_decided else None


def _marked_in_line(page: Page) -> Decision | None:
    """Reads "A ❌ B ✅ C ❌" and "(A) Wrong. (B) Right.", where each option has a mark or a word."""
    if not any(sign in page.low for sign in _RIGHT_SIGNS):
        return None
    marks = {mark[1].upper(): bool(mark[2]) for mark in _INLINE.finditer(page.low)}
    right = [letter for letter, is_right in marks.items() if is_right]
    if len(right) != 1 or sorted(marks) != sorted(page.options.letters):
        return None
    return Decision(right[0], Reason.VERDICT, is_explicit=False, end=len(page.low))


def _verdict(page: Page, letter: str, line: str) -> bool | None:
    """Returns what a line says of its option, apart from the option's own text."""
    text = next((text for text, letters in page.options.letters_of.items() if letter in letters), "")
    rest = line.lstrip(" |").removeprefix(text)
    end = rest[-_REACH:]
    if _ENDS_RIGHT.search(end) or _STARTS_RIGHT.match(rest):
        return True
    return False if _ENDS_WRONG.search(end) or _STARTS_WRONG.match(rest) else None
