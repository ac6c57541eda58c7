"""Reading the words that follow a cue: "The answer is [option B, Warfarin]"."""

import re

from medssr.answers.choice import Decision, Reason
from medssr.answers.lexicon import FILLERS, UNDECIDED, any_of
from medssr.answers.mentions import OPENING, SPACE, Mention, heads_a_list, is_asked, is_joined, mention_at
from medssr.answers.options import Page

_FILLER = re.compile(any_of(FILLERS) + r"|an? ")
_MAX_FILLERS = 6
_UNDECIDED = re.compile(any_of(UNDECIDED))
_EMPTY = re.compile(r"[\s\"']*(?:[}<\]]|\Z)")
_LETTER_IN_DESCRIPTION = re.compile(r"[ \[]\(([a-z])\)|(?:option|choice) ([a-z])(?=[.)\n]|\Z)")
_DESCRIPTION_END = re.compile(r"[.?!]\s|\n|\Z")
_LONGEST_DESCRIPTION = 240
_BUT_RATHER = re.compile(
    rf"[,;.)\-\s]{{1,4}}(?:but|rather|instead|it|it's|this|而是|sino|sondern|mais)?"
    rf"(?:{SPACE}(?:is|rather|it is))?{SPACE}?"
)


def read_slot(page: Page, start: int, reason: Reason, *, is_explicit: bool = True) -> Decision | None:
    """The decision in the words after a cue; None where they state none, or ask instead ("is it B?")."""
    mention, position = _mention_after_fillers(page, start)
    if mention is None:
        if _UNDECIDED.match(page.low, position):
            return Decision(None, Reason.NO_ANSWER, is_explicit)
        letter = _letter_of_description(page, position)
        return Decision(letter, reason, is_explicit) if letter else None
    if is_asked(page, mention):
        return None
    if mention.problem:
        return Decision(None, mention.problem, is_explicit)
    if is_joined(page, mention) or heads_a_list(page, mention):
        return Decision(None, Reason.SEVERAL_LETTERS, is_explicit)
    return Decision(mention.letter, reason, is_explicit)


def read_denied_slot(page: Page, start: int) -> Decision:
    """Read "The answer is not A" as taking A back; "not A but B" as B; "not clear" as no answer."""
    mention, _ = _mention_after_fillers(page, start)
    if mention is None or mention.letter is None:
        return Decision(None, Reason.NO_ANSWER)
    rather = _BUT_RATHER.match(page.low, mention.end)
    instead = mention_at(page, rather.end()) if rather else None
    if instead and instead.letter:
        return Decision(instead.letter, Reason.ANSWER_PHRASE)
    return Decision(mention.letter, Reason.RETRACTED)


def read_field(page: Page, start: int, reason: Reason) -> Decision | None:
    """The decision in a box, a tag or a JSON value: unlike prose, whatever fills it is meant as the answer."""
    if _EMPTY.match(page.low, start):
        return None
    return read_slot(page, start, reason) or Decision(None, Reason.NOT_AN_OPTION)


def _mention_after_fillers(page: Page, position: int) -> tuple[Mention | None, int]:
    for _ in range(_MAX_FILLERS):
        opening = OPENING.match(page.low, position)
        position = opening.end() if opening else position
        mention = mention_at(page, position)
        if mention:
            return mention, position
        filler = _FILLER.match(page.low, position)
        if not filler or page.raw.startswith("A ", position):
            break
        position = filler.end()
    return None, position


def _letter_of_description(page: Page, position: int) -> str | None:
    """The one letter of a description: "the answer is a vitamin K antagonist (B)"."""
    end = _DESCRIPTION_END.search(page.low, position, min(len(page.low), position + _LONGEST_DESCRIPTION))
    letters = {
        page.raw[match.start(match.lastindex or 0)]
        for match in _LETTER_IN_DESCRIPTION.finditer(page.low, position, end.start() if end else position)
    } & set(page.options.letters)
    return letters.pop() if len(letters) == 1 else None
