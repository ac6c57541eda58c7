"""Reads what the end of a text claims of the options: "A is out. D it is", "not A but D", "I first thought A; it is D".

The options in the text are replaced by one sign each, options named together ("A and D", "neither A nor B") by their
signs in a row, or by the sign of the option that combines them (`signs`). Phrases that only reject ("rather than A")
are taken out. Every clause then affirms options, denies them, or concedes them, which is to mention them as a former
thought or as tempting; or it is no plain statement about the question that was asked (`claim_patterns`). The last claim
that nothing takes back counts, and several options at a time count as none.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from medssr.answers.choice import Decision, Reason
from medssr.answers.claim_patterns import (
    AFFIRMS,
    ALL_BUT,
    ANEW,
    BEATS,
    BREAKS_OFF,
    CLAUSE_END,
    CONCEDES,
    DEMANDS,
    DENIES,
    DOUBTS,
    ENDS_WITH,
    HEAD,
    IS_NOT_ALONE,
    IS_UNSURE,
    LAST_RUN,
    LONE_END,
    NEGATED,
    OWN,
    POSSIBLE,
    PREFERRED,
    RANKED,
    RANKING,
    REASON,
    REJECTED,
    RETHOUGHT,
    RULED_OUT,
    SIGNS_OF_THOUGHT,
    TURN,
    TURNED_BEHIND,
    UNDECIDED,
    WORD,
    WORDS_OF_DENIAL,
    WORDS_OF_THOUGHT,
    sentences_of,
)
from medssr.answers.cleaned_text import Page
from medssr.answers.signs import RUNS, SIGNS, letters_in, names_another, with_signs
from medssr.answers.statements import is_another_case, is_view_of_others

_LONGEST_CLAUSE = 200
_SHORTEST_TAIL = 3
_TAIL_WITHOUT_ANSWER = 400
_TAIL = 1_000  # characters behind an answer in which it is corrected; further on stand explanations


@dataclass(slots=True)
class _Claims:
    """What a text affirms and denies of the options, clause by clause."""

    affirmed: str = ""
    denied: str = ""
    conceded: str = ""
    last: str = ""  # the option with which the last clause ends
    preferred: str = ""  # what a rejected option stands behind: "B" of "B rather than C"
    mentioned: set[str] = field(default_factory=set)
    earlier: set[str] = field(default_factory=set)  # mentioned in the sentences before this one
    against: set[str] = field(
        default_factory=set
    )  # mentioned before what is affirmed, in another sentence or before "but"
    is_weighed: bool = False  # against all others, without their names
    is_turned: bool = False  # something speaks against what was said before
    is_rethought: bool = False  # the writer says so
    is_doubted: bool = False
    is_opposed: bool = False  # what is affirmed is set against what was said before

    def affirm(self, letters: str) -> None:
        """Notes that the writer decides for an option, or for several."""
        self.affirmed = letters
        self.is_opposed = self.is_turned or self.is_rethought
        self.against = set(self.mentioned if self.is_opposed else self.earlier)
        self.denied = "".join(letter for letter in self.denied if letter not in letters)

    def deny(self, letters: str) -> None:
        """Notes that some options are rejected."""
        self.denied += letters
        self.affirmed = "".join(letter for letter in self.affirmed if letter not in letters)


def revised(page: Page, decision: Decision | None) -> Decision | None:
    """Returns the decision that is left of one after what the text behind it says of it and of the other options."""
    letter = decision.letter if decision else None
    if letter is None and page.low.lstrip().startswith("{"):
        return decision  # a JSON object that is cut off
    if decision is None and page.walk_end >= 0 and page.low.find("\n", page.walk_end) < 0:
        return None
    if decision and letter is None and decision.reason not in _OPEN_REASONS:
        return decision
    if decision and letter:
        start, end = decision.end, min(len(page.low), decision.end + _TAIL)
    else:
        start, end = max(0, len(page.low) - _TAIL_WITHOUT_ANSWER), len(page.low)
    if end - start < _SHORTEST_TAIL or not _may_contrast(page, letter, start, end):
        return decision
    text = with_signs(page, start, end)
    if letter is None and RANKING.fullmatch(text):
        return decision
    if letter is None and (ranked := RANKED.search(text)):
        return Decision(_letters(ranked), Reason.VERDICT, is_explicit=False)
    claims = _claims(text, is_open=letter is None)
    if decision is None or letter is None:
        return _decision_by_weighing(page, decision, claims)
    return _decision_corrected(decision, claims, LONE_END.search(text))


def _decision_by_weighing(page: Page, decision: Decision | None, claims: _Claims) -> Decision | None:
    """Returns the option that a text without an answer decides for by speaking against the others."""
    if claims.last and not claims.affirmed:
        claims.affirm(claims.last)
    new = claims.affirmed
    is_weighed = (
        (
            claims.against - {new}
            and len(claims.mentioned) < len(page.options.letters)
            and not page.heads
            and (decision is None or decision.reason is Reason.NO_ANSWER)
        )
        or claims.denied
        or claims.conceded.strip(new)
        or claims.is_rethought
        or claims.is_weighed
    )
    is_conflict = claims.last not in ("", new)
    is_contrast = len(new) == 1 and is_weighed and not is_conflict
    return Decision(new, Reason.VERDICT, is_explicit=False) if is_contrast else decision


def _decision_corrected(decision: Decision, claims: _Claims, lone_end: re.Match[str] | None) -> Decision:
    """Returns what is left of an answer after the claims behind it, which may replace it or take it back."""
    letter, new = decision.letter, claims.affirmed
    is_withdrawn = claims.is_doubted or bool(letter and letter in claims.denied)
    if new and new != letter and (claims.is_opposed or is_withdrawn):
        is_one = len(new) == 1
        return Decision(new, Reason.ANSWER_PHRASE) if is_one else Decision(None, Reason.SEVERAL_LETTERS)
    is_another_at_end = lone_end is not None and _letters(lone_end) != letter
    is_open_again = (claims.is_rethought and claims.last not in ("", letter)) or is_another_at_end
    is_kept = new == letter or not (is_withdrawn or is_open_again)
    return decision if is_kept else Decision(None, Reason.RETRACTED)


_OPEN_REASONS = (Reason.NO_ANSWER, Reason.RETRACTED, Reason.SEVERAL_LETTERS)


def _claims(text: str, *, is_open: bool) -> _Claims:
    """Returns what the sentences say; where no answer is known (`is_open`), a new thought drops what was affirmed."""
    claims = _Claims()
    for sentence in sentences_of(text):
        claims.earlier = set(claims.mentioned)
        claims.last = "" if sentence.strip() else claims.last
        if RETHOUGHT.match(sentence):
            claims.is_rethought = True
            claims.affirmed = "" if is_open else claims.affirmed
        if claims.is_rethought or SIGNS.search(sentence) or UNDECIDED.search(sentence):
            _read_sentence(claims, sentence, is_open=is_open)
    if is_open and BREAKS_OFF.search(text):
        claims.affirmed = claims.last = ""
    return claims


def _read_sentence(claims: _Claims, sentence: str, *, is_open: bool) -> None:
    if RULED_OUT.match(sentence):
        claims.deny("".join(letters_in(run) for run in RUNS.findall(sentence)))
        return
    sentence = TURNED_BEHIND.sub(r"actually, \g<object>", sentence)
    if not sentence.rstrip().endswith("?") and SIGNS.search(sentence):
        sentence = _without_rejected(claims, sentence)
    for clause, is_head in _clauses(sentence):
        claims.last = "" if clause.strip(" .") else claims.last
        claims.is_rethought |= bool(RETHOUGHT.match(clause))
        has_sign = SIGNS.search(clause) is not None
        is_former = has_sign and CONCEDES.search(clause) and (OWN.search(clause) or not is_view_of_others(clause))
        if not is_former and (is_another_case(clause) or is_view_of_others(clause)):
            return
        if len(clause) > _LONGEST_CLAUSE or clause.endswith("?") or (is_head and HEAD.fullmatch(clause)):
            continue
        if (DOUBTS if claims.is_rethought or claims.is_turned else UNDECIDED).search(clause):
            claims.is_doubted = True
            claims.affirmed = ""
        claims.is_turned |= bool(TURN.search(clause))
        if has_sign:
            _read_clause(claims, clause, is_open=is_open)


def _read_clause(claims: _Claims, clause: str, *, is_open: bool) -> None:
    claims.mentioned |= {letters_in(run) for run in RUNS.findall(clause) if len(run) == 1}
    denied = "".join(_letters(match) for match in DENIES.finditer(clause))
    claims.deny(denied)
    claims.last = _last_of(clause)
    conceded = "".join(_letters(match) for match in CONCEDES.finditer(clause))
    if conceded:
        claims.conceded += conceded
        claims.is_turned = True
        is_unsettled = (is_open and POSSIBLE.search(clause)) or claims.affirmed in conceded
        claims.affirmed = "" if is_unsettled else claims.affirmed
    affirms = [*AFFIRMS.finditer(clause)]
    has_other = bool(claims.denied or claims.conceded or claims.is_turned)
    if not affirms and is_open and has_other:
        affirms = [*DEMANDS.finditer(clause)]
    if not affirms and (claims.is_rethought or claims.conceded):
        affirms = [*ANEW.finditer(clause)]
    if claims.last in denied + conceded:
        claims.last = ""
    if not affirms and is_open and claims.preferred:
        affirms = [*PREFERRED.finditer(clause)]
        claims.preferred = ""
    for affirmed in affirms:
        letters = _letters(affirmed)
        is_plain = not NEGATED.search(clause, 0, affirmed.start()) and not IS_NOT_ALONE.search(clause)
        if is_plain and not set(letters) & set(denied + conceded):
            claims.affirm(letters)


def _last_of(clause: str) -> str:
    """Returns the one option with which a clause ends that plainly speaks of it: "one goes straight to B"."""
    last = ENDS_WITH.fullmatch(clause)
    return "" if last is None or not WORD.search(clause) or IS_UNSURE.search(clause) else _letters(last)


def _without_rejected(claims: _Claims, sentence: str) -> str:
    """Returns the sentence without "rather than A", "over A" and the like, and notes what they reject."""

    def drop(match: re.Match[str]) -> str:
        claims.deny(_letters(match))
        before = LAST_RUN.search(match.string, 0, match.start())
        claims.preferred = letters_in(before[1]) if match["behind"] and before else ""
        return ""

    def keep_winner(match: re.Match[str]) -> str:
        winner, loser = (group for group in match.groups() if group)
        if match["left"] or match["weaker"]:
            winner, loser = loser, winner
        claims.deny(letters_in(loser))
        return f"i choose {winner}" if match["left"] or match["preferred"] else f"{winner} is better"

    def keep_rest(match: re.Match[str]) -> str:
        claims.is_weighed = True
        return f"i choose {match['object']} because"

    if "but" in sentence or "except" in sentence or "other" in sentence or "apart" in sentence:
        sentence = ALL_BUT.sub(keep_rest, sentence)
    if len(SIGNS.findall(sentence)) == 1:
        return sentence
    return REJECTED.sub(drop, BEATS.sub(keep_winner, sentence))


def _letters(match: re.Match[str]) -> str:
    return letters_in(match[match.lastgroup or 0])


def _clauses(sentence: str) -> Iterator[tuple[str, bool]]:
    """Yields the clauses of a sentence, and whether each is the head of what follows: "- B. Acts on the loop"."""
    start = 0
    for end in CLAUSE_END.finditer(sentence):
        clause = sentence[start : end.start()]
        if clause.strip():
            is_part = end[0] == ", " and not REASON.match(sentence, end.end())
            yield clause, is_part
        start = end.end()
    if sentence[start:].strip():
        yield sentence[start:], False


def _may_contrast(page: Page, letter: str | None, start: int, end: int) -> bool:
    """Returns whether the text names another option than the letter, or doubts; it is quick, for most texts do not."""
    if letter is None:
        return names_another(page, None, start, end)
    words = set(WORD.findall(page.low, start, end))
    is_denial = not words.isdisjoint(WORDS_OF_DENIAL)
    is_turn = not words.isdisjoint(WORDS_OF_THOUGHT) or any(
        page.low.find(sign, start, end) >= 0 for sign in SIGNS_OF_THOUGHT
    )
    if not is_denial and not is_turn:
        return False
    return is_denial or names_another(page, letter, start, end)
