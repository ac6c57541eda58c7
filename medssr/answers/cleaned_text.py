"""A completion, cleaned, with the options of its question: the page on which everything else looks for a decision."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from html import unescape
from itertools import pairwise

from medssr.answers.option_aliases import aliases_of

# --- Cleaning: no reasoning blocks, no markup, no further turns ---------------------------------------------------

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
    "<end_of_turn>", "[eos]", "<|im_start|>user", "<|user|>", "<|human|>",
    "<|start_header_id|>user", "<start_of_turn>user", "[INST]",
    "<|prompter|>", "<|start|>user",
)  # fmt: skip
_THINKING_MARK = re.compile(
    f"(?P<start>{'|'.join(map(re.escape, _THINKING_STARTS))})|{'|'.join(map(re.escape, _THINKING_ENDS))}"
)
_TURN_END = re.compile("|".join(map(re.escape, _TURN_ENDS)))
_SPECIAL_TOKEN = re.compile(r"<\|[^|<>\n]{1,30}\|>(?:assistant)?|</?s>")
_STRUCK_OUT = re.compile(r"~~[^~\n]{1,80}~~|<(del|s|strike)>[^<\n]{1,80}</\1>")
_BLOCK = re.compile(r"</?(?:div|h[1-6]|ul|ol|li|section|article|table|tr|body|html)(?:\s[^<>\n]{0,80})?>")
_CELL = re.compile(r"</t[dh]>\s{0,9}<t[dh](?:\s[^<>\n]{0,80})?>")
_RULE_OF_STARS = re.compile(r"(?<=\n)\*[^\S\n]?\*[^\S\n]?\*[^\S\n]*+\**(?=\s*\n)")
_RAISED = re.compile(r"<sup>([^<\n]{1,20})</sup>")
_LOWERED = re.compile(r"<sub>([^<\n]{1,20})</sub>")
_TEXT_GROUP = re.compile(r"\\(?:text|math)(?:bf|rm|sf|it|tt|normal)?\s?\{([^{}\n]{0,200})\}")
_THIN_SPACE = re.compile(r"\\[,;: ]")
_DECORATION = re.compile(  # every branch opens with a character of its own, so that plain text is skipped quickly
    r"\\(?:text|math)(?:bf|rm|sf|it|tt|bb|cal|normal)?(?![a-z])|\\[()\[\]!,;]|\\(?=[%&#_])|\*|`|\$|~"
    r"|\\(?:bf|rm|left|right|quad|large|Large|huge|operatorname|displaystyle|underline|bm|boldsymbol)(?![a-z])"
    r"|__++(?!\n)|__++(?<=[^\n_]__)|_(?<![a-zA-Z0-9_]_)(?!_)|_(?<![_\n]_)(?![a-zA-Z0-9_])|</?(?:b|strong|em|i|u|p"
    r"|br|span)\s?/?>"
)

# One plain character for every way to write it. "İ" is here because it is the one letter that grows in lower case.
_PLAIN_FORMS = {"。": ". ", "、": ",", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "「": '"', "」": '"'}
_PLAIN_FORMS |= {"\u2018": "'", "\u2019": "'", "【": "[", "】": "]", "\u2028": "\n", "\u2029": "\n"}
_PLAIN_FORMS |= {"\r": "\n", "İ": "I", "\u3000": " "} | dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-")
_INVISIBLE = (0xAD, 0x2060, 0xFE0F, 0xFEFF, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_STYLED = (
    *range(0xFF01, 0xFF5F),
    *range(0x249C, 0x24EA),
    *range(0x1D400, 0x1D6A4),
    *range(0x1F130, 0x1F14A),
    *range(0x2000, 0x200B),
    0xA0,
)
_PLAIN_TABLE = str.maketrans(
    _PLAIN_FORMS
    | dict.fromkeys(map(chr, _INVISIBLE), "")
    | {chr(0x1F150 + i): chr(65 + i) for i in range(26)}
    | {chr(0x1F170 + i): chr(65 + i) for i in range(26)}
    | {chr(code): unicodedata.normalize("NFKC", chr(code)) for code in _STYLED}
)


def plain_characters(text: str) -> str:
    """Returns the text with one form of quotes, dashes, spaces and styled letters, and without invisible characters."""
    return text.translate(_PLAIN_TABLE)


def without_markup(text: str) -> str:
    """Returns the text without Markdown, LaTeX and HTML decoration, and without what is struck out."""
    if "~~" in text or "</" in text:
        text = _BLOCK.sub("\n", _CELL.sub(" | ", text))
        text = _RAISED.sub(r"^\1", _LOWERED.sub(r"\1", _STRUCK_OUT.sub("", text)))
    if "***" in text or "* *" in text:
        text = _RULE_OF_STARS.sub("---", text)
    if "\\" in text:
        text = _THIN_SPACE.sub(" ", _TEXT_GROUP.sub(r"\1", text))
    if "&" in text:
        text = unescape(text)
    return _DECORATION.sub("", text)


def without_thinking(text: str) -> str | None:
    """Returns the text outside reasoning blocks; None where a block is never closed."""
    if "<" not in text and "[" not in text and "◁" not in text:  # with which every mark opens
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
    """Returns the text up to the end of the model's turn, without special tokens."""
    if "<" not in text and "[" not in text:  # with which every such mark opens
        return text
    end = next((mark.start() for mark in _TURN_END.finditer(text) if text[: mark.start()].strip()), len(text))
    return _SPECIAL_TOKEN.sub("\n", text[:end])


