"""A conclusion without a cue: a last sentence that ends with one option and speaks of no other."""

import re

from medssr.answers.choice import Decision, Reason
from medssr.answers.lexicon import EXCLUDING
from medssr.answers.options import Page

_SPELLED_LETTER = re.compile(r"(?<![a-z])(?:option|choice) \(?([a-z])\)?\Z")
_LETTER_AFTER_TEXT = re.compile(r" \((?:option |choice )?([a-z])\)\Z")
_LETTER_BEFORE_TEXT = re.compile(r"(?<![a-z0-9])([a-z])[).:]{1,2} \Z")
_LONGEST_LETTER = 12  # " (choice C)"
_SENTENCE_STARTS = (". ", "? ", "! ", ": ", "\n")
_LONGEST_SENTENCE = 400
_WORD = re.compile(r"[a-z]+")
_OTHER_LETTER = re.compile(r"(?<![A-Za-z0-9])([A-Z])(?![A-Za-z0-9])(?! [a-z])")  # not the article in "A patient"


def closing_sentence(page: Page) -> Decision | None:
    """Read "She should get warfarin (B).", "The drug in question is B. Warfarin.", "We are left with option B."."""
    named = _option_before(page, len(page.low.rstrip(" \n.!")))
    if named is None or named[1] <= page.walk_end:
        return None
    letter, end = named
    reach = max(0, end - _LONGEST_SENTENCE)
    start = max(reach, *(page.low.rfind(mark, reach, end) + len(mark) for mark in _SENTENCE_STARTS))
    if start == end:  # "Next step: B. Warfarin" has its words in front of the colon
        start = max(reach, page.low.rfind("\n", reach, end) + 1)
    words = _WORD.findall(page.low[start:end].replace("n't", " not"))
    if not words or not EXCLUDING.isdisjoint(words) or _names_another(page, start, end, letter):
        return None
    return Decision(letter, Reason.VERDICT, is_explicit=False)


def _option_before(page: Page, end: int) -> tuple[str, int] | None:
    """The letter of an option that is named before `end` by letter and text or as "option B", and where it starts."""
    spelled = _SPELLED_LETTER.search(page.low, max(0, end - _LONGEST_LETTER), end)
    if spelled:
        letter = spelled[1].upper()
        return (letter, spelled.start()) if letter in page.options.letters else None
    after = _LETTER_AFTER_TEXT.search(page.low, max(0, end - _LONGEST_LETTER), end)
    text_end = after.start() if after else end
    text = next((text for text in page.options.texts if page.low.endswith(text, 0, text_end)), None)
    if text is None:
        return None
    start = text_end - len(text)
    letter_of_text = after or _LETTER_BEFORE_TEXT.search(page.low, max(0, start - _LONGEST_LETTER), start)
    if letter_of_text is None or letter_of_text[1].upper() not in page.options.letters_of[text]:
        return None
    return letter_of_text[1].upper(), min(start, letter_of_text.start())


def _names_another(page: Page, start: int, end: int, letter: str) -> bool:
    sentence = page.low[start:end]
    texts = (text for text, letters in page.options.letters_of.items() if letter not in letters)
    letters = set(_OTHER_LETTER.findall(page.raw, start, end)) & set(page.options.letters)
    return bool(letters - {letter}) or any(text in sentence for text in texts)
