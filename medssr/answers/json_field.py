"""Finds the answer field of a JSON object, also of one that is cut off or not quite JSON."""

import re

from medssr.answers.choice import Decision, Reason
from medssr.answers.cleaned_text import Page, page_of, plain_characters
from medssr.answers.named_options import read_field

_KEY = re.compile(
    r"[\"'](?:(?:final|correct|selected|chosen|predicted|best|my)[_ -]?)?"
    r"(?:answer(?:[_ -]?(?:choice|letter|option|idx|key))?|choice|option|prediction|letter)[\"']\s{0,20}:"
)
_VAGUE_KEY = re.compile(
    r"[\"'](?:result|response|output|label|correct|ans|solution|selection|selected|verdict|decision)[\"']\s{0,20}:"
)
_OPENING = re.compile(r"[\s\"'\[{(]{0,20}(?:(?:str|letter|choice|option|key)[\"':\s({\"']{1,6})?")
_VALUE_END = re.compile(r"[\"'](?=\s{0,20}(?:[,}\]\n\"]|\Z))|[}\n]")
_OBJECT_END = re.compile(  # the fields behind the value, and the brace that closes the object
    r"[\"'\]]?+\s*+(?:,\s*+\"[^\"\n]*+\"\s*+:\s*+(?:\"(?:[^\"\\]|\\.)*+\"|\[[^\]]*+\]|[^\",}\n]*+)\s*+)*+,?+\s*+\}"
)
_LIST_END = re.compile(r"\]")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|[n\"/\\])")


def json_answer(page: Page) -> tuple[Decision, Page, Page] | None:
    """Returns the decision in the last answer field, the field's value, and the text behind its object."""
    if '"' not in page.low and "'" not in page.low:
        return None
    answer = _last_field(page, _KEY)
    if answer:
        return answer
    vague = _last_field(page, _VAGUE_KEY)
    return vague if vague and vague[0].letter else None


def _last_field(page: Page, key_pattern: re.Pattern[str]) -> tuple[Decision, Page, Page] | None:
    key = None
    for key in key_pattern.finditer(page.low):  # noqa: B007  the last one counts
        pass
    opening = _OPENING.match(page.low, key.end()) if key else None
    if opening is None:
        return None
    start = opening.end()
    end = (_LIST_END if "[" in opening[0] else _VALUE_END).search(page.low, start)
    value_end = end.start() if end else len(page.low)
    value = page_of(plain_characters(_ESCAPE.sub(_unescaped, page.raw[start:value_end])), page.options)
    object_end = _OBJECT_END.match(page.low, value_end)
    rest = object_end.end() if object_end else max(page.low.rfind("}"), value_end) + 1
    decision = read_field(value, 0, Reason.JSON)
    return (decision, value, page_of(page.raw[rest:], page.options)) if decision else None


def _unescaped(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16)) if escape[1] else "\n" if escape[0] == "\\n" else escape[0][1:]
