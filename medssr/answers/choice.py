"""The result of an extraction: a letter or none, and the reason."""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why `extract_choice` returned a letter, or none."""

    ANSWER_PHRASE = "answer_phrase"
    BOXED = "boxed"
    JSON = "json"
    TAG = "tag"
    VERDICT = "verdict"
    BARE_OPTION = "bare_option"
    EMPTY = "empty"
    UNFINISHED_THINKING = "unfinished_thinking"
    SEVERAL_LETTERS = "several_letters"
    NOT_AN_OPTION = "not_an_option"
    CONTRADICTION = "contradiction"
    SHARED_TEXT = "shared_text"
    RETRACTED = "retracted"
    NO_ANSWER = "no_answer"


@dataclass(frozen=True, slots=True)
class Choice:
    """The option that a completion decides for.

    Attributes:
        letter: A key of the question's options, or None where the completion has no valid answer.
        reason: One of `Reason`: the form of the answer, or what was wrong with it.
    """

    letter: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision that a text states at some position; one is chosen among all of them.

    Attributes:
        letter: The option decided for, or None where the text names none there, or several.
        reason: Its form. A `RETRACTED` decision takes back its letter, or without a letter whatever came before it.
        is_explicit: "The answer is B", which beats whatever is not explicit, such as "option B is correct".
        is_qualified: "If it is a stroke, the answer is B", "in children choose B": it yields to one without a
            condition, and another one under another condition makes it none.
        end: Where the option is named last, in the text that states it.
    """

    letter: str | None
    reason: Reason
    is_explicit: bool = True
    is_qualified: bool = False
    end: int = 0
