"""From a completion to the text that may hold its answer: no reasoning blocks, no markup, no further turns."""

import re
import unicodedata
from itertools import islice

_THINKING_STARTS = (
    "<think>", "<thinking>", "<thought>", "<reasoning>", "<reflection>", "<scratchpad>", "[think]",
    "<|begin_of_thought|>", "<|channel|>analysis", "<|im_start|>think", "<unused94>", "◁think▷",
)  # fmt: skip
_THINKING_ENDS = (
    "</think>", "</thinking>", "</thought>", "</reasoning>", "</reflection>", "</scratchpad>", "[/think]",
    "<|end_of_thought|>", "<|channel|>final", "<|im_start|>answer", "<unused95>", "◁/think▷",
)  # fmt: skip
_TURN_ENDS = (
    "</s>", "<eos>", "<|im_end|>", "<|eot_id|>", "<|endoftext|>", "<|end_of_text|>", "<|end|>", "<|return|>",
    "<end_of_turn>", "[eos]",
)  # fmt: skip
_THINKING_MARK = re.compile(
    f"(?P<start>{'|'.join(map(re.escape, _THINKING_STARTS))})|{'|'.join(map(re.escape, _THINKING_ENDS))}"
)
_TURN_END = re.compile("|".join(map(re.escape, _TURN_ENDS)))
_MARK_OPENINGS = ("<", "[", "◁")
_SPECIAL_TOKEN = re.compile(r"<\|[^|<>\n]{1,30}\|>(?:assistant)?|</?s>")
_NEXT_QUESTION = re.compile(
    r"\n[#\s>*-]{0,8}(?=(?:question|q|next question|problem|exercise|user|human|instruction)(?: ?\d+)?:)"
)
_MAX_QUESTIONS = 20
_DECORATION = re.compile(  # every branch opens with a character of its own, so that plain text is skipped quickly
    r"\\(?:text|math)(?:bf|rm|sf|it|tt|bb|cal|normal)?(?![a-z])|\\[()\[\]!,;]|\\(?=[%&#_])|\*|`|\$|~"
    r"|\\(?:bf|rm|left|right|quad|large|Large|huge|operatorname|displaystyle|underline|bm|boldsymbol)(?![a-z])"
    r"|__+|_(?<![a-zA-Z0-9]_)|_(?![a-zA-Z0-9])|</?(?:b|strong|em|i|u|p|br|span)\s?/?>"
)

# One plain character for every way to write it. "İ" is here because it is the one letter that grows in lower case.
_PLAIN_FORMS = {"。": ".", "、": ",", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "「": '"', "」": '"'}
_PLAIN_FORMS |= {"\u2018": "'", "\u2019": "'", "【": "[", "】": "]", "\u2028": "\n", "\u2029": "\n"}
_PLAIN_FORMS |= {"\r": "\n", "İ": "I", "\u3000": " "} | dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-")
_INVISIBLE = (0xAD, 0x2060, 0xFE0F, 0xFEFF, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_STYLED = (*range(0xFF01, 0xFF5F), *range(0x24B6, 0x24EA), *range(0x1D400, 0x1D6A4), *range(0x2000, 0x200B), 0xA0)
_PLAIN_TABLE = str.maketrans(
    _PLAIN_FORMS
    | dict.fromkeys(map(chr, _INVISIBLE), "")
    | {chr(code): unicodedata.normalize("NFKC", chr(code)) for code in _STYLED}
)


def plain_characters(text: str) -> str:
    """The text with one form of quotes, dashes, spaces and styled letters, and without invisible characters."""
    return text.translate(_PLAIN_TABLE)


def without_markup(text: str) -> str:
    """The text without Markdown, LaTeX and HTML decoration."""
    return _DECORATION.sub("", text)


def without_thinking(text: str) -> str | None:
    """The text outside reasoning blocks; None where a block is never closed."""
    if not any(opening in text for opening in _MARK_OPENINGS):
        return text
    kept: list[str] = []
    position, is_inside = 0, False
    for mark in _THINKING_MARK.finditer(text.lower()):
        if mark["start"]:
            if not is_inside:
                kept.append(text[position : mark.start()])
            is_inside = True
            continue
        if not is_inside:  # the prompt opened the block, so all of the text so far was reasoning
            kept.clear()
        position, is_inside = mark.end(), False
    return None if is_inside else "".join(kept) + text[position:]


def first_turn(text: str) -> str:
    """The text up to the end of the model's turn, without special tokens."""
    end = next((mark.start() for mark in _TURN_END.finditer(text) if text[: mark.start()].strip()), len(text))
    return _SPECIAL_TOKEN.sub("\n", text[:end])


def questions(text: str) -> list[str]:
    """The text, cut where a model goes on to write further questions of its own."""
    cuts = [match.start() for match in islice(_NEXT_QUESTION.finditer(text.lower()), _MAX_QUESTIONS)]
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
