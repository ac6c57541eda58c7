"""Reads the option that is named at a position of a page, and the decision in the words that follow a cue."""

import re
from dataclasses import dataclass

from medssr.answers.choice import Decision, Reason
from medssr.answers.cleaned_text import Page, is_letter_at, text_at
from medssr.answers.combinations import JOINED_BY, combination_at, is_part_with_more
from medssr.answers.lexicon import AFTER_LETTER, FILLERS, JOINING, SMALL_TEXTS, UNDECIDED, VERBS_OF_A_SUBJECT, any_of

# --- An option, by its letter, by its text, or by both -----------------------------------------------------------

SPACE = r"[^\S\n]"  # white space within a line

_SIGNS = "✅✔✓☑🎯👍💯🟢⭐"  # as in "Answer: B ✅"
LINE_END = re.compile(rf"[)\]}}>\"'.! |\\{_SIGNS}]{{0,6}}(?:\Z|\n)")
SENTENCE_END = re.compile(rf"[)\]}}>\"'.! |\\{_SIGNS}]{{0,6}}(?:\Z|\n|(?<=[)\]}}])|(?<=\.){SPACE}|<)|\.{SPACE}")
OPENING = re.compile(r"(?:\n\d[.)] |[✅✔✓☑➡→⇒👉,\s\"'(\[{:=<>#…|\\]|[-.](?![0-9])){0,60}")
JOINED_TEXT = re.compile(rf"{SPACE}{{0,3}}[)\]]?,?{SPACE}{any_of(JOINING)}{SPACE}")
_JOINER = (
    rf"{SPACE}{{0,3}}[)\]}}\"'.]{{0,3}}{SPACE}{{0,3}}"
    rf"(?:,?{SPACE}?\(?{any_of(JOINING)}(?:{SPACE}(?:possibly|maybe|perhaps|also|even|then))?"
    rf"|[,;/&+|\-](?:{SPACE}(?:possibly|maybe|perhaps|or maybe))?)"
)
_JOINED_LETTER = re.compile(
    rf"{_JOINER}{SPACE}{{0,3}}(?:option |choice )?[(\[\"']{{0,2}}([a-z])(?![a-z0-9'])(?!-[a-z0-9])"
    rf"(?!{SPACE}{any_of(VERBS_OF_A_SUBJECT)})"
)
# "B; A, C and D act elsewhere": what is said of the others.
_OF_OTHERS = re.compile(
    rf";{SPACE}(?:options? )?[a-z](?:,{SPACE}[a-z])*,?{SPACE}(?:and|or|&){SPACE}[a-z]{SPACE}[a-z]{{2}}"
)
_NEXT_LETTERED = re.compile(rf"[.,;]?{SPACE}{{1,3}}\(?([a-z])[.):]{SPACE}")
_LETTER_END = re.compile(
    rf"(?:{SPACE}{{0,3}}(?:\Z|\n|[)\]}}\",;:!?<|\\>।{_SIGNS}]|\[[/0-9]| \[|-(?![a-z0-9])|'(?![a-z])|\((?=[^)\n]{{2}}))"
    rf"|\.|{SPACE}{{1,3}}\.(?=\s|\Z)"
    rf"|{SPACE}{{0,3}}{any_of(AFTER_LETTER)}|{_JOINED_LETTER.pattern})"
)
_ARTICLE = re.compile(rf"a{SPACE}(?!{any_of(AFTER_LETTER)})[a-zA-Z]")
_ABBREVIATION = re.compile(rf"\.{SPACE}?(?!(?i:{any_of(AFTER_LETTER)}))[a-z]")  # "C. difficile", "E. coli"
_SEPARATOR = re.compile(
    rf"(?:[)\]}}\"'.:,;({{>=/]|-(?![0-9])){{0,4}}{SPACE}{{0,3}}(?:[(\[\"'=]|-(?![0-9])){{0,4}}{SPACE}{{0,2}}"
)
_SMALL_TEXT_END = re.compile(rf"\s*(?:\Z|\n|[)\]}}\"',.;:!?<(]|- )|{SPACE}{any_of(('because', 'since', 'as', 'but'))}")
_ARROW_TO = re.compile(
    rf"[)\]}}\"'.]{{0,3}}{SPACE}{{0,3}}(?:->|-->|→|⇒|➡|=>)️?{SPACE}{{0,3}}(?:option |choice )?[(\[\"']{{0,2}}"
)
_UNIT = re.compile(  # "0.5 mg" for the option "0.5"
    rf"{SPACE}?(?:[mµuck]?g|mcg|[mdµ]?l|[mµn]?mol|meq|[mckn]?m|%|years?|days?|weeks?|months?|hours?|minutes?|units?"
    rf"|iu)(?![a-z])"
)
_DENIED_BEHIND = re.compile(r"(?:ではなく|でなく|而不是|가 아니라|이 아니라)て?,? ?")
_DENIED_TEXT = re.compile(rf"{SPACE}(?:(?:is|are|was|does|would|should|can|has)(?:{SPACE}not|n't)|cannot)(?![a-z])")
_LETTER_OF_TEXT = re.compile(
    r"(?:[\s,\"']{0,4}(?:[(\[](?:option |choice |answer )?|(?:option|choice) )|\s?[,-]\s(?=[a-z][.!]?\s*(?:\Z|\n)))"
    r"([a-z])(?![a-z0-9-])"
)


