"""Decisions that a text's form shows, without a cue: a first or last line, a last sentence, verdicts, a JSON field."""

import re

from medssr.answers.choice import Decision, Reason
from medssr.answers.cleaned_text import Page, is_letter_at, page_of, plain_characters
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
    r"(?:[✅✔✓☑➡👉•∴=\s\"'(\[{>#|\\]|-(?![0-9])){0,20}(?:(?:option|choice|letter|assistant|opci[oó]n|opção|opzione|optie|alternativa|letra|lettre|lettera|réponse|antwort|buchstabe|вариант|选项)[: ]{1,2}\(?)?"
)
_WHOLE_END = re.compile(r"[)\]}\"']{0,3}(?:\.?[^\S\n]*(?:\Z|\n)|\.\s)")
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
    """Reads a last line that is nothing but an option."""
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
    """Reads a text that begins with its answer: "B. Warfarin is the drug of choice ...", "Yes, because ..."."""
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
    is_whole = is_answer and not is_small and not heads_a_list(page, mention) and page.walk_end < 0
    if is_whole and _WHOLE_END.match(page.low, mention.end):  # "B. Warfarin" and reasons
        return Decision(mention.letter, Reason.BARE_OPTION)
    if not is_answer or (not _has_small_text(page, mention.letter) and _REJECTED.match(page.low, mention.end)):
        return None
    return Decision(mention.letter, Reason.BARE_OPTION, is_explicit=False)


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
_SENTENCE_STARTS = (". ", "? ", "! ", ": ", "\n")
_LONGEST_SENTENCE = 400
_WORD = re.compile(r"[a-z]+")
_OTHER_LETTER = re.compile(r"(?<![A-Za-z0-9])([A-Z])(?![A-Za-z0-9])(?! [a-z])")  # not the article in "A patient"


def closing_sentence(page: Page) -> Decision | None:
    """Reads "She should get warfarin (B).", "The drug in question is B. Warfarin.", "We are left with option B."."""
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
    """Returns the letter of the option named before `end` by letter and text or as "option B", and where it starts."""
    spelled = _SPELLED_LETTER.search(page.low, max(0, end - _LONGEST_LETTER_OF_TEXT), end)
    if spelled:
        letter = spelled[1].upper()
        return (letter, spelled.start()) if letter in page.options.letters else None
    after = _LETTER_AFTER_TEXT.search(page.low, max(0, end - _LONGEST_LETTER_OF_TEXT), end)
    text_end = after.start() if after else end
    text = next((text for text in page.options.texts if page.low.endswith(text, 0, text_end)), None)
    if text is None:
        return None
    start = text_end - len(text)
    letter_of_text = after or _LETTER_BEFORE_TEXT.search(page.low, max(0, start - _LONGEST_LETTER_OF_TEXT), start)
    if letter_of_text is None or letter_of_text[1].upper() not in page.options.letters_of[text]:
        return None
    return letter_of_text[1].upper(), min(start, letter_of_text.start())


def _names_another(page: Page, start: int, end: int, letter: str) -> bool:
    sentence = page.low[start:end]
    texts = (text for text, letters in page.options.letters_of.items() if letter not in letters)
    letters = set(_OTHER_LETTER.findall(page.raw, start, end)) & set(page.options.letters)
    return bool(letters - {letter}) or any(text in sentence for text in texts)


# --- A list that gives every option a verdict of its own, and calls one of them right --------------------------------

_VERDICT_LINE = re.compile(
    r"^[\s#>|-]{0,8}(?:option )?\(?(?P<letter>[a-z])(?:[).:\]]| ?\|)(?P<rest>[^\n]*)$", re.MULTILINE
)
_VERDICT_END = r"[\s.!|)\]]{0,9}\Z"
_IS_RIGHT = re.compile(r"(?<![a-z])(?<!not )(?:correct|right|true|yes)" + _VERDICT_END)
_IS_WRONG = re.compile(r"(?<![a-z])(?:incorrect|not correct|wrong|false|no)" + _VERDICT_END)
_VERDICT_REACH = 40


def verdict_list(page: Page) -> Decision | None:
    """Reads "A. Aspirin: false", "B. Warfarin: true" ..., one line an option, where one alone is right."""
    verdicts: dict[str, bool] = {}
    for line in _VERDICT_LINE.finditer(page.low):
        letter, verdict = line["letter"].upper(), _verdict(line["rest"])
        if letter not in page.options.letters:
            continue
        if verdict is None or letter in verdicts:
            return None
        verdicts[letter] = verdict
    right = [letter for letter, is_right in verdicts.items() if is_right]
    if len(verdicts) < len(page.options.letters) or len(right) != 1:
        return None
    return Decision(right[0], Reason.VERDICT, is_explicit=False)


def _verdict(line: str) -> bool | None:
    end = line[-_VERDICT_REACH:]
    if _IS_RIGHT.search(end):
        return True
    return False if _IS_WRONG.search(end) else None


# --- The answer field of a JSON object, also of one that is cut off or not quite JSON --------------------------------

_JSON_KEY = re.compile(
    r"[\"'](?:(?:final|correct|selected|chosen|predicted)[_ ]?)?"
    r"(?:answer(?:[_ ]?(?:choice|letter|option|idx))?|choice|option|prediction)[\"']\s{0,20}:"
)
_JSON_OPENING = re.compile(r"[\s\"'\[{(]{0,20}(?:(?:str|letter|choice)[\"':\s({\"']{1,6})?")
_JSON_VALUE_END = re.compile(r"[\"'](?=\s{0,20}(?:[,}\]\n\"]|\Z))|[}\n]")
_JSON_OBJECT_END = re.compile(  # the fields behind the value, and the brace that closes the object
    r"[\"'\]]?+\s*+(?:,\s*+\"[^\"\n]*+\"\s*+:\s*+(?:\"(?:[^\"\\]|\\.)*+\"|\[[^\]]*+\]|[^\",}\n]*+)\s*+)*+,?+\s*+\}"
)
_JSON_LIST_END = re.compile(r"\]")
_JSON_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|[n\"/\\])")


def json_answer(page: Page) -> tuple[Page, Page] | None:
    """Returns the value of the last answer key, and the text behind its object."""
    key = None
    for key in _JSON_KEY.finditer(page.low):  # noqa: B007  the last one counts
        pass
    opening = _JSON_OPENING.match(page.low, key.end()) if key else None
    if opening is None:
        return None
    start = opening.end()
    end = (_JSON_LIST_END if "[" in opening[0] else _JSON_VALUE_END).search(page.low, start)
    value_end = end.start() if end else len(page.low)
    value = plain_characters(_JSON_ESCAPE.sub(_unescaped, page.raw[start:value_end]))
    object_end = _JSON_OBJECT_END.match(page.low, value_end)
    rest = object_end.end() if object_end else max(page.low.rfind("}"), value_end) + 1
    return page_of(value, page.options), page_of(page.raw[rest:], page.options)


def _unescaped(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16)) if escape[1] else "\n" if escape[0] == "\\n" else escape[0][1:]
