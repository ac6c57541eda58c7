"""Decisions that no cue announces: a last line or a first line that is an option, a last sentence that names one."""

import re
from itertools import pairwise

from medssr.answers.choice import Decision, Reason
from medssr.answers.lexicon import EXCLUDING, SMALL_TEXTS
from medssr.answers.mentions import LINE_END, SENTENCE_END, Mention, heads_a_list, is_joined, mention_at
from medssr.answers.options import Page, is_letter_at

_LINE_LEAD = re.compile(r"(?:[✅✔✓☑➡👉\s\"'(\[{>#|\\]|-(?![0-9])){0,20}(?:(?:option|choice|letter)[: ]{1,2}\(?)?")
_LONGEST_LETTER_LIST = 24  # "A, B, and D"
_HEADING = re.compile(r":[^\S\n]*[^\s]")
_REJECTED = re.compile(
    r"[^.\n]{0,60}(?<![a-z])(?:is|are|was)(?:n't| (?:also |the )?(?:incorrect|wrong|false|not))(?![a-z])"
)
_LETTERED_START = re.compile(r"(?:\n[\s#>|-]{0,8}|[.;!?,]\s{1,2})(?:[Oo]ption )?\(?([A-Z])[).:\]](?=\s)")
_LETTER_AFTER_TEXT = re.compile(r",? \((?:option |choice )?([a-z])\)(?=[.!]?\s|[.!]?\Z)")
_SENTENCE_START = re.compile(r".*(?:[.!?:;]\s|\n)", re.DOTALL)
_WORD = re.compile(r"[a-z]+")
_CONCLUSION_REACH = 2_000


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
    if _walks_through_options(page) or _follows_an_option(page, start, mention):
        return None
    is_stray = mention.end - start > 4 and page.low[start - 2 : start].strip() != ""
    return Decision(mention.letter, Reason.BARE_OPTION, is_explicit=not is_stray)


def opening_line(page: Page) -> Decision | None:
    """A text that begins with its answer: "B. Warfarin is the drug of choice ...", "Yes, because ..."."""
    lead = _LINE_LEAD.match(page.low)
    start = lead.end() if lead else 0
    mention = mention_at(page, start)
    if mention is None or mention.letter is None or heads_a_list(page, mention):
        return None
    if _HEADING.match(page.low, mention.end):  # "A: ..." may as well open an answer in a dialogue
        return None
    if is_joined(page, mention):
        return Decision(None, Reason.SEVERAL_LETTERS)
    if is_letter_at(page.low, start):
        is_answer = page.raw[start].isupper() and not _walks_through_options(page)
    else:
        is_small = page.low[start : mention.end] in SMALL_TEXTS
        is_answer = is_small or bool(SENTENCE_END.match(page.low, mention.end))
    if not is_answer or _REJECTED.match(page.low, mention.end):
        return None
    return Decision(mention.letter, Reason.BARE_OPTION, is_explicit=False)


def closing_sentence(page: Page) -> Decision | None:
    """A last sentence that ends with an option's text and letter, as no other does: "She should get warfarin (B)."."""
    end = len(page.low.rstrip())
    tail = page.low[max(0, end - _CONCLUSION_REACH) : end]
    named = [match for match in _LETTER_AFTER_TEXT.finditer(tail) if _is_text_of(page, tail[: match.start()], match[1])]
    if not named or len({match[1] for match in named}) > 1 or len(tail) - named[-1].end() > 1:
        return None
    start = _SENTENCE_START.match(tail, 0, named[-1].start())
    sentence = tail[start.end() if start else 0 : named[-1].start()]
    if not EXCLUDING.isdisjoint(_WORD.findall(sentence.replace("n't", " not"))):
        return None
    return Decision(named[-1][1].upper(), Reason.VERDICT, is_explicit=False)


def _is_text_of(page: Page, before: str, letter: str) -> bool:
    texts = (text for text, letters in page.options.letters_of.items() if letter.upper() in letters)
    return any(before.endswith(text) for text in texts)


def _mention_of_line(page: Page, start: int) -> Mention | None:
    lead = _LINE_LEAD.match(page.low, start)
    return mention_at(page, lead.end()) if lead else None


def _follows_an_option(page: Page, line_start: int, mention: Mention) -> bool:
    """Whether the line before is another option, or ends with one: then this line is part of a list."""
    end = len(page.low[:line_start].rstrip())
    start = page.low.rfind("\n", 0, end) + 1
    other = _mention_of_line(page, start) if start < line_start else None
    if other and other.letter not in (None, mention.letter) and LINE_END.match(page.low, other.end):
        return True
    line = page.low[start:end].rstrip(" .")
    return any(
        mention.letter not in letters and line.endswith(tuple(f"{letter.lower()}{mark} {text}" for letter in letters for mark in ".):"))
        for text, letters in page.options.letters_of.items()
    )


def _walks_through_options(page: Page) -> bool:
    """Whether the lettered starts of lines and sentences go up one by one, as in a discussion of every option."""
    heads = [match[1] for match in _LETTERED_START.finditer("\n" + page.raw) if match[1] in page.options.letters]
    return len(heads) > 1 and all(first < second for first, second in pairwise(heads))