@dataclass(frozen=True, slots=True)
class Mention:
    """An option named at some position, or the reason why the text there names none."""

    letter: str | None
    end: int
    problem: Reason | None = None


_ENCLOSING, _ENCLOSING_END = frozenset("([{\"'"), frozenset(")]}\"'")


def mention_at(page: Page, position: int) -> Mention | None:
    """Returns the option named here: "B", "(B)", "B. Warfarin", "Warfarin", "Warfarin (B)"."""
    by_text = text_at(page, position)
    combined = combination_at(page, position)
    if combined and (by_text is None or combined[1] > by_text[1]):
        by_text = combined
    is_letter = is_letter_at(page.low, position)
    if by_text:
        names_no_letter = not is_letter or page.low[position].upper() not in page.options.letters
        if names_no_letter or by_text[1] > position + 1:
            return _mention_by_text(page, position, *by_text)
    return _mention_by_letter(page, position) if is_letter else None


def _mention_by_letter(page: Page, position: int) -> Mention | None:
    low, after = page.low, position + 1
    letter = low[position].upper()
    separator = _SEPARATOR.match(low, after)
    named = text_at(page, separator.end()) if separator and separator[0] else None
    if named and letter in named[0]:
        return Mention(letter, named[1])
    is_spelled_out = named and separator and separator[0].strip() and letter in page.options.letters
    if named and is_spelled_out and SENTENCE_END.match(low, named[1]):
        return Mention(None, named[1], Reason.CONTRADICTION)
    if not _LETTER_END.match(low, after) or _ABBREVIATION.match(page.raw, after):
        is_enclosed = low[position - 1 : position] in _ENCLOSING and low[after : after + 1] in _ENCLOSING_END
        if not is_enclosed and not low.endswith(("option ", "choice "), max(0, position - 7), position):
            return None
    return Mention(letter, after) if letter in page.options.letters else Mention(None, after, Reason.NOT_AN_OPTION)


def _mention_by_text(page: Page, start: int, letters: str, end: int) -> Mention | None:
    text = page.low[start:end]
    is_small = text in SMALL_TEXTS or len(text) <= 3
    if is_small and not (_SMALL_TEXT_END.match(page.low, end) or (text[0].isdigit() and _UNIT.match(page.low, end))):
        return None
    if _DENIED_TEXT.match(page.low, end):
        return None
    named = _LETTER_OF_TEXT.match(page.low, end)
    if named:
        letter = named[1].upper()
        return Mention(letter, named.end()) if letter in letters else Mention(None, named.end(), Reason.CONTRADICTION)
    return Mention(letters, end) if len(letters) == 1 else Mention(None, end, Reason.SHARED_TEXT)


def is_joined(page: Page, mention: Mention) -> bool:
    """Returns whether another option is named in the same breath: "B or C", "B/C", "B. Warfarin and C. Heparin"."""
    if _OF_OTHERS.match(page.low, mention.end):
        return False
    letter = _JOINED_LETTER.match(page.low, mention.end)
    if letter and _ARTICLE.match(page.raw, letter.start(1)):  # "warfarin, a vitamin K antagonist"
        letter = None
    if letter and letter[1].upper() in page.options.letters and not _ABBREVIATION.match(page.raw, letter.end()):
        return letter[1].upper() != mention.letter
    lettered = _NEXT_LETTERED.match(page.low, mention.end)
    following = mention_at(page, lettered.start(1)) if lettered else None
    if lettered and following and following.end > lettered.end():
        return following.letter != mention.letter
    text = JOINED_BY.match(page.low, mention.end) or JOINED_TEXT.match(page.low, mention.end)
    other = mention_at(page, text.end()) if text else None
    if text is None or other is None or other.letter in (None, mention.letter):
        return False
    return text[0].strip() not in (",", ";") or SENTENCE_END.match(page.low, other.end) is not None


