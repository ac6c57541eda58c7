"""Reads a contrast of options behind an answer, or in place of one: "A is out. D it is", "not A but D", "D is better".

The options in the text are replaced by one sign each. Every clause then affirms options, denies options, or is no plain
statement about the question that was asked.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from medssr.answers.choice import Decision, Reason
from medssr.answers.cleaned_text import OptionTable, Page
from medssr.answers.statements import is_another_case, is_view_of_others

_FIRST_SIGN = 0xE000  # of the characters for private use, one for each option
_SIGN = "[\ue000-\ue019]"
_LONGEST_HEAD = 10  # characters: "- option B"
_TAIL = 1_500  # characters behind an answer in which it is corrected; further on stand explanations

_THOUGHT = (
    r"(?:wait|hm+|hold (?:on|up)|hang on|actually|no|nope|oops|whoops|sorry|oh|ah|scratch that|strike that|correction"
    r"|on (?:second|further|closer|more|careful)? ?\w+|come to think|but wait|re-?\w+ing|looking (?:again|back|closer)"
    r"|thinking (?:again|more|about it|it over)|let me (?:re\w+|correct|fix|change|think|double-check|look again)"
    r"|i (?:take|was|should|misread|missed|overlooked|made|need to|have to|must|now|meant|mean|had|said|previously|would"
    r" have|retract|stand corrected|apologi[sz]e|change|changed|correct|revise)|i'm changing|i'd have|my mistake|my bad)"
)
_CONTRAST = r"(?:but|however|though|instead|rather)"
_TURN = re.compile(rf"(?:\A|[.!?,;:(\n-]\s?|\s)(?:{_THOUGHT}|{_CONTRAST})(?![a-z])")
_RETHOUGHT = re.compile(rf"\W*(?:(?:and|but|so|well|ok|okay),? )?{_THOUGHT}(?![a-z])")
_CLAUSE_END = re.compile(
    r"(?<=[.!?;:])\s+|\n+|\s-+\s|\.{2,}|…|[,;]?\s(?=(?:but|however|so|hence|thus|therefore|whereas|while|leaving|which"
    r" leaves)(?![a-z]))|,\s"
)
_FREE = r"(?:(?:option|choice|answer|the|a|my|clearly|actually|really|therefore|instead|rather|then|indeed|now|still)\s)*"
_LEAD = (
    r"(?:(?:so|thus|hence|then|therefore|but|and|ok|okay|well|yes|yeah|no|nope|wait|actually|sorry|hm+|oh|rather|instead"
    r"|it's|that's|it is|that is|it must be|it has to be|it should be|i'd say|i say|i'll say|make that|make it"
    r"|i mean|i meant|my answer|answer|the answer|final answer|revised|new answer|change|correction|definitely"
    r"|leaving|this leaves|that leaves|which leaves|now|to|go with|i choose|i pick)\b[,:]?\s*)*"
)
_BE = r"(?:\s(?:is|was|looks|seems|becomes|remains|must be|has to be|should be|would be|will be|ought to be)|'s)"
_RIGHT = (
    r"(?:right|correct|best|answer|it|one|winner|(?:better|best|right|correct|only|more \w+|superior|stronger|proper"
    r"|appropriate|most \w+)(?: (?:one|option|choice|answer|fit|match|pick|drug|diagnosis|explanation))?|what \w+[^,]*)"
)
_END = r"(?=\W*\Z|,? (?:because|since|as|given|not|instead|after all|then|than|for|here|now|that|the|rather)(?![a-z]))"
_AFFIRMS = re.compile(
    rf"\A\W*{_LEAD}{_FREE}\W*(?P<alone>{_SIGN})(?: (?:then|instead|it is|after all|now|rather|for sure))?[^\w:]*\Z"
    rf"|(?P<subject>{_SIGN}){_BE}\s{_FREE}{_RIGHT}{_END}"
    rf"|(?P<verb>{_SIGN}) (?:it is|(?:\w+ly )?(?:fits|makes|suits|matches|explains|wins|works|answers)"
    rf"(?: (?:more|better|best|the|sense|everything|all|this|here)|\W*\Z))"
    r"|(?<![a-z])(?:is|be|it's|that's|calls for|call for|points? to|pointing to|leaving|leaves|means|makes|going with"
    rf"|(?:chang|switch|revis|correct|updat|amend)\w*[^\n]*? to|favou?rs?|supports?|suggests?|indicates?|needs?|(?:(?<=\A)|(?<![a-z])(?:i|we|i'd|we'd|i'll|we'll|let's|us|to) )"
    rf"(?:\w+ ){{0,2}}?(?:choose|pick|go with|say|answer|prefer|settle on))\s{_FREE}\W?(?P<object>{_SIGN}){_END}"
)
_DENIED = (
    r"(?:out|wrong|incorrect|excluded|eliminated|ruled out|off the table|mistaken|impossible|a mistake|an error"
    r"|contraindicated|no longer\b.*|not\b.*)"
)
_DENIES = re.compile(
    rf"(?<![a-z])(?:not|rather than|instead of|than|rules? out|ruled out|ruling out|excludes?|excluding|eliminates?"
    rf"|against|from|drop|reject|never|isn't|wasn't|can't be|cannot be)\s{_FREE}\W?(?P<object>{_SIGN})"
    rf"|(?P<subject>{_SIGN})(?:{_BE}\s(?:\w+ly\s|therefore\s|then\s|also\s)*{_DENIED}(?!,? (?:for|in) )"
    r"|\s(?:isn't|wasn't|can't be|cannot be|won't|doesn't (?:fit|make|work|explain|match)|does not (?:fit|make|work"
    r"|explain|match)))"
    rf"|(?<![a-z])(?:i|i'd|we) (?:\w+ ){{0,3}}?(?:previously|earlier|initially|first|said|thought|have|going to|almost)"
    rf" (?:\w+ )*?(?P<former>{_SIGN})"
    rf"|(?:initially|at first)[^{_SIGN[1:-1]}]{{1,30}}(?P<first>{_SIGN})"
)
_DOUBTS = re.compile(
    r"(?<![a-z])(?:(?:that|this|it|which|i|my answer|the above)(?:'s| is| was| am|'m)? ?(?:\w+ly )?(?:wrong|incorrect"
    r"|mistaken|unlikely|a mistake|an error|out|not (?:quite )?(?:right|correct|sure|certain|it)|(?:can't|cannot|can not"
    r"|isn't|is not|wasn't|doesn't|does not) (?:\w+ )?(?:right|correct|sure|it|fit|work|make sense|add up|look right"
    r"|seem right))|not (?:so )?(?:sure|certain)|no longer sure|rules? (?:that|it|this) out|not convinced)(?![a-z])"
)
_NEGATED = re.compile(r"(?:(?<![a-z])(?:no|not|never|nor|neither|hardly|without)|n't)(?= )(?! wait)[^\ue000-\ue019]*\Z")
_REASON = re.compile(r"(?:not|because|since|as|given|then|so|instead|after all)(?![a-z])")
_IS_NOT_ALONE = re.compile(r"(?<![a-z])(?:also|too|as well|alternatively?|second|or|either|maybe|perhaps|both)(?![a-z])")


@dataclass(slots=True)
class _Contrast:
    """What a text affirms and denies of the options, clause by clause."""

    affirmed: str = ""
    denied: str = ""
    is_turned: bool = False  # something speaks against what was said before
    is_rethought: bool = False  # the writer says so
    is_doubted: bool = False


def revised(page: Page, decision: Decision | None) -> Decision | None:
    """Returns the decision that is left of one after what the text behind it says of it and of the other options."""
    letter = decision.letter if decision else None
    if decision and letter is None and decision.reason not in _OPEN_REASONS:
        return decision
    start = decision.end if decision and letter else 0
    end = min(len(page.low), start + _TAIL) if letter else len(page.low)
    start = start if letter else max(0, end - _TAIL)
    if not _TURN.search(page.low, start, end) and not page.low.endswith((".", "?"), start, end):
        return decision
    contrast = _contrast(page, start, end, is_open=letter is None)
    new = contrast.affirmed
    if letter is None:
        is_contrast = new and (contrast.denied or contrast.is_rethought)
        return Decision(new, Reason.VERDICT, is_explicit=False) if is_contrast else decision
    is_withdrawn = letter in contrast.denied or contrast.is_doubted
    if new and new != letter:
        return Decision(new, Reason.ANSWER_PHRASE) if contrast.is_turned or contrast.is_rethought or is_withdrawn else decision
    return Decision(None, Reason.RETRACTED) if is_withdrawn and not new else decision


_OPEN_REASONS = (Reason.NO_ANSWER, Reason.RETRACTED, Reason.SEVERAL_LETTERS)


def _contrast(page: Page, start: int, end: int, *, is_open: bool) -> _Contrast:
    contrast = _Contrast()
    is_other = False
    for clause, is_new_sentence, is_head in _clauses(_with_signs(page, start, end)):
        if is_new_sentence:
            is_other = False
        if _RETHOUGHT.match(clause):
            contrast.is_rethought = True
            contrast.affirmed = "" if is_open else contrast.affirmed
        is_other = is_other or is_another_case(clause) or is_view_of_others(clause)
        if is_other or clause.endswith("?") or (is_head and len(clause) <= _LONGEST_HEAD):
            continue
        turns = bool(_TURN.search(clause))
        denied = {_letter(match) for match in _DENIES.finditer(clause)}
        affirms = [_letter(match) for match in _AFFIRMS.finditer(clause) if not _NEGATED.search(clause, 0, match.start())]
        contrast.denied += "".join(denied)
        contrast.affirmed = "" if contrast.affirmed in denied else contrast.affirmed
        contrast.is_turned |= turns
        if contrast.is_rethought and _DOUBTS.search(clause):
            contrast.is_doubted = True
            contrast.affirmed = ""
        for letter in affirms:
            if letter not in denied and not _IS_NOT_ALONE.search(clause):
                contrast.affirmed = letter
                contrast.denied = contrast.denied.replace(letter, "")
    return contrast


def _letter(match: re.Match[str]) -> str:
    sign = match[match.lastgroup or 0]
    return chr(ord(sign) - _FIRST_SIGN + ord("A"))


def _clauses(text: str) -> Iterator[tuple[str, bool, bool]]:
    """Yields the clauses of a text, and whether each begins a sentence, and whether it is the head of what follows."""
    start, is_new, is_line = 0, True, False
    for end in _CLAUSE_END.finditer(text):
        if text[start : end.start()].strip():
            is_part = end[0] == ", " and not _REASON.match(text, end.end())
            yield text[start : end.start()], is_new, is_part or (is_line and "\n" not in end[0])
            is_line = False
        is_new = text[end.start() - 1 : end.start()] in (*".!?;:",) or "\n" in end[0] or "-" in end[0] or "." in end[0]
        is_line = is_line or "\n" in end[0]
        start = end.end()
    if text[start:].strip():
        yield text[start:], is_new, False


def _with_signs(page: Page, start: int, end: int) -> str:
    """Returns the text in lower case with a sign in place of each option that is named by letter, text or both."""
    pattern, letters_of = _mentions(page.options)
    raw = page.raw[start:end]
    signs = pattern.sub(lambda match: _sign(match[0], letters_of), raw)
    return _SAME_TWICE.sub(r"\1", signs).lower()


_SAME_TWICE = re.compile(rf"({_SIGN})(?:\s?[(\[,:.)]\s?|\)[.:]?\s|\s)(?:option |choice )?\1[)\]]?")


def _sign(named: str, letters_of: dict[str, str]) -> str:
    letter = letters_of.get(named.lower(), named if len(named) == 1 else "")
    return chr(_FIRST_SIGN + ord(letter) - ord("A")) if len(letter) == 1 else named


@lru_cache(maxsize=4096)
def _mentions(options: OptionTable) -> tuple[re.Pattern[str], dict[str, str]]:
    letters = "".join(letter for letter in options.letters if "A" <= letter <= "Z")
    texts = "|".join(re.escape(text) for text in options.texts if len(text) > 2)
    article = r"(?!(?<=A) (?!(?:is|was|it|fits|makes|because|since|but|and|or|to|would|must|can|cannot|isn't|then)\b)[a-z])"
    by_letter = rf"(?<![A-Za-z0-9'/-])[{letters}](?![A-Za-z0-9/-]|'(?!s)){article}(?!(?<=I)[ ']|\. [a-z]{{3}})"
    by_text = rf"|(?<![A-Za-z0-9])(?i:{texts})(?![A-Za-z0-9])" if texts else ""
    return re.compile((by_letter if letters else r"(?!)") + by_text), options.letters_of