# --- The options and where they stand -----------------------------------------------------------------------------

_LETTERED_START = re.compile(r"(?:\n[\s#>|-]{0,8}|[.;!?,)\"]\s{1,2})(?:[Oo]ption )?\(?([A-Z])[).:\]](?=\s)")
_LONE_LETTER = re.compile(r"[a-z](?![a-z0-9])")
_TEXT_END = re.compile(r"(?![a-z0-9]|[-/][a-z0-9]|[.,][0-9]|%)")


@dataclass(frozen=True, slots=True, eq=False)  # compared by identity: `option_table` makes one for each question
class OptionTable:
    """The options of a question, as they are looked up: letters, and normalised texts, the longest first."""

    letters: str
    letters_of: dict[str, str]  # option text, or another name for it -> the letters that have it
    texts: tuple[str, ...]
    own_texts: tuple[str, ...]  # the texts of the options themselves, in their order

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
        starts = _LETTERED_START.finditer("\n" + self.raw)
        return [match.start(1) - 1 for match in starts if match[1] in self.options.letters]

    @cached_property
    def walk_end(self) -> int:
        """Where a walk through the options, which discusses all and chooses none, has its last head; -1 without one."""
        letters = [self.raw[head] for head in self.heads]
        is_walk = len(letters) > 1 and all(first < second for first, second in pairwise(letters))
        return self.heads[-1] if is_walk else -1


def page_of(text: str, options: OptionTable) -> Page:
    """Returns the page of a cleaned text."""
    return Page(text, text.lower(), options)


def option_table(options: Mapping[str, str]) -> OptionTable:
    """Returns the table of a question's options, made once for all of its completions."""
    return _table(tuple(options.items()))


@lru_cache(maxsize=4096)
def _table(items: tuple[tuple[str, str], ...]) -> OptionTable:
    letters_of: dict[str, str] = {}
    for letter, text in items:
        key = option_text(text)
        if key:
            letters_of[key] = letters_of.get(key, "") + letter
    option_texts = tuple(letters_of)
    names: dict[str, str] = {}
    for text in option_texts:
        for alias in aliases_of(text):
            names[alias] = letters_of[text] if names.get(alias, letters_of[text]) == letters_of[text] else ""
    letters_of |= {alias: letters for alias, letters in names.items() if letters and alias not in letters_of}
    longest_first = tuple(sorted(letters_of, key=len, reverse=True))
    return OptionTable("".join(letter for letter, _ in items), letters_of, longest_first, option_texts)


def option_text(text: str) -> str:
    """Returns an option's text in the form in which it is looked for."""
    return " ".join(without_markup(plain_characters(text)).lower().split()).strip("\"'()[]{} .;,")


def is_letter_at(low: str, position: int) -> bool:
    """Returns whether a single letter of the alphabet stands here, not the start of a word."""
    return _LONE_LETTER.match(low, position) is not None


def text_at(page: Page, position: int) -> tuple[str, int] | None:
    """Returns the letters of the longest option text that starts here, and where it ends."""
    first = page.low[position : position + 1]
    is_space = first.isspace()
    for text in page.options.texts:
        if first != text[0] and not is_space:
            continue
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
    """Returns where the text ends if it stands here with other white space between its words."""
    for word in text.split(" "):
        while position < len(low) and low[position].isspace():
            position += 1
        if not low.startswith(word, position):
            return None
        position += len(word)
    return position
