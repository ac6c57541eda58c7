"""A list that gives every option a verdict of its own, and calls one of them right."""

import re

from medssr.answers.choice import Decision, Reason
from medssr.answers.options import Page

_LINE = re.compile(r"^[\s#>|-]{0,8}(?:option )?\(?(?P<letter>[a-z])(?:[).:\]]| ?\|)(?P<rest>[^\n]*)$", re.MULTILINE)
_VERDICT_END = r"[\s.!|)\]]{0,9}\Z"
_IS_RIGHT = re.compile(r"(?<![a-z])(?<!not )(?:correct|right|true|yes)" + _VERDICT_END)
_IS_WRONG = re.compile(r"(?<![a-z])(?:incorrect|not correct|wrong|false|no)" + _VERDICT_END)
_REACH = 40


def verdict_list(page: Page) -> Decision | None:
    """Read "A. Aspirin: false", "B. Warfarin: true" ..., one line an option, where one alone is right."""
    verdicts: dict[str, bool] = {}
    for line in _LINE.finditer(page.low):
        letter, verdict = line["letter"].upper(), _verdict(line["rest"])
        if letter not in page.options.letters:
            continue
        if verdict is None or letter in verdicts:
            return None
        verdicts[letter] = verdict
    right = [letter for letter, is_right in verdicts.items() if is_right]
    if len(verdicts) < len(page.options.letters) or len(right) != 1:
        return None
    return Decision(right[0], Reason.VERDICT, is_explicit=False)


def _verdict(line: str) -> bool | None:
    end = line[-_REACH:]
    if _IS_RIGHT.search(end):
        return True
    return False if _IS_WRONG.search(end) else None
