"""Extracts from a completion the one decision that counts."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain

from medssr.answers.choice import Choice, Decision, Reason
from medssr.answers.claims import revised
from medssr.answers.cleaned_text import (
    OptionTable,
    Page,
    first_turn,
    option_table,
    page_of,
    plain_characters,
    without_markup,
    without_thinking,
)
from medssr.answers.conclusions import concluding_statement
from medssr.answers.cues import cue_decisions
from medssr.answers.json_field import json_answer
from medssr.answers.layout import closing_line, closing_sentence, opening_line
from medssr.answers.next_question import cuts
from medssr.answers.verdict_lists import verdict_list


def extract_choice(completion: str, options: Mapping[str, str]) -> Choice:
    """Extracts the option that a completion decides for, or says why there is none.

    Never raises, never guesses, never returns a letter that is not a key of `options`, and takes time linear in the
    length of the completion.

    Args:
        completion: What the model wrote, with or without reasoning blocks and special tokens.
        options: The question's options, capital letter to text.

    Returns:
        The letter of the last explicit decision and the form it had, or None and what is wrong.

    Example:
        >>> drugs = {"A": "Aspirin", "B": "Warfarin", "C": "Heparin"}
        >>> extract_choice("A is tempting. The answer is **B. Warfarin**.", drugs)
        Choice(letter='B', reason='answer_phrase')
        >>> extract_choice("The answer is A or B.", drugs)
        Choice(letter=None, reason='several_letters')
    """
    answer = without_thinking(plain_characters(completion))
    if answer is None:
        return Choice(None, Reason.UNFINISHED_THINKING.value)
    text = without_markup(first_turn(answer))
    if not text.strip():
        return Choice(None, Reason.EMPTY.value)
    decision = _decision_on_the_first_question(text, option_table(options))
    return Choice(decision.letter, decision.reason.value)


def _decision_on_the_first_question(text: str, table: OptionTable) -> Decision:
    """Returns the decision in front of the first further question; one that is repeated at the start is none."""
    start = part_start = 0
    for cut in cuts(text):
        part = text[part_start : cut.position]
        decision = _decision_of(page_of(part, table)) if part.strip() else None
        if decision and (cut.is_certain or (decision.is_explicit and not decision.is_qualified)):
            return decision
        part_start = cut.position
        if cut.is_certain:
            if cut.is_further and text[start : cut.position].strip():
                return Decision(None, Reason.NO_ANSWER)
            start = cut.position
    return _decision_of(page_of(text[start:], table)) or Decision(None, Reason.NO_ANSWER)


def _decision_of(page: Page) -> Decision | None:
    """Returns the decision of a text; a JSON field comes in place of the object that holds it."""
    json = json_answer(page)
    if json is None:
        decision = revised(page, _resolved(_decisions_in_prose(page)))
        is_open = (
            decision is None or decision.reason is Reason.RETRACTED or not (decision.letter or decision.is_explicit)
        )
        return (concluding_statement(page) if is_open else None) or decision
    field, value, rest = json
    of_value = cue_decisions(value) if field.reason is Reason.NOT_AN_OPTION else ()  # "answer": "I would choose B"
    return revised(rest, _resolved(chain(_decisions_in_prose(rest), of_value, (replace(field, end=0),))))


def _decisions_in_prose(page: Page) -> Iterator[Decision]:
    """Returns the decisions of a text, the last first; each is looked for only if the ones before it do not suffice."""
    if not page.low.strip():
        return
    for read_last in (closing_line, closing_sentence):
        if last := read_last(page):
            yield last
    yield from cue_decisions(page)
    for read_first in (verdict_list, opening_line):
        if first := read_first(page):
            yield first


def _resolved(last_first: Iterator[Decision]) -> Decision | None:
    """Returns the last explicit decision, or else the last qualified one, or else the last weak one.

    One that is taken back further on is none.
    """
    weak: Decision | None = None
    qualified: Decision | None = None
    taken_back: set[str | None] = set()
    for decision in last_first:
        if decision.reason is Reason.RETRACTED:
            taken_back.add(decision.letter)
        elif not decision.is_explicit:
            weak = _weaker(weak, decision)
        elif decision.is_qualified:
            qualified = _of_cases(qualified, decision)
        elif weak and decision.letter is None:
            return weak
        elif decision.letter and not taken_back.isdisjoint({decision.letter, None}):
            return weak or Decision(None, Reason.RETRACTED)
        else:
            return decision
    best = qualified or weak
    if best and best.letter in taken_back:
        return Decision(None, Reason.RETRACTED)
    return best or (Decision(None, Reason.RETRACTED) if taken_back else None)


def _of_cases(later: Decision | None, earlier: Decision) -> Decision:
    """Reads "if it is a stroke, the answer is B; if it is not, the answer is C" as no answer."""
    if later is None or later.letter == earlier.letter:
        return later or earlier
    return Decision(None, Reason.SEVERAL_LETTERS, is_qualified=True)


def _weaker(weak: Decision | None, decision: Decision) -> Decision:
    """Keeps the last weak decision, unless several options are called correct (as in "all are correct except")."""
    if weak is None:
        return decision
    if weak.reason is decision.reason is Reason.VERDICT and weak.letter != decision.letter:
        return Decision(None, Reason.SEVERAL_LETTERS, is_explicit=False)
    return weak
