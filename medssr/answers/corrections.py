"""Reads a correction: "scratch that: B", "sorry, I meant B"; a denial alone takes back what came before."""

import re
from collections.abc import Iterator

from medssr.answers import lexicon
from medssr.answers.choice import Decision, Reason
from medssr.answers.cleaned_text import Page, is_letter_at
from medssr.answers.lexicon import any_of
from medssr.answers.named_options import JOINED_TEXT, SENTENCE_END, SPACE, Mention, is_asked, is_joined, mention_at
from medssr.answers.statements import Statement, decides_nothing, line_before, statement_of

# Between the cue and the option: "hold on [a moment: it's] B", "actually[, I think it is] B".
_FILLER = rf"(?:{any_of(lexicon.CORRECTION_FILLERS)})(?:[,:;.]|{SPACE}){{0,3}}"
_FILLERS = re.compile(rf"(?:[,:;.…!-]|{SPACE}){{0,4}}(?:{_FILLER}){{0,7}}[\"'(\[]{{0,2}}")
_REST_OF_CLAUSE = re.compile(rf"[^.:;,!?\n]{{0,40}}[.:;,!-]{SPACE}{{1,2}}(?:{_FILLER}){{0,7}}[\"'(\[]{{0,2}}")
_DENIAL = re.compile(
    rf"(?:[,:;.]|{SPACE})*(?:no,?{SPACE})?(?:that|this|it|i)(?:'s| is| was| am)?"
    rf" (?:wrong|incorrect|mistaken|not (?:right|correct)|(?:can't|cannot|can not) be (?:right|correct|true|it))"
)
_OWN_VERB = re.compile(SPACE + any_of(lexicon.VERBS_OF_A_SUBJECT))


def read_correction(page: Page, cue: tuple[int, int]) -> Decision | None:
    """Returns the decision behind a correcting cue: for the option named, or for taking back what came before."""
    start, end = cue
    if _DENIAL.match(page.low, end) and page.low.startswith(lexicon.DENYING, start):
        return Decision(None, Reason.RETRACTED)
    mention = next(filter(None, (mention_of_conclusion(page, link.end()) for link in _links(page.low, end))), None)
    if mention is None or decides_nothing(line_before(page, start)):
        return None
    if statement_of(page, start, mention.end) is not Statement.OWN_CASE:
        return None
    return Decision(mention.letter, Reason.ANSWER_PHRASE, end=mention.end)


def _links(low: str, start: int) -> Iterator[re.Match[str]]:
    """Yields what may join a cue and its option: fillers only, or the rest of the cue's clause and fillers."""
    for pattern in (_FILLERS, _REST_OF_CLAUSE):
        link = pattern.match(low, start)
        if link:
            yield link


def mention_of_conclusion(page: Page, position: int) -> Mention | None:
    """Returns the one option named here that has no verb of its own: not "B" in "so B is less likely"."""
    if not page.raw[position : position + 1].isupper() or position <= page.walk_end:
        return None
    mention = mention_at(page, position)
    if mention is None or mention.letter is None or is_joined(page, mention) or is_asked(page, mention):
        return None
    if JOINED_TEXT.match(page.low, mention.end) or _OWN_VERB.match(page.low, mention.end):
        return None  # "thus A and C can be excluded"
    if not SENTENCE_END.match(page.low, mention.end) and not is_letter_at(page.low, position):
        return None
    return mention
