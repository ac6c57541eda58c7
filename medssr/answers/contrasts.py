"""Reads a contrast of options behind an answer, or in place of one: "A is out. D it is", "not A but D", "D is better".

The options in the text are replaced by one sign each. Every clause then affirms options, denies options, or is no plain
statement about the question that was asked.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from medssr.answers.choice import Decision, Reason
from medssr.answers.cleaned_text import OptionTable, Page
from medssr.answers.lexicon import SMALL_TEXTS
from medssr.answers.statements import is_another_case, is_view_of_others

_FIRST_SIGN = 0xE000  # of the characters for private use, one for each option
_SIGNS = re.compile("[\ue000-\ue019]")
_MARK = "[^a-z0-9\ue000-\ue019]"
_SIGN = "[\ue000-\ue019]"
_LONGEST_HEAD = 10  # characters: "- option B"
_LONGEST_CLAUSE = 200
_SHORTEST_TAIL = 3
_TAIL_WITHOUT_ANSWER = 400
_TAIL = 1_000  # characters behind an answer in which it is corrected; further on stand explanations

_THOUGHT = (
    r"(?:wait|hm+|hold (?:on|up)|hang on|actually|no|nope|oops|whoops|sorry|oh|ah|scratch that|strike that|correction"
    r"|on (?:second|further|closer|more|careful|reflection|review|balance|reconsideration)|come to think|but wait"
    r"|re-?\w+ing|looking (?:again|back|closer)"
    r"|thinking (?:again|more|about it|it over)|let me (?:re\w+|correct|fix|change|think|double-check|look again)"
    r"|i (?:take|was|should|misread|missed|overlooked|made|need to|have to|must|now|meant|mean|had|said|previously"
    r"|would"
    r" have|retract|stand corrected|apologi[sz]e|change|changed|correct|revise)|i'm changing|i'd have|my mistake"
    r"|my bad)"
)
_CONTRAST = r"(?:but|however|though|instead|rather)"
_TURN = re.compile(rf"(?:\A|[.!?,;:(\n-]\s?|\s)(?:{_THOUGHT}|{_CONTRAST})(?![a-z])")
_RETHOUGHT = re.compile(rf"\W*+(?:(?:and|but|so|well|ok|okay),? )?{_THOUGHT}(?![a-z])")
_SENTENCE_END = re.compile(r"(?<![\n.][\ue000-\ue019])(?<=[.!?;])[^\S\n]+|(?<=[!?;])\s+|\n+|\s-+\s|\.{2,}|…")
_CLAUSE_END = re.compile(
    r"(?<=:)\s|[,;]?\s(?=(?:but|however|so|hence|thus|therefore|whereas|while|leaving|which leaves)(?![a-z]))|,\s"
)
_FREE = (
    r"(?:(?:option|choice|answer|the|a|my|clearly|actually|really|therefore|instead|rather|then|indeed|now|still)\s)*"
)
_LEAD = (
    r"(?:(?:so|thus|hence|then|therefore|but|and|ok|okay|well|yes|yeah|no|nope|wait|actually|sorry|hm+|oh|rather"
    r"|instead"
    r"|it's|that's|it is|that is|it must be|it has to be|it should be|i'd say|i say|i'll say|make that|make it"
    r"|i mean|i meant|my answer|answer|the answer|final answer|revised|new answer|change|correction|definitely"
    r"|leaving|this leaves|that leaves|which leaves|now|to|go with|i choose|i pick)\b[,:]?\s*)*"
)
_BE = r"(?:\s(?:is|was|looks|seems|becomes|remains|must be|has to be|should be|would be|will be|ought to be)|'s)"
_RIGHT = (
    r"(?:right|correct|best|answer|it|one|winner|(?:better|best|right|correct|only|more \w+|superior|stronger|proper"
    r"|appropriate|most \w+)(?: (?:one|option|choice|answer|fit|match|pick|drug|diagnosis|explanation))?|what \w+[^,]*)"
)
_END = (
    rf"(?={_MARK}*\Z|,? (?:because|since|as|given|not|instead|after all|then|than|for|here|now|that|the"
    rf"|rather)(?![a-z]))"
)
_AFFIRMS = re.compile(
    rf"\A{_MARK}*{_LEAD}{_FREE}{_MARK}*(?P<alone>{_SIGN})(?: (?:then|instead|it is|after all|now|rather"
    rf"|for sure))?(?:(?!:){_MARK})*\Z"
    rf"|(?P<subject>{_SIGN}){_BE}\s{_FREE}{_RIGHT}{_END}"
    rf"|(?P<verb>{_SIGN}) (?:it is|(?:is|does|will|would)(?=[.!]{_MARK}*\Z)|(?:\w+ly )?(?:fits|makes|suits|matches"
    rf"|explains|wins|works|answers)"
    rf"(?: (?:more|better|best|the|sense|everything|all|this|here)|{_MARK}*\Z))"
    r"|(?<![a-z])(?:is|be|it's|that's|calls for|call for|points? to|pointing to|leaving|leaves|means|makes|going with"
    rf"|(?:chang|switch|revis|correct|updat|amend)\w*[^\n]*? to|favou?rs?|supports?|suggests?|indicates?|confirms?"
    rf"|needs?|(?:(?<=\A)|(?<![a-z])(?:i|we|i'd|we'd|i'll|we'll|let's|us|to) )"
    rf"(?:\w+ ){{0,2}}?(?:choose|pick|go with|say|answer|prefer"
    rf"|settle on))\s{_FREE}(?:[^,.:;\ue000-\ue019]{{1,50}}\()?{_MARK}?(?P<object>{_SIGN}){_END}"
)
_DENIED = (
    r"(?:out|wrong|incorrect|excluded|eliminated|ruled out|off the table|mistaken|impossible|a mistake|an error"
    r"|contraindicated|no longer\b.*|not\b.*|my (?:first|initial|original|pick)\b.*)"
)
_DENIES = re.compile(
    rf"(?<![a-z])(?:not|rather than|instead of|than|rules? out|ruled out|ruling out|excludes?|excluding|eliminates?"
    rf"|against|from|drop|reject|never|isn't|wasn't|can't be"
    rf"|cannot be)\s{_FREE}(?:[^,.:;\ue000-\ue019]{{1,50}}\()?{_MARK}?(?P<object>{_SIGN})"
    rf"|(?P<subject>{_SIGN})(?:{_BE}\s(?:\w+ly\s|therefore\s|then\s|also\s)*{_DENIED}(?!,? (?:for|in) )"
    r"|\s(?:isn't|wasn't|can't be|cannot be|won't|doesn't (?:fit|make|work|explain|match)|does not (?:fit|make|work"
    r"|explain|match)))"
    rf"|(?<![a-z])(?:i|i'd|we) (?:\w+ ){{0,3}}?(?:previously|earlier|initially|first|said|thought|have|going to|almost)"
    rf" (?:\w+ )*?(?P<former>{_SIGN})"
    rf"|(?:initially|at first)[^{_SIGN[1:-1]}]{{1,30}}(?P<first>{_SIGN})"
)
_DOUBTS = re.compile(
    r"(?<![a-z])(?:it|that|this) (?:isn't|doesn't|is not|does not|can't be|cannot be)[^a-z]*\Z|(?<![a-z])(?:i doubt"
    r"|maybe not|perhaps not)(?![a-z])|(?<![a-z])(?:(?:that|this|it|which|i|my answer|the above)(?:'s| is| was| am"
    r"|'m)? ?(?:\w+ly )?(?:wrong|incorrect"
    r"|mistaken|unlikely|a mistake|an error|out|not (?:quite )?(?:right|correct|sure|certain|it)|(?:can't|cannot"
    r"|can not"
    r"|isn't|is not|wasn't|doesn't|does not) (?:\w+ )?(?:right|correct|sure|it|fit|work|make sense|add up|look right"
    r"|seem right))|not (?:so )?(?:sure|certain)|can(?:'t|not) decide|that's not"
    r"|let me (?:think again|reconsider|rethink|recheck|try again|start over)|no longer sure|rules? (?:that|it"
    r"|this) out|not convinced)(?![a-z])"
)
_DEMANDS = re.compile(rf"(?<![a-z])(?!lacks|resists)[a-z]{{3,}}s (?P<object>{_SIGN}){_MARK}*\Z")
_NEGATED = re.compile(r"(?:(?<![a-z])(?:no|not|never|nor|neither|hardly|without)|n't)(?= )(?! wait)[^\ue000-\ue019]*\Z")
_REASON = re.compile(r"(?:not|because|since|as|given|then|so|instead|after all)(?![a-z])")
_IS_NOT_ALONE = re.compile(
    r"(?<![a-z])(?:also|too|as well|an?other|acceptable|alternatively?|second|or|either|maybe|perhaps|both)(?![a-z])"
)
_WORD = re.compile("[a-z]+")
# Words without which a text has no denial or doubt of an answer ("t" is of "isn't"), and no turn to another option.
_WORDS_OF_DENIAL = {
    "not", "t", "cannot", "wrong", "incorrect", "mistaken", "mistake", "unlikely", "error", "out", "doubt", "sure",
    "decide", "never", "impossible", "contraindicated", "excluded", "eliminated", "longer", "first", "initial",
    "initially", "original", "off", "pick",
}  # fmt: skip
_WORDS_OF_THOUGHT = {
    "wait", "hm", "hmm", "hmmm", "hold", "hang", "actually", "no", "nope", "oops", "whoops", "sorry", "oh", "ah",
    "scratch", "strike", "correction", "second", "further", "closer", "careful", "reflection", "review", "balance",
    "reconsideration", "come", "re", "rereading", "rethinking", "reconsidering", "rechecking", "reviewing",
    "revisiting", "reexamining", "reevaluating", "reassessing", "looking", "thinking", "let", "i",
    "we", "mistake", "bad",
    "but", "however", "though", "instead", "rather", "than", "rule", "rules", "ruled", "ruling", "excludes",
    "exclude", "excluding", "eliminates", "eliminate", "eliminating", "against", "from", "drop", "reject",
}  # fmt: skip


@dataclass(slots=True)
class _Contrast:
    """What a text affirms and denies of the options, clause by clause."""

    affirmed: str = ""
    denied: str = ""
    is_turned: bool = False  # something speaks against what was said before
    is_rethought: bool = False  # the writer says so
    is_doubted: bool = False
    is_opposed: bool = False  # what is affirmed is set against what was said before


def revised(page: Page, decision: Decision | None) -> Decision | None:
    """Returns the decision that is left of one after what the text behind it says of it and of the other options."""
    letter = decision.letter if decision else None
    if decision and letter is None and decision.reason not in _OPEN_REASONS:
        return decision
    if decision and letter:
        start, end = decision.end, min(len(page.low), decision.end + _TAIL)
    else:
        start, end = max(0, len(page.low) - _TAIL_WITHOUT_ANSWER), len(page.low)
    if end - start < _SHORTEST_TAIL or not _may_contrast(page, letter, start, end):
        return decision
    text = _with_signs(page, start, end)
    contrast = _contrast(text, is_open=letter is None)
    new = contrast.affirmed
    is_withdrawn = contrast.is_doubted or bool(letter and letter in contrast.denied)
    if letter is None:
        is_contrast = new and (contrast.denied or contrast.is_rethought)
        return Decision(new, Reason.VERDICT, is_explicit=False) if is_contrast else decision
    if new and new != letter:
        is_new = contrast.is_opposed or is_withdrawn
        return Decision(new, Reason.ANSWER_PHRASE) if is_new else decision
    return Decision(None, Reason.RETRACTED) if is_withdrawn and not new else decision


_OPEN_REASONS = (Reason.NO_ANSWER, Reason.RETRACTED, Reason.SEVERAL_LETTERS)


def _contrast(text: str, *, is_open: bool) -> _Contrast:
    """Returns what the sentences say; where no answer is known (`is_open`), a new thought drops what was affirmed."""
    contrast = _Contrast()
    for sentence in _SENTENCE_END.split(text):
        if _RETHOUGHT.match(sentence):
            contrast.is_rethought = True
            contrast.affirmed = "" if is_open else contrast.affirmed
        if contrast.is_rethought or _SIGNS.search(sentence) or "decide" in sentence:
            _read_sentence(contrast, sentence, is_open=is_open)
    return contrast


def _read_sentence(contrast: _Contrast, sentence: str, *, is_open: bool) -> None:
    for clause, is_head in _clauses(sentence):
        if is_another_case(clause) or is_view_of_others(clause):
            return
        if len(clause) > _LONGEST_CLAUSE or clause.endswith("?") or (is_head and len(clause) <= _LONGEST_HEAD):
            continue
        contrast.is_rethought |= bool(_RETHOUGHT.match(clause))
        if _DOUBTS.search(clause) and (contrast.is_rethought or contrast.is_turned or "decide" in clause):
            contrast.is_doubted = True
            contrast.affirmed = ""
        contrast.is_turned |= bool(_TURN.search(clause))
        if not _SIGNS.search(clause):
            continue
        denied = {_letter(match) for match in _DENIES.finditer(clause)}
        contrast.denied += "".join(denied)
        contrast.affirmed = "" if contrast.affirmed in denied else contrast.affirmed
        affirms = [*_AFFIRMS.finditer(clause)]
        if not affirms and is_open and contrast.denied + "x" * contrast.is_turned:
            affirms = [*_DEMANDS.finditer(clause)]
        for affirmed in affirms:
            letter = _letter(affirmed)
            is_plain = not _NEGATED.search(clause, 0, affirmed.start()) and not _IS_NOT_ALONE.search(clause)
            if is_plain and letter not in denied:
                contrast.affirmed = letter
                contrast.is_opposed = contrast.is_turned or contrast.is_rethought
                contrast.denied = contrast.denied.replace(letter, "")


def _letter(match: re.Match[str]) -> str:
    sign = match[match.lastgroup or 0]
    return chr(ord(sign) - _FIRST_SIGN + ord("A"))


def _clauses(sentence: str) -> Iterator[tuple[str, bool]]:
    """Yields the clauses of a sentence, and whether each is the head of what follows: "- B. Acts on the loop"."""
    start = 0
    for end in _CLAUSE_END.finditer(sentence):
        clause = sentence[start : end.start()]
        if clause.strip():
            is_part = end[0] == ", " and not _REASON.match(sentence, end.end())
            yield clause, is_part
        start = end.end()
    if sentence[start:].strip():
        yield sentence[start:], False


def _may_contrast(page: Page, letter: str | None, start: int, end: int) -> bool:
    """Returns whether the text names another option than the letter, or doubts; it is quick, for most texts do not."""
    words = set(_WORD.findall(page.low, start, end))
    is_denial = not words.isdisjoint(_WORDS_OF_DENIAL)
    if not is_denial and words.isdisjoint(_WORDS_OF_THOUGHT):
        return False
    return (is_denial and letter is not None) or _names_another(page, letter, start, end)


def _names_another(page: Page, letter: str | None, start: int, end: int) -> bool:
    for text, letters in page.options.letters_of.items():
        if letters != letter and len(text) > 2 and page.low.find(text, start, end) >= 0:
            return True
    by_letter = _mentions(page.options)[0].finditer(page.raw, start, end)
    return any(mention[0] != letter for mention in by_letter)


def _with_signs(page: Page, start: int, end: int) -> str:
    """Returns the text in lower case with a sign in place of each option that is named by letter, text or both."""
    by_either = _mentions(page.options)[1]
    letters_of = page.options.letters_of
    signs = by_either.sub(lambda match: _sign(match[0], letters_of), page.raw[start:end])
    return _SAME_TWICE.sub(r"\1", signs).lower()


_SAME_TWICE = re.compile(rf"({_SIGN})(?:\s?[(\[,:.)]\s?|\)[.:]?\s|\s)(?:option |choice )?\1[)\]]?")


def _sign(named: str, letters_of: dict[str, str]) -> str:
    letter = letters_of.get(named.lower(), named if len(named) == 1 else "")
    return chr(_FIRST_SIGN + ord(letter) - ord("A")) if len(letter) == 1 else named


_ARTICLE_END = (  # of "A patient", but not of "A is"
    r"(?!(?<=A) (?!(?:is|was|it|fits|makes|because|since|but|and|or|to|would|must|can|cannot|isn't|then|that|were"
    r"|seems|does|has)\b)[a-z])"
)


@lru_cache(maxsize=4096)
def _mentions(options: OptionTable) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Returns the pattern of a letter of the question, and the one of a letter or a text."""
    letters = "".join(letter for letter in options.letters if "A" <= letter <= "Z")
    texts = "|".join(re.escape(text) for text in options.texts if len(text) > 2 and text not in SMALL_TEXTS)
    by_letter = (  # the letter comes first, so that a search skips all else quickly
        rf"[{letters}](?<![A-Za-z0-9'/-].)(?![A-Za-z0-9/-]|'(?!s)){_ARTICLE_END}(?!(?<=I)[ ']|\. [a-z]{{3}})"
        if letters
        else "(?!)"
    )
    by_text = rf"|(?<![A-Za-z0-9])(?i:{texts})(?![A-Za-z0-9])" if texts else ""
    return re.compile(by_letter), re.compile(by_letter + by_text)
