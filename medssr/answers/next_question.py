"""Where a completion stops to answer its question and begins another one of its own.

A base model that has answered goes on with what followed in its training data: a heading ("Question 2:", "### Case 3"),
a turn of a user, a number ("2."), a rule ("---"), or just the stem of a question with its options. Some of these, the
certain ones, begin a question wherever they stand. The others begin one only if what follows has the form of a
question, and only behind an answer: `extract_choice` looks whether there is one.
"""

# ruff: noqa: RUF001  question marks of other scripts

import re
from dataclasses import dataclass
from itertools import islice

from medssr.answers.lexicon import QUESTION_NOUNS, QUESTION_NOUNS_IF_ASKED, any_of, longest_of

_MAX_CUTS = 20
_MAX_LOOKS = 500  # lines of which the text behind is searched for a question
_REACH = 900  # characters of a stem, in which a question mark or the options have to follow


@dataclass(frozen=True, slots=True)
class Cut:
    """A position where another question begins.

    Attributes:
        position: Where the text before it ends.
        is_certain: Whether it begins a question whatever stands before it.
        is_further: Whether it says of itself that it is not the first one: "Question 2", "Next question".
    """

    position: int
    is_certain: bool
    is_further: bool


_SPACE = r"[^\S\n]{0,3}"
_FURTHER = (
    r"(?:(?:here(?:'s| is| comes)|let's (?:try|do|move on to)|now|and)[^\S\n])?"
    r"(?:(?:the|a|an|your)[^\S\n])?(?:next|new|another|second|third|further|more|bonus|additional|extra|follow-?up)"
)
_KIND = (
    r"(?:(?:the|a|one|practice|sample|similar|related|comparable|analogous|board(?:-style)?|usmle|clinical|exam"
    r"|multiple[- ]choice|test|review)[^\S\n]){0,3}"
)
_NUMBER = (
    rf"{_SPACE}(?:#|n[o°º]?\.|n[o°º]|nr\.?|number)?{_SPACE}(?P<number>\d{{1,4}}|[ivx]{{1,4}}(?![a-z])|two|three"
    rf"|four|five)"
    rf"(?:{_SPACE}(?:/|of|out of){_SPACE}\d{{1,4}})?(?:{_SPACE}\([^)\n]{{1,20}}\))?"
)
_TO_PRACTISE = (
    r"[^\S\n](?:for|to)[^\S\n](?:practi[cs]e|review|try|consider|(?:(?:test|challenge)[^\S\n])?(?:you|yourself))"
)
_END = rf"{_SPACE}(?:[:.)\]>|]|-+[^\S\n]|(?=\n)|(?=\Z))"

_HEADING = re.compile(
    rf"(?:(?P<further>{_FURTHER})[^\S\n])?{_KIND}{any_of(QUESTION_NOUNS)}(?:{_NUMBER}|{_TO_PRACTISE})?{_END}"
    rf"|(?:q|qn|ques|question|problem|exercise)\.?{_SPACE}(?P<short>\d{{1,4}})(?!\d|\.\d)"
    rf"|(?P<numeral>第\d+题|下一题|問{_SPACE}\d+|문제{_SPACE}\d+)"
    rf"|(?P<role>(?:user|human)(?:[^\S\n](?:message|prompt|turn|input|query))?{_SPACE}(?:\n|:))"
    r"|<question>"
)
_SECTION = re.compile(
    rf"(?:{_FURTHER}[^\S\n])?{_KIND}{any_of(QUESTION_NOUNS_IF_ASKED)}(?:{_NUMBER})?{_END}"
    rf"|{_FURTHER}(?:[^\S\n][^\n]{{0,40}})?[:.\n]|next:[^\S\n]an?[^\S\n]\d"
    r"|(?:answer|choose|select|pick|solve|read|consider)[^\S\n](?:the|one|another|this)[^\n]{0,80}?[.:\n]"
    r"|(?:the following|below)[^\S\n]is[^\n]{0,80}?[.:\n]"
    r"|#?\d{1,3}[.):]{1,2}(?!\d)\s"
    r"|(?<=#)[^\S\n]?\d{1,3}[^\S\n]"
)
_STEM = re.compile(  # with a label, as a paragraph of its own, or with the first words of a question
    r"\n(?:[^\n:?.!]{1,40}:[^\S\n]|(?<=\n\n)(?:[^\n?]{1,300}\n){0,2}"
    r"|(?=(?:in |for |to |of )?(?:which|what|who|how)[^\S\n]|an?[^\S\n]\d))(?:[^\n]{15,900}|[^\x00-\x7f\n]{6,900})\?"
    r"(?=[^\S\n]{0,3}\n|[^\S\n](?:the )?(?:correct )?answer(?: is|:))"
)
_BEFORE_OPTIONS = re.compile(r"[?:][^\S\n]{0,4}\n\s{0,4}(?:(?:answer )?(?:options|choices):?\s{1,4})?\Z")
# The first words of a line that are worth a look, so that all other lines of a long text are skipped quickly.
_FIRST_WORDS = {
    *(noun.split()[0] for noun in (*QUESTION_NOUNS, *QUESTION_NOUNS_IF_ASKED)),
    "here", "let", "now", "next", "new", "another", "second", "third", "further", "more", "bonus",
    "additional", "extra", "follow", "practice", "sample", "similar", "related", "comparable", "analogous", "board",
    "usmle", "variation", "variant", "clinical", "exam", "multiple", "test",
    "review", "q", "qn", "ques", "user", "human", "answer", "choose", "select", "pick", "solve", "read",
    "consider", "below", "第", "下一题", "問", "문제",
    "the next", "the new", "the second", "the third", "the following", "a new", "your next", "one more",
}  # fmt: skip
_FIRST = rf"[#\s>*_=~|(\[\-]{{0,12}}+(?P<first>{longest_of(_FIRST_WORDS)}(?![a-z])|\d|<q|a[).:\]]\s)"
_LINE = re.compile(rf"\n(?:{_FIRST}|(?P<rule>[^\S\n]*(?:[-=_]{{3,}}|(?:[-_][^\S\n]){{2,}}[-_])[^\S\n]*(?=\n)))")
_CLOSING_MARK = re.compile(rf"(?:</\w{{2,20}}>|}}){_FIRST}")
_ASKED = re.compile(
    r"[?？؟]|(?:[:.…_]|[^\S\n](?:is|are|was|be|by|with|of|to|for|from|in"
    r"|includes?))\s{0,4}(?:\n\s{0,4}(?:answer )?(?:options|choices):?\s{0,4})?\n[-\s>(\[]{0,4}a[.):\]]\s"
    r"|(?<=[a-z])\s{0,3}\n[-\s>(\[]{0,4}a[.):\]]\s[^\n]{1,90}\n\s{0,4}[-(\[]?b[.):\]]\s[^\n]{1,90}\n\s{0,4}[-(\[]?c[.):\]]\s"
)
_MARKS_OF_QUESTION = ("?", "？", "؟", "a.", "a)", "a:", "a]")
_ANSWERED = re.compile(r"answer(?: is|:|>)|boxed|\n\n")
_ANSWERED_STEM = re.compile(r"\s{0,4}[^\n:]{20,400}[.:?]\s{0,3}\n(?=(?:answer|ans|solution)[^\S\n]?:)")
_DISCUSSION = re.compile(
    r"(?<![a-z])(?:let me|let's|explanation|rationale|reasoning|analysis|why|each|check|review|the (?:other|given"
    r"|answer)"
    r"|other|options?|choices|wait|hmm|but|so|because|(?:is|was|could|can) (?:that|this|it)|am i|did i"
    r"|what about|how about|what if)(?![a-z])"
)


