"""Decisions that a text's form shows, without a cue: a first line, a last line, a last sentence."""

import re

from medssr.answers.choice import Decision, Reason
from medssr.answers.cleaned_text import Page, is_letter_at
from medssr.answers.combinations import combination_in, has_combinations
from medssr.answers.lexicon import EXCLUDING, SMALL_TEXTS
from medssr.answers.named_options import (
    JOINED_TEXT,
    LINE_END,
    SENTENCE_END,
    Mention,
    heads_a_list,
    is_asked,
    is_joined,
    mention_at,
)

# --- A last line that is an option, a first line that begins with one ----------------------------------------------

_LINE_LEAD = re.compile(
    r"(?:a: (?=\(?[a-z]\)?[.]?\s*\Z)|\|? ?\d{1,2} \| )?(?:\[x\] |[✅✔✓☑➡👉🔹🔸▶•∴=<\s\"'(\[{>#|\\]|-(?![0-9])){0,20}"
    r"(?:(?:option|opt|choice|letter|assistant|opci[oó]n|opção|opzione"
    r"|optie|alternativa|letra|lettre|lettera|réponse|antwort|buchstabe|вариант|选项|ข้อ)[: ]{1,2}\(?|the )?"
)
_BROKEN_OFF = re.compile(r" (?:is|was|has|does|would|can|could|may|might|will|should)(?![a-z])[^.!?\n]*\Z")
_WHOLE_END = re.compile(r"[)\]}\"']{0,3}(?:\.?[^\S\n]*(?:\Z|\n)|\.\s)")
_LONGEST_LETTER = 4  # "(B)."
_LONGEST_LETTER_LIST = 24  # "A, B, and D"
_HEADING = re.compile(r":[^\S\n]*[^\s]")
_REJECTED = re.compile(
    r"[^.\n]{0,60}(?<![a-z])(?:is|are|was)"
    r"(?:n't| (?:also |the |a )?(?:incorrect|wrong|false|not|least|less|unlikely|tempting|possible|plausible"
    r"|distractor))(?![a-z])"
)
_WITHDRAWN = re.compile(
    r"[)\"']{0,2}(?:\s?(?:\.{2,}|…|<\s?\(?[a-z](?![a-z]))|\swas\s(?!right|correct|the right|the correct)|ではなく"
    r"|가 아니라)"
)
_CASE_BY_CASE = re.compile(
    r"\)? (?:in|for|if|when|with) [^.\n]{1,60}[,;] (?:and |but )?\(?[a-z]\)? (?:in|for|if|when|with) "
)
_ASKED = re.compile(r"[^.!?\n]{1,40}\?")
_BEFORE_REASON = re.compile(r",?\s(?:(?:because|since|as|given|due to)\s|(?:only|alone)(?=[.;,!]|\s*\Z))")
_LETTER_BEFORE_TEXT = re.compile(r"(?<![a-z0-9])([a-z])[).:]{1,2} \Z")


def closing_line(page: Page) -> Decision | None:
    """Reads a last line that is nothing but an option."""
    end = len(page.low.rstrip())
    start = page.low.rfind("\n", 0, end) + 1
    mention = _mention_of_line(page, start)
    if mention is None:
        return None
    if end - start <= _LONGEST_LETTER_LIST and is_joined(page, mention) and not _ASKED.match(page.low, mention.end):
        return Decision(None, Reason.SEVERAL_LETTERS)
    if not LINE_END.match(page.low, mention.end):
        return None
    if mention.letter is None:
        return None if page.low[:start].strip() else Decision(None, mention.problem or Reason.NO_ANSWER)
    previous_end = len(page.low[:start].rstrip())
    is_paragraph = not previous_end or page.low.count("\n", previous_end, start) > 1
    if is_paragraph and _lists_all_options(page, start):  # a repeated question, and below it the answer
        return Decision(mention.letter, Reason.BARE_OPTION, end=end)
    if start <= page.walk_end or _ends_with_another_option(page, previous_end, mention.letter):
        return None
    if not is_paragraph and page.heads and page.raw[page.heads[-1]] + mention.letter in page.options.letters:
        return None  # "C. Heparin - weak.\nD" breaks off in a walk through the options
    is_letter_only = mention.end - start <= _LONGEST_LETTER
    return Decision(mention.letter, Reason.BARE_OPTION, is_explicit=is_paragraph or is_letter_only, end=end)


