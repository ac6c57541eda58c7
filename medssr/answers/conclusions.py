"""Reads the statement with which a text closes that decides nothing in the usual words.

"These findings point to B", "compared with A, B is the stronger choice", "le diagnostic le plus probable est B": the
last sentence that names an option is taken apart. What it only concedes is dropped ("although A is possible"), and of
"A is good, but B is better" what is behind the "but" remains. That main clause decides for an option if it names no
other, denies and supposes nothing, and either says so ("B is the better choice", "this makes B the answer") or gives
the option the place of a result, at its end. A reply of a sentence or two that names one option answers with it; in a
long text, which discusses options before it decides, the place alone says less.
"""

from medssr.answers.choice import Decision, Reason
from medssr.answers.claim_patterns import AFFIRMS, DOUBTS, IS_NOT_ALONE, RETHOUGHT, UNDECIDED, sentences_of
from medssr.answers.cleaned_text import Page
from medssr.answers.conclusion_patterns import (
    ADDED,
    ADVICE,
    AHEAD,
    ASKED_FOR,
    BLOCKED,
    CLASSIFIED,
    CONCEDED,
    DENIED,
    FINISHED,
    INTRODUCES,
    JOINED,
    LEADS_TO,
    LONE,
    OF_SOMETHING,
    PLACED_LAST,
    STATES,
    TURN,
    WORDS,
)
from medssr.answers.signs import RUNS, SIGNS, letters_in, names_another, with_signs
from medssr.answers.statements import is_another_case, is_view_of_others

_REACH = 400
_SHORT = 240  # characters of a reply that states its answer and no more
_MOST_SENTENCES_BEHIND = 2


def concluding_statement(page: Page) -> Decision | None:
    """Returns the weak decision of the last sentence that names an option, if its main clause speaks for one alone."""
    start, end = _behind_the_walk(page), len(page.low)
    if start is None or page.low.lstrip().startswith("{") or not names_another(page, None, start, end):
        return None
    text = with_signs(page, start, end)
    if not FINISHED.search(text) or not SIGNS.search(text):
        return None
    sentence = _last_sentence(text)
    clause = _main_clause(sentence)
    letter = _asked_for(sentence) or _asked_for(text.rpartition("\n")[2])
    if letter is None:
        if not SIGNS.search(clause) or LONE.fullmatch(sentence):
            return None
        letter = _only_one_named(clause)
        if letter is None or not _speaks_for(page, letter, text, sentence, clause):
            return None
    return Decision(letter, Reason.VERDICT, is_explicit=False, end=len(page.low))


def _behind_the_walk(page: Page) -> int | None:
    """Returns where the end of a text starts, behind a walk through the options; None where it ends in one."""
    start = max(0, len(page.low) - _REACH)
    if page.walk_end < start:
        return start
    line_end = page.low.find("\n", page.walk_end)
    return line_end + 1 if line_end >= 0 else None


def _asked_for(clause: str) -> str | None:
    """Returns the option of "the false statement is C", for a question that asks for what does not hold."""
    asked_for = ASKED_FOR.search(clause)
    return letters_in(SIGNS.findall(asked_for[0])[-1]) if asked_for else None


def _only_one_named(clause: str) -> str | None:
    """Returns the one option that a clause names, unless it denies, supposes, or tells what others say."""
    letters = {letters_in(run) for run in RUNS.findall(clause)}
    letter = letters.pop()
    if letters or len(letter) != 1 or not BLOCKED.isdisjoint(WORDS.findall(clause.replace("n't", " not"))):
        return None
    if (
        IS_NOT_ALONE.search(clause)
        or ADDED.search(clause)
        or DENIED.search(clause)
        or is_another_case(clause)
        or is_view_of_others(ADVICE.sub("", clause))
    ):
        return None
    return letter


def _speaks_for(page: Page, letter: str, text: str, sentence: str, clause: str) -> bool:
    """Returns whether a clause that names one option decides for it."""
    names = (name for name, letters in page.options.letters_of.items() if letters == letter)
    is_by_text = any(name in page.low[-_REACH:] for name in names)
    if not is_by_text and CLASSIFIED.search(clause):
        return False
    is_introduced = INTRODUCES.match(sentence) is not None
    is_reply = is_introduced or len(page.low.strip()) <= _SHORT
    says_so = AFFIRMS.search(clause) or STATES.search(clause)
    if says_so and (is_reply or text.rstrip().endswith(sentence.rstrip())):
        return True
    if not is_reply or JOINED.search(clause):
        return False
    if len(SIGNS.findall(sentence)) > 1:  # it is set against another
        return True
    if {letters_in(run) for run in RUNS.findall(text)} != {letter} and not is_introduced:
        return False
    if is_by_text and not OF_SOMETHING.search(clause):
        return True
    return bool(LEADS_TO.search(clause) or PLACED_LAST.search(clause))


def _last_sentence(text: str) -> str:
    """Returns the last sentence that names an option, or nothing where those behind it doubt, ask, or think anew."""
    behind = 0
    for sentence in reversed(sentences_of(text)):
        if SIGNS.search(sentence):
            return sentence
        if not sentence.strip():
            continue
        behind += 1
        is_doubt = (
            "question" in sentence or DOUBTS.search(sentence) or UNDECIDED.search(sentence) or RETHOUGHT.match(sentence)
        )
        if behind > _MOST_SENTENCES_BEHIND or is_doubt or sentence.rstrip().endswith("?"):
            return ""
    return ""


def _main_clause(sentence: str) -> str:
    """Returns the sentence without what it concedes, and of what is set against it the last part."""
    if sentence.rstrip().endswith("?"):
        return ""
    clause = AHEAD.sub(lambda ahead: f"{ahead[ahead.lastgroup or 0]} is best", sentence)
    return TURN.split(CONCEDED.sub(" ", clause))[-1].strip()
