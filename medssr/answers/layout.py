"""Lines that need no cue to be a decision: a last line that is an option, a first line that begins with one."""

import re

from medssr.answers.choice import Decision, Reason
from medssr.answers.lexicon import SMALL_TEXTS
from medssr.answers.mentions import (
    JOINED_TEXT,
    LINE_END,
    SENTENCE_END,
    Mention,
    heads_a_list,
    is_asked,
    is_joined,
    mention_at,
)
from medssr.answers.options import Page, is_letter_at

_LINE_LEAD = re.compile(
    r"(?:[✅✔✓☑➡👉•∴=\s\"'(\[{>#|\\]|-(?![0-9])){0,20}(?:(?:option|choice|letter|assistant)[: ]{1,2}\(?)?"
)
_LONGEST_LETTER = 4  # "(B)."
_LONGEST_LETTER_LIST = 24  # "A, B, and D"
_HEADING = re.compile(r":[^\S\n]*[^\s]")
_REJECTED = re.compile(
    r"[^.\n]{0,60}(?<![a-z])(?:is|are|was)"
    r"(?:n't| (?:also |the |a )?(?:incorrect|wrong|false|not|least|less|unlikely|tempting|possible|plausible"
    r"|distractor))(?![a-z])"
)
_LETTER_BEFORE_TEXT = re.compile(r"(?<![a-z0-9])([a-z])[).:]{1,2} \Z")


def closing_line(page: Page) -> Decision | None:
    """A last line that is nothing but an option."""
    end = len(page.low.rstrip())
    start = page.low.rfind("\n", 0, end) + 1
    mention = _mention_of_line(page, start)
    if mention is None:
        return None
    if end - start <= _LONGEST_LETTER_LIST and is_joined(page, mention):
        return Decision(None, Reason.SEVERAL_LETTERS)
    if not LINE_END.match(page.low, mention.end):
        return None
    if mention.letter is None:
        return None if page.low[:start].strip() else Decision(None, mention.problem or Reason.NO_ANSWER)
    previous_end = len(page.low[:start].rstrip())
    is_paragraph = not previous_end or page.low.count("\n", previous_end, start) > 1
    if is_paragraph and _lists_all_options(page, start):  # a repeated question, and below it the answer
        return Decision(mention.letter, Reason.BARE_OPTION)
    if start <= page.walk_end or _ends_with_another_option(page, previous_end, mention.letter):
        return None
    if not is_paragraph and page.heads and page.raw[page.heads[-1]] + mention.letter in page.options.letters:
        return None  # "C. Heparin - weak.\nD" breaks off in a walk through the options
    is_letter_only = mention.end - start <= _LONGEST_LETTER
    return Decision(mention.letter, Reason.BARE_OPTION, is_explicit=is_paragraph or is_letter_only)


def opening_line(page: Page) -> Decision | None:
    """A text that begins with its answer: "B. Warfarin is the drug of choice ...", "Yes, because ..."."""
    lead = _LINE_LEAD.match(page.low)
    start = lead.end() if lead else 0
    mention = mention_at(page, start)
    if mention is None or mention.letter is None or heads_a_list(page, mention) or is_asked(page, mention):
        return None
    if page.raw.startswith("I,", start):
        return None  # the pronoun
    if is_joined(page, mention):
        return Decision(None, Reason.SEVERAL_LETTERS)
    is_small = page.low[start : mention.end] in SMALL_TEXTS
    if (_HEADING.match(page.low, mention.end) and not is_small) or JOINED_TEXT.match(page.low, mention.end):
        return None  # "A: ..." may as well open an answer in a dialogue; "A or C would be reasonable"
    if is_letter_at(page.low, start):
        is_answer = page.raw[start].isupper() and not _begins_a_walk(page, mention)
    else:
        is_answer = is_small or bool(SENTENCE_END.match(page.low, mention.end))
    if not is_answer or (not _has_small_text(page, mention.letter) and _REJECTED.match(page.low, mention.end)):
        return None
    return Decision(mention.letter, Reason.BARE_OPTION, is_explicit=False)


def _has_small_text(page: Page, letter: str) -> bool:
    """Whether it is the letter of an answer by itself: "No, they were not associated" does not reject "no"."""
    return any(text in SMALL_TEXTS for text, letters in page.options.letters_of.items() if letter in letters)


def _begins_a_walk(page: Page, mention: Mention) -> bool:
    """Whether every option is discussed in turn, also where the text breaks off while it discusses the first one."""
    if mention.letter != page.options.letters[0]:
        return False
    breaks_off = page.low.rstrip()[-1] not in ".,!?)]\"'"
    return page.walk_end >= 0 or (breaks_off and not LINE_END.match(page.low, mention.end))


def _mention_of_line(page: Page, start: int) -> Mention | None:
    lead = _LINE_LEAD.match(page.low, start)
    return mention_at(page, lead.end()) if lead else None


def _lists_all_options(page: Page, end: int) -> bool:
    """Whether every option, one a line, has been listed before a place."""
    listed = [page.raw[head] for head in page.heads if head < end]
    return len(listed) > 1 and "".join(listed[-len(page.options.letters) :]) == page.options.letters


def _ends_with_another_option(page: Page, end: int, letter: str) -> bool:
    """Whether the line that ends here is another option, or ends with one: then the next line is part of a list."""
    start = page.low.rfind("\n", 0, end) + 1
    other = _mention_of_line(page, start)
    if other and other.letter not in (None, letter) and LINE_END.match(page.low, other.end):
        return True
    line = page.low[start:end].rstrip(" .")
    text = next((text for text in page.options.texts if line.endswith(text)), None)
    before = line[: -len(text)] if text else ""
    lettered = _LETTER_BEFORE_TEXT.search(before[-6:])
    return bool(text and lettered and lettered[1].upper() in page.options.letters_of[text].replace(letter, ""))