def opening_line(page: Page) -> Decision | None:
    """Reads a text that begins with its answer: "B. Warfarin is the drug of choice ...", "Yes, because ..."."""
    lead = _LINE_LEAD.match(page.low)
    start = lead.end() if lead else 0
    mention = mention_at(page, start)
    if mention is None or mention.letter is None or heads_a_list(page, mention) or is_asked(page, mention):
        return None
    if page.raw.startswith("I,", start) or _WITHDRAWN.match(page.low, mention.end):
        return None  # the pronoun; "B was a typo", "Yes... or no", "C < B"
    if is_joined(page, mention):
        if _ASKED.match(page.low, mention.end):
            return None  # "A or B? B."
        return Decision(None, Reason.SEVERAL_LETTERS)
    if _BROKEN_OFF.match(page.low, mention.end) or _CASE_BY_CASE.match(page.low, mention.end):
        return None  # "Option B is a drug that", "B in the young, C in the elderly"
    is_small = page.low[start : mention.end] in SMALL_TEXTS
    if (_HEADING.match(page.low, mention.end) and not is_small) or JOINED_TEXT.match(page.low, mention.end):
        return None  # "A: ..." may as well open an answer in a dialogue; "A or C would be reasonable"
    if is_letter_at(page.low, start):
        is_answer = page.raw[start].isupper() and not _begins_a_walk(page, mention)
    else:
        is_answer = is_small or any(end.match(page.low, mention.end) for end in (SENTENCE_END, _BEFORE_REASON))
    is_whole = is_answer and not is_small and not heads_a_list(page, mention) and page.walk_end < 0
    if is_whole and _WHOLE_END.match(page.low, mention.end):  # "B. Warfarin" and reasons
        return Decision(mention.letter, Reason.BARE_OPTION, end=mention.end)
    if not is_answer or (not _has_small_text(page, mention.letter) and _REJECTED.match(page.low, mention.end)):
        return None
    return Decision(mention.letter, Reason.BARE_OPTION, is_explicit=False, end=mention.end)


def _has_small_text(page: Page, letter: str) -> bool:
    """Returns whether it is the letter of an answer by itself: "No, they were not associated" does not reject "no"."""
    return any(text in SMALL_TEXTS for text, letters in page.options.letters_of.items() if letter in letters)


def _begins_a_walk(page: Page, mention: Mention) -> bool:
    """Returns whether every option is discussed in turn, also where the text breaks off within the first one."""
    if mention.letter != page.options.letters[0]:
        return False
    breaks_off = page.low.rstrip()[-1] not in ".,!?)]\"'"
    return page.walk_end >= 0 or (breaks_off and not LINE_END.match(page.low, mention.end))


def _mention_of_line(page: Page, start: int) -> Mention | None:
    lead = _LINE_LEAD.match(page.low, start)
    return mention_at(page, lead.end()) if lead else None


def _lists_all_options(page: Page, end: int) -> bool:
    """Returns whether every option, one a line, has been listed before a position."""
    listed = [page.raw[head] for head in page.heads if head < end]
    return len(listed) > 1 and "".join(listed[-len(page.options.letters) :]) == page.options.letters


def _ends_with_another_option(page: Page, end: int, letter: str) -> bool:
    """Returns whether the line that ends here is, or ends with, another option: the next line is in a list then."""
    start = page.low.rfind("\n", 0, end) + 1
    other = _mention_of_line(page, start)
    if other and other.letter not in (None, letter) and LINE_END.match(page.low, other.end):
        return True
    line = page.low[start:end].rstrip(" .")
    text = next((text for text in page.options.texts if line.endswith(text)), None)
    before = line[: -len(text)] if text else ""
    lettered = _LETTER_BEFORE_TEXT.search(before[-6:])
    return bool(text and lettered and lettered[1].upper() in page.options.letters_of[text].replace(letter, ""))


# --- A last sentence that ends with one option and speaks of no other ----------------------------------------------

_SPELLED_LETTER = re.compile(r"(?<![a-z])(?:option|choice) \(?([a-z])\)?\Z")
_LETTER_AFTER_TEXT = re.compile(r" \((?:option |choice )?([a-z])\)\Z")
_LONGEST_LETTER_OF_TEXT = 12  # " (choice C)"
_LAST_LETTER = re.compile(r"(?<![A-Za-z0-9])\(?([A-HJ-Z])\)?\Z")
_LINK = re.compile(  # what says that the option behind it is the one
    r"(?:(?<![a-z])(?:is|are|be|was|means|suggests?|indicates?|points? to|consistent with|diagnostic of"
    r"|remains|namely|called|only|caused by|belongs to|(?:is|are) to|receives?|gets?|gives?|case of|likely)"
    r"|[=>→:])\s{1,2}(?:the |an? |with )?[(\"']?\Z"
)
_LINK_REACH = 24
_OF_THIS_QUESTION = re.compile(  # "the blood type is B" names no option
    r"[^a-z]*(?:(?:so|thus|hence|therefore),? )?(?:the (?:only )?(?:one|option|choice) (?:that|which|with)|that"
    r"|this|it|everything"
    r"|must|should|has to|which)(?![a-z])"
)
_SENTENCE_STARTS = (". ", "? ", "! ", ": ", "\n")
_LONGEST_SENTENCE = 400
_WORD = re.compile(r"[a-z]+")
_EXCLUDING_A_PART = EXCLUDING - {"would"}
_OTHER_LETTER = re.compile(r"(?<![A-Za-z0-9])([A-Z])(?![A-Za-z0-9])(?! [a-z])")  # not the article in "A patient"


