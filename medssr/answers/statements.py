"""Reads the statement around a cue: does it decide this question, decide it under a condition, or decide nothing?

"In gout, the answer is B" and "had she been pregnant, B" are said of another case; "the most common wrong answer is B",
"students often choose B" and "avoid choosing B" are said about other answers than one's own.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto

from medssr.answers import lexicon
from medssr.answers.cleaned_text import Page
from medssr.answers.lexicon import any_of

_REACH = 60  # characters of a line in front of a cue that say what the cue is about
_SENTENCE_REACH = 160
_SENTENCE_END = re.compile(r"[.!?;] |\n")
_CLAUSE_START = re.compile(r"[,;:—]\s|\s-\s|\s(?:but|so|hence|thus|therefore|while|whereas)\s")
_WORD = re.compile(r"[a-z'-]+")


@dataclass(frozen=True, slots=True)
class Endings:
    """Words and phrases that a line may end with."""

    words: frozenset[str]
    phrases: tuple[str, ...]

    def end(self, line: str) -> bool:
        """Returns whether the line ends with one of them, as whole words where they are spelled in Latin letters."""
        line = line.rstrip()
        return line.rpartition(" ")[2].lstrip('("') in self.words or (" " + line).endswith(self.phrases)


def endings(words: Iterable[str]) -> Endings:
    """Returns the endings for some words."""
    single = frozenset(word for word in words if " " not in word and word[0].isascii())
    phrases = (mark + word for word in words if word not in single for mark in (' ("' if word[0].isascii() else ("",)))
    return Endings(single, tuple(phrases))


_INTENDED = re.compile(
    r"(?<![a-z])(?:was|were|been) (?:\w+ )?(?:about|going|ready|inclined|tempted|thinking|leaning|close)(?![a-z])"
)
_VOID_ENDINGS = endings(lexicon.NO_DECISION_BEFORE)
_QUALITY_ENDINGS = endings((*lexicon.QUALITIES, "answer", "die"))
_MYSELF = frozenset(lexicon.MYSELF)
_NOT_MINE_ENDINGS = endings(lexicon.NOT_MINE)
_ENDS_IN_OWNER = re.compile(
    r"(?<!let)(?<!it)(?<!that)(?<!here)(?<!what)(?<!\bhe)(?<!\bshe)'s\s*\Z"
)  # "the key's answer"
_SURE = ("sure", "certain", "convinced", "persuaded")
_SURE_ENDINGS = endings(_SURE)

# --- The words directly in front of a cue -----------------------------------------------------------------------------


def line_before(page: Page, position: int) -> str:
    """Returns the words in front of a position, in lower case and no further than the start of its line."""
    return page.low[max(0, position - _REACH) : position].rpartition("\n")[2]


def is_label(line: str) -> bool:
    """Returns whether what follows the line is a label of its own or has a quality: "Answer:", "the best option"."""
    return not line.strip(" #>*-") or _QUALITY_ENDINGS.end(line.rstrip(" _"))


def decides_nothing(line: str) -> bool:
    """Returns whether the line ends like "if the correct ...", "another ...", "I'm not sure that the ..."."""
    for _ in range(5):
        line = line.rstrip()
        if _VOID_ENDINGS.end(line) or _is_unsure(line) or (line.endswith("'s") and _ENDS_IN_OWNER.search(line)):
            return True
        line, _, word = line.rpartition(" ")
        if word not in lexicon.LEADING_WORDS:
            return False
    return False


def is_about_the_least(line: str) -> bool:
    """Returns whether the line ends like "the least appropriate ..."."""
    words = line.split()
    while words and words[-1] in lexicon.LEADING_WORDS:
        words.pop()
    return bool(words) and words[-1] in lexicon.LEAST


def _is_unsure(line: str) -> bool:
    if not line.endswith(_SURE) or not _SURE_ENDINGS.end(line):
        return False
    return any(word in lexicon.UNSURE or word.endswith("n't") for word in line.split()[-4:-1])


def is_chosen_by_others(line: str) -> bool:
    """Returns whether the line ends like "some experts would", "you might", "I would not", "the mistake of"."""
    words = _WORD.findall(re.split(r"[.!?]", line)[-1])
    if any(word in lexicon.NOT_CHOSEN or word.endswith("n't") for word in words[-2:]):
        return True
    if words and words[-1] in lexicon.OF_OTHERS_BEFORE and len(words) > 1 and not _MYSELF & set(words):
        return True
    if (
        words[-2:] == ["reason", "to"]
        or _INTENDED.search(" ".join(words[-6:]))
        or not lexicon.WARNINGS.isdisjoint(words)
    ):
        return True
    return next(
        (word in lexicon.OTHERS for word in reversed(words) if word in lexicon.OTHERS or word in lexicon.MYSELF), False
    )


def has_other_subject(line: str) -> bool:
    """Returns whether the last sentence of the line has a subject other than me: "my colleague would"."""
    words = _WORD.findall(re.split(r"[.!?:]", line)[-1])
    return (
        len(words) > 1 and _MYSELF.isdisjoint(words) and words[-1] not in ("should", "must", "to", "then", "therefore")
    )


# --- The sentence around a decision -----------------------------------------------------------------------------------

# What is no other case: "in this patient", "for the reasons above", "in summary", "if I had to choose".
_OWN_CASE = (
    r"(?:this|these|those|the(?! (?:past|elderly|other|next|previous|last|first|second|absence))|our|my|his|her"
    r"|their|its|such|that|which|both|all|any|each|it|him"
    r"|them|me|us|summary|short|brief|conclusion|sum|light|view|fact|general|total|essence|addition|order"
    r"|other words|contrast"
    r"|example|instance|now|sure|certain|free|step|terms|line|most|a (?:nutshell|word|sentence)"
    r"|question(?! \d))(?![a-z])"
)
_MY_VIEW = (
    r"(?:i|we|you have|you must|forced|pressed|considering|taken|looking|all|comparing|evaluating"
    r"|asked for the (?:best|single)"
    r"|so|not|anything|only one)(?![a-z])"
)
_SCOPE = (
    rf"(?:(?:in|for|with|under|during|among)[^\S\n](?!{_OWN_CASE})"
    r"|without[^\S\n](?!this|a doubt|doubt|question|further)|on[^\S\n](?:last|another|a different|previous)[^\S\n])"
)
_CONDITION = (
    rf"(?:if|unless|when|whenever|in case|provided|supposing|assuming|should(?! (?:read|be|have)[^\S\n])|were"
    rf"|had)[^\S\n](?!{_MY_VIEW})"
)
_STARTS_OTHER_CASE = re.compile(
    rf"(?:(?:but|and|only|except|even|then|while|whereas|note that|remember that)[^\S\n])*(?:{_SCOPE}|{_CONDITION}"
    rf"|in case of|(?:after|once)[^\S\n](?=[a-z])(?!\w+ing|double[ -]check|i|we|all|careful|further|more|some|closer"
    rf"|re[\w-]+|another|second|that)"
    r"|otherwise(?![a-z])|(?:suppose|imagine|assume)[^\S\n]|by contrast|in contrast|on the other hand|conversely"
    r"|historically|traditionally|formerly"
    r"|according to (?!the (?:question|vignette|stem|abstract|case|current)|this|these|current)|[a-z]+ ago(?![a-z]))"
)
_CONTAINS_CONDITION = re.compile(
    rf"(?<![a-z])(?:if|unless|whenever|in which case|only in|only if)[^\S\n](?!{_MY_VIEW})"
)
_ENDS_IN_OTHER_CASE = re.compile(
    rf"[)\]}}\"']{{0,2}},?[^\S\n](?:only[^\S\n])?(?:{_SCOPE}|{_CONDITION}|to (?:(?:a|the) (?:different|other"
    rf"|previous|next)|(?:question|case|item)[^\S\n]\d)"
    r"|of (?:a|the) (?:different|other|previous|next))"
)
_UNREAL = re.compile(
    rf"(?:^|[.,;:][^\S\n])(?:(?:but|and|or|even|then)[^\S\n])?{_CONDITION}|(?<![a-z])(?:if|unless)[^\S\n](?!{_MY_VIEW})"
    r"|(?<![a-z])then(?![a-z])"
)
_UNREAL_BEHIND = re.compile(rf"[^.,;\n]{{0,90}}?[^\S\n](?:if|unless|only when)[^\S\n](?!{_MY_VIEW})")
_REPORTED = re.compile(
    r"(?<![a-z])(?:says|said|claims|claimed|thinks|argues|argued|lists|initial|initially|previously|formerly"
    r"|historically|(?:textbooks?|sources?|key|colleagues?|others?|people|friends?"
    r"|authors?|guidelines?|students?|some) (?:\w+ ){0,3}(?:says?|said|lists?|listed|claims?|think|answers?|states?)"
    r"|(?:my )?first (?:thought|guess|impression|instinct)|might|could argue|tempt\w+|would have|i thought"
    r"|at first|glance)(?![a-z])"
)
_OTHERS_CASE = re.compile(
    r"[)\]}\"'.,]{0,2}[^\S\n](?:if|in|for|when|unless)[^.\n]{2,80}?(?:,|;| and| but"
    r"| or)[^\S\n](?:option )?\(?([a-z])\)?"
    r"[^\S\n](?:if|in|for|when|unless)(?![a-z])"
)


class Statement(Enum):
    """What the statement of a decision is about."""

    OWN_CASE = auto()  # "The answer is B."
    OTHER_CASE = auto()  # "In gout, the answer is B."
    TWO_CASES = auto()  # "The answer is B if it is acute and C if it is chronic."
    NO_DECISION = auto()  # "Had she been pregnant, the answer would be B.", "Some books say the answer is B."


def statement_of(page: Page, start: int, end: int) -> Statement:
    """Returns what the sentence is about in which a decision stands, from its cue to its option."""
    before = _sentence_before(page.low, start)
    if before and _REPORTED.search(_CLAUSE_START.split(before)[-1]):
        return Statement.NO_DECISION
    if _is_unreal(page.low, before, start, end):
        return Statement.NO_DECISION
    if _OTHERS_CASE.match(page.low, end):
        return Statement.TWO_CASES
    is_other = (before and _is_of_another_case(before)) or _ENDS_IN_OTHER_CASE.match(page.low, end)
    return Statement.OTHER_CASE if is_other else Statement.OWN_CASE


def _is_of_another_case(before: str) -> bool:
    return bool(
        _STARTS_OTHER_CASE.match(before)
        or (": " in before and any(_STARTS_OTHER_CASE.match(part) for part in before.split(": ")))
        or _CONTAINS_CONDITION.search(before)
        or _NOT_MINE_ENDINGS.end(before)
    )


def _sentence_before(low: str, position: int) -> str:
    before = low[max(0, position - _SENTENCE_REACH) : position]
    start = 0
    for end in _SENTENCE_END.finditer(before):
        start = end.end()
    return before[start:].lstrip(" \"'(*#>-")


def is_counterfactual(page: Page, start: int, end: int) -> bool:
    """Returns whether a sentence says what would be right in another case: "Were she pregnant, B would be right."."""
    return _is_unreal(page.low, _sentence_before(page.low, start), start, end)


def _is_unreal(low: str, before: str, start: int, end: int) -> bool:
    statement = before + low[start:end]
    return "would" in statement and bool(_UNREAL.search(statement) or _UNREAL_BEHIND.match(low, end))


# --- A clause of its own ----------------------------------------------------------------------------------------------

_OTHERS_IN_CLAUSE = re.compile(any_of(set(lexicon.OTHERS) - {"one", "most", "if", "when", "whenever", "he", "she"}))
_LURES = lexicon.WARNINGS - {"wrong", "mistake", "mistaken", "error"}  # these four also take an answer back
_UNREAL_VERB = re.compile(r"(?<![a-z])(?:could|might|may|would have)(?![a-z])")


_ELSEWHERE = re.compile(rf"(?<![a-z]){_SCOPE}")


def is_elsewhere(words: str) -> bool:
    """Returns whether some words name another case: "for Lyme disease"."""
    return _ELSEWHERE.search(words) is not None


def is_another_case(clause: str) -> bool:
    """Returns whether a clause is said of another case or of what might be: "in gout, it is B", "B might be better"."""
    start = clause.lstrip(" \"'(*#>-")
    return bool(_STARTS_OTHER_CASE.match(start) or _CONTAINS_CONDITION.search(start) or _UNREAL_VERB.search(start))


def is_view_of_others(clause: str) -> bool:
    """Returns whether a clause tells what others think, or warns of an answer."""
    return bool(_OTHERS_IN_CLAUSE.search(clause)) or not _LURES.isdisjoint(_WORD.findall(clause))