def cuts(text: str) -> list[Cut]:
    """Returns the positions where another question may begin, in the order of the text."""
    if "\n" not in text and "</" not in text and "}" not in text:
        return []
    low = text.lower()
    lines = (_cut_at_line(low, line, may_look=number < _MAX_LOOKS) for number, line in enumerate(_LINE.finditer(low)))
    cuts = list(islice(filter(None, lines), _MAX_CUTS))
    if "?" in low:
        labelled = (label for label in _STEM.finditer(low) if not _DISCUSSION.search(label[0]))
        cuts += (Cut(label.start(), False, False) for label in islice(labelled, _MAX_CUTS))
    if "</" in low or "}" in low:
        marks = (
            _cut_at(low, mark.start("first"), mark, may_look=number < _MAX_LOOKS)
            for number, mark in enumerate(_CLOSING_MARK.finditer(low))
        )
        cuts += islice(filter(None, marks), _MAX_CUTS)
    return sorted(cuts, key=lambda cut: cut.position)


def _cut_at_line(low: str, line: re.Match[str], *, may_look: bool) -> Cut | None:
    if line["rule"]:
        return (
            Cut(line.start(), False, False)
            if may_look and (_asks(low, line.end()) or _is_answered(low, line.end()))
            else None
        )
    return _cut_at(low, line.start(), line, may_look=may_look)


def _cut_at(low: str, start: int, line: re.Match[str], *, may_look: bool) -> Cut | None:
    """Returns the cut at `start` if a question begins with the first word of the line, or if it asks further on."""
    position = line.start("first")
    heading = _HEADING.match(low, position)
    if heading:
        number = heading["number"] or heading["short"] or "1"
        is_further = number not in ("1", "i") or heading["further"] or heading["numeral"] or heading["role"]
        return Cut(start, True, bool(is_further))
    if not may_look:
        return None
    if line["first"][1:].strip() and line["first"][1] in ").:]":
        stem = _start_of_stem(low, position)
        return None if stem is None else Cut(stem, False, False)
    section = _SECTION.match(low, position)
    if section is None:
        return None
    is_numbered = section["number"] not in (None, "1", "i")
    is_question = is_numbered or _asks(low, section.end()) or _is_answered(low, section.end())
    return Cut(start, False, False) if is_question else None


def _asks(low: str, start: int) -> bool:
    """Returns whether the text that starts here asks something before it answers, or has options to choose from."""
    if not any(low.find(mark, start, start + _REACH) >= 0 for mark in _MARKS_OF_QUESTION):
        return False
    asked = _ASKED.search(low, start, start + _REACH)
    if asked is None or _ANSWERED.search(low, start + 1, asked.start()):
        return False
    return asked[0] in "?？؟" or not _DISCUSSION.search(low, start, asked.start())


def _is_answered(low: str, start: int) -> bool:
    """Returns whether a line of text follows that is no discussion, and below it an answer with a label."""
    stem = _ANSWERED_STEM.match(low, start)
    return stem is not None and not _DISCUSSION.search(stem[0])


def _start_of_stem(low: str, options_start: int) -> int | None:
    """Returns where the line starts that asks for one of the options below it."""
    reach = max(0, options_start - _REACH)
    end = _BEFORE_OPTIONS.search(low[reach:options_start].rstrip("->([ "))
    if end is None:
        return None
    stem_end = reach + end.start()
    start = max(low.rfind(mark, reach, stem_end) for mark in "\n>") + 1
    is_long = low.count(" ", start, stem_end) >= 3
    return start if is_long and not _DISCUSSION.search(low, start, stem_end) else None