def closing_sentence(page: Page) -> Decision | None:
    """Reads "She should get warfarin (B).", "The drug in question is B. Warfarin.", "The culprit is warfarin."."""
    last = len(page.low.rstrip(" \n.!"))
    if has_combinations(page.options):
        start = _sentence_start(page, last)
        combined = combination_in(page, start, last)
        if combined:
            letter, first, end = combined
            others = f"{page.low[start:first]} {page.low[end:last]}".replace("n't", " not")
            if _EXCLUDING_A_PART.isdisjoint(_WORD.findall(others)):
                return Decision(letter, Reason.VERDICT, is_explicit=False, end=len(page.low))
    named = _option_before(page, last)
    if named is None or named[1] <= page.walk_end:
        return None
    letter, end = named
    reach = max(0, end - _LONGEST_SENTENCE)
    start = _sentence_start(page, end)
    if start == end:  # "Next step: B. Warfarin" has its words in front of the colon
        start = max(reach, page.low.rfind("\n", reach, end) + 1)
    words = _WORD.findall(page.low[start:end].replace("n't", " not"))
    if not words or not EXCLUDING.isdisjoint(words) or _names_another(page, start, end, letter):
        return None
    return Decision(letter, Reason.VERDICT, is_explicit=False, end=len(page.low))


def _option_before(page: Page, end: int) -> tuple[str, int] | None:
    """Returns the letter of the option named before `end`, and where it starts.

    It is named by letter and text, as "option B", or by one of them behind a verb like "is".
    """
    spelled = _SPELLED_LETTER.search(page.low, max(0, end - _LONGEST_LETTER_OF_TEXT), end)
    if spelled:
        letter = spelled[1].upper()
        return (letter, spelled.start()) if letter in page.options.letters else None
    after = _LETTER_AFTER_TEXT.search(page.low, max(0, end - _LONGEST_LETTER_OF_TEXT), end)
    text_end = after.start() if after else end
    text = next((text for text in page.options.texts if page.low.endswith(text, 0, text_end)), None)
    if text is None:
        return _last_letter(page, end)
    start = text_end - len(text)
    letter_of_text = after or _LETTER_BEFORE_TEXT.search(page.low, max(0, start - _LONGEST_LETTER_OF_TEXT), start)
    letters = page.options.letters_of[text]
    if letter_of_text is None:
        return (letters, start) if len(letters) == 1 and _is_linked(page, start) else None
    if letter_of_text[1].upper() not in letters:
        return None
    return letter_of_text[1].upper(), min(start, letter_of_text.start())


def _last_letter(page: Page, end: int) -> tuple[str, int] | None:
    last = _LAST_LETTER.search(page.raw, max(0, end - _LONGEST_LETTER), end)
    if last is None or last[1] not in page.options.letters:
        return None
    if page.low.endswith((". ", "! ", "? "), 0, last.start()):  # "She needs warfarin. B."
        return last[1], last.start() - 1
    if not _is_linked(page, last.start()):
        return None
    is_meant = _OF_THIS_QUESTION.match(page.low, _sentence_start(page, last.start()))
    return (last[1], last.start()) if is_meant else None


def _sentence_start(page: Page, end: int) -> int:
    start = max(0, end - _LONGEST_SENTENCE)
    for mark in _SENTENCE_STARTS:
        position = page.low.rfind(mark, start, end)
        if position >= 0:
            start = position + len(mark)
    return start


def _is_linked(page: Page, position: int) -> bool:
    return _LINK.search(page.low, max(0, position - _LINK_REACH), position) is not None


def _names_another(page: Page, start: int, end: int, letter: str) -> bool:
    sentence = page.low[start:end]
    texts = (text for text, letters in page.options.letters_of.items() if letter not in letters)
    letters = set(_OTHER_LETTER.findall(page.raw, start, end)) & set(page.options.letters)
    return bool(letters - {letter}) or any(text in sentence for text in texts)
