"""The answer field of a JSON object, also of one that is cut off or not quite JSON."""

import re

from medssr.answers.cleaning import plain_characters
from medssr.answers.options import Page, page_of

_KEY = re.compile(
    r"[\"'](?:(?:final|correct|selected|chosen|predicted)[_ ]?)?"
    r"(?:answer(?:[_ ]?(?:choice|letter|option|idx))?|choice|option|prediction)[\"']\s{0,20}:"
)
_OPENING = re.compile(r"[\s\"'\[{(]{0,20}(?:(?:str|letter|choice)[\"':\s({\"']{1,6})?")
_VALUE_END = re.compile(r"[\"'](?=\s{0,20}(?:[,}\]\n\"]|\Z))|[}\n]")
_OBJECT_END = re.compile(  # the fields behind the value, and the brace that closes the object
    r"[\"'\]]?+\s*+(?:,\s*+\"[^\"\n]*+\"\s*+:\s*+(?:\"(?:[^\"\\]|\\.)*+\"|\[[^\]]*+\]|[^\",}\n]*+)\s*+)*+,?+\s*+\}"
)
_LIST_END = re.compile(r"\]")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|[n\"/\\])")


def json_answer(page: Page) -> tuple[Page, Page] | None:
    """The value of the last answer key, and the text behind its object."""
    key = None
    for key in _KEY.finditer(page.low):  # noqa: B007  the last one counts
        pass
    opening = _OPENING.match(page.low, key.end()) if key else None
    if opening is None:
        return None
    start = opening.end()
    end = (_LIST_END if "[" in opening[0] else _VALUE_END).search(page.low, start)
    value_end = end.start() if end else len(page.low)
    value = plain_characters(_ESCAPE.sub(_unescaped, page.raw[start:value_end]))
    object_end = _OBJECT_END.match(page.low, value_end)
    rest = object_end.end() if object_end else max(page.low.rfind("}"), value_end) + 1
    return page_of(value, page.options), page_of(page.raw[rest:], page.options)


def _unescaped(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16)) if escape[1] else "\n" if escape[0] == "\\n" else escape[0][1:]