def is_asked(page: Page, mention: Mention) -> bool:
    """Returns whether a question mark follows: "B?"."""
    return page.low[mention.end : mention.end + 3].lstrip(" .)\"'").startswith("?")


def heads_a_list(page: Page, mention: Mention) -> bool:
    """Returns whether the next line is a lone option too: a list of options decides nothing."""
    line_end = LINE_END.match(page.low, mention.end)
    following = OPENING.match(page.low, line_end.end()) if line_end else None
    other = mention_at(page, following.end()) if following else None
    return bool(other and other.letter not in (None, mention.letter) and LINE_END.match(page.low, other.end))


# --- The words after a cue: "The answer is [option B, Warfarin]" ---------------------------------------------------

_FILLER = re.compile(any_of(FILLERS) + r"|an? ")
_MAX_FILLERS = 6
_UNDECIDED = re.compile(any_of(UNDECIDED))
_NEITHER = re.compile(r"neither [^.;\n]{1,60}[.;] (?:it is |but )?")
_EMPTY_FIELD = re.compile(r"[\s\"']*(?:[}<\]]|\Z)")
_LETTER_IN_DESCRIPTION = re.compile(r"[ \[]\(([a-z])\)|(?:option|choice) ([a-z])(?=[.)\n]|\Z)")
_DESCRIPTION_END = re.compile(r"[.?!]\s|\n|\Z")
_LONGEST_DESCRIPTION = 240
_BUT_RATHER = re.compile(
    rf"[,;.)\-\s]{{1,4}}(?:but|rather|instead|it|it's|this|而是|sino|sondern|mais)?"
    rf"(?:{SPACE}(?:is|rather|it is))?{SPACE}?"
)


def read_slot(page: Page, start: int, reason: Reason, *, is_explicit: bool = True) -> Decision | None:
    """Returns the decision in the words after a cue; None where they state none, or ask instead ("is it B?")."""
    mention, position = _mention_after_fillers(page, start)
    denied = (_DENIED_BEHIND.match(page.low, mention.end) if mention else None) or _NEITHER.match(page.low, position)
    if denied:
        mention = mention_at(page, denied.end())
    if mention is None:
        if _UNDECIDED.match(page.low, position):
            return Decision(None, Reason.NO_ANSWER, is_explicit)
        letter = _letter_of_description(page, position)
        return Decision(letter, reason, is_explicit, end=position) if letter else None
    if is_asked(page, mention):
        return None
    mention = _changed_by_arrow(page, mention)
    if mention.problem:
        return Decision(None, mention.problem, is_explicit)
    is_several = is_joined(page, mention) or heads_a_list(page, mention)
    if is_several or (mention.letter and is_part_with_more(page, mention.letter, mention.end)):
        return Decision(None, Reason.SEVERAL_LETTERS, is_explicit)
    return Decision(mention.letter, reason, is_explicit, end=mention.end)


def _changed_by_arrow(page: Page, mention: Mention) -> Mention:
    """Returns the option to which an arrow changes the one that is named: "C -> B" ends in B."""
    arrow = _ARROW_TO.match(page.low, mention.end)
    changed = mention_at(page, arrow.end()) if arrow else None
    is_last = changed is not None and changed.letter and SENTENCE_END.match(page.low, changed.end)
    return changed if changed and is_last else mention


def read_denied_slot(page: Page, start: int) -> Decision:
    """Reads "The answer is not A" as taking A back; "not A but B" as B; "not clear" as no answer."""
    mention, _ = _mention_after_fillers(page, start)
    if mention is None or mention.letter is None:
        return Decision(None, Reason.NO_ANSWER)
    rather = _BUT_RATHER.match(page.low, mention.end)
    instead = mention_at(page, rather.end()) if rather else None
    if instead and instead.letter:
        return Decision(instead.letter, Reason.ANSWER_PHRASE, end=instead.end)
    return Decision(mention.letter, Reason.RETRACTED)


def read_field(page: Page, start: int, reason: Reason) -> Decision | None:
    """Returns the decision in a box, a tag or a JSON value: unlike prose, whatever fills it is meant as the answer."""
    if _EMPTY_FIELD.match(page.low, start):
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
    """Returns the one letter of a description: "the answer is a vitamin K antagonist (B)"."""
    end = _DESCRIPTION_END.search(page.low, position, min(len(page.low), position + _LONGEST_DESCRIPTION))
    letters = {
        page.raw[match.start(match.lastindex or 0)]
        for match in _LETTER_IN_DESCRIPTION.finditer(page.low, position, end.start() if end else position)
    } & set(page.options.letters)
    return letters.pop() if len(letters) == 1 else None
