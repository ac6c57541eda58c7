"""Reads the subject of a praise: "[B] is the correct answer", "[Warfarin (B)] would be the best choice"."""

import re
from collections.abc import Collection
from dataclasses import dataclass

from medssr.answers.choice import Reason
from medssr.answers.cleaned_text import Page
from medssr.answers.lexicon import PRONOUNS, SUBJECT_LEADS, VERDICT_LINKS, VERDICT_WORDS
from medssr.answers.statements import decides_nothing, endings, line_before

_LONGEST_SUBJECT = 300
_SUBJECT_LEAD_ENDINGS = endings(SUBJECT_LEADS)
_PRONOUN_ENDINGS = endings(PRONOUNS)
_LONGEST_LINK_FIRST = sorted(VERDICT_LINKS, key=len, reverse=True)
_JOINED_SUBJECT = re.compile(r"(?<![a-z0-9])([a-z])[)\]]?,?\s(?:and|or|&)\s(?:option\s)?\(?\Z")
_LETTER_OF_SUBJECT = re.compile(r"(?<![a-z0-9])([a-z])[).:,\]\s\"-]{1,4}\Z")
_LINE_HEAD = re.compile(r"[\s#>|(\[-]{0,8}(?:option |choice )?\(?([a-z])[).:\]]")


@dataclass(frozen=True, slots=True)
class Subject:
    """What is praised in front of a cue: an option, or several (`problem`), affirmed or denied."""

    letter: str | None
    problem: Reason | None = None
    is_pronoun: bool = False
    is_denied: bool = False


def subject_before(page: Page, position: int, *, needs_link: bool) -> Subject | None:
    """Returns the option in "B is the most" before "likely answer"; `needs_link` demands the "is" or a word like it."""
    line = line_before(page, position)
    rest = _without_last_words(line, VERDICT_WORDS)
    affirmed = rest.removesuffix(" not").removesuffix("n't")
    link = ""
    if affirmed.endswith(VERDICT_LINKS):
        link = next(link for link in _LONGEST_LINK_FIRST if affirmed.endswith(link))
    if not link and (needs_link or rest != affirmed or rest == line.rstrip()):  # "making B the answer" has no link
        return None
    end = position - len(line) + len(affirmed) - len(link)
    subject = subject_at_end(page, end)
    if subject and rest != affirmed:
        return Subject(subject.letter, subject.problem, subject.is_pronoun, is_denied=True)
    return subject


def subject_at_end(page: Page, end: int) -> Subject | None:
    """Returns the option that the line names last before `end`."""
    reach = max(0, end - _LONGEST_SUBJECT - page.options.longest)
    line_start = max(reach, page.low.rfind("\n", reach, end) + 1)
    line = page.low[line_start:end].rstrip(" .,)\"']:-")
    if _PRONOUN_ENDINGS.end(line):
        head = _LINE_HEAD.match(line)
        letter = head[1].upper() if head else ""
        return Subject(letter, is_pronoun=True) if letter and letter in page.options.letters else None
    for text in page.options.texts:
        if line.endswith(text):
            return _subject_by_text(page, line[: -len(text)], page.options.letters_of[text])
    rest, letter = line[:-1], line[-1:].upper()
    if not letter or letter not in page.options.letters or not page.raw.startswith(letter, line_start + len(rest)):
        return None
    if not _may_start_subject(rest) or decides_nothing(rest.rstrip("(").removesuffix("option ")):
        return None
    other = _JOINED_SUBJECT.search(rest[-20:])
    if other and other[1].upper() in page.options.letters:
        return Subject(None, Reason.SEVERAL_LETTERS)
    return Subject(letter)


def _subject_by_text(page: Page, before: str, letters: str) -> Subject | None:
    lettered = _LETTER_OF_SUBJECT.search(before[-8:])
    if lettered and lettered[1].upper() in page.options.letters:
        if decides_nothing(before[: len(before) - len(lettered[0])]):
            return None
        letter = lettered[1].upper()
        return Subject(letter) if letter in letters else Subject(None, Reason.CONTRADICTION)
    return Subject(letters) if len(letters) == 1 and _may_start_subject(before) else None


def _may_start_subject(before: str) -> bool:
    before = before.rstrip(" \"'")
    return not before or before[-1] in ".!?:;,([" or _SUBJECT_LEAD_ENDINGS.end(before)


def _without_last_words(line: str, words: Collection[str]) -> str:
    while True:
        line = line.rstrip()
        start = max(line.rfind(" "), line.rfind("("), line.rfind(":")) + 1
        if line[start:] not in words:
            return line
        line = line[:start]
