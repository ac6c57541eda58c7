"""Options that speak about other options of their question: "both A and C", "1 and 3 only", "none of these".

In another order such an option would speak of other texts, and the answer would be wrong. Everything that reorders
options (evaluation in several orders, shuffling in training) keeps the order of such questions, and synthesis rejects
them; all ask `option_about_options`.

Three forms are told apart:

- An option that is made of nothing but references and the words that go with them, in any of the languages of
  `option_vocabulary`: "A only", "alle genannten", "以上都是". A single further word makes it an ordinary option:
  "vitamin A only", "all of the small joints".
- A longer English text with joined or chosen letters ("A or B, depending on age") whose neighbours are no nouns.
- A longer English text that refers by position: "all of the drugs listed above".

In doubt an option counts as a reference: a question that keeps its order costs some variety, a wrong answer more.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from medssr.answers import option_vocabulary as vocabulary

# Letters that count as names of options even where a question has fewer of them. "I" is a Roman numeral, unless there
# are nine options.
_MIN_LETTERS = 8
_FIGURES = frozenset(str(number) for number in range(1, 13))
_LISTED_FIGURES = frozenset(str(number) for number in range(1, 7))  # beyond these, figures without a word are amounts
_CYRILLIC = frozenset("абвгде")
_ROMAN = frozenset(["i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x"])


def option_about_options(options: Mapping[str, str]) -> str | None:
    """Returns the first option that speaks about other options, or None.

    Example:
        >>> option_about_options({"A": "Labetalol", "B": "Methyldopa", "C": "Either of the above"})
        'Either of the above'
        >>> option_about_options({"A": "Hepatitis A and B vaccine", "B": "Vitamin A only"}) is None
        True
    """
    letters = _letters(options)
    return next((text for text in options.values() if speaks_about_options(text, letters)), None)


def names_option(text: str, options: Mapping[str, str]) -> bool:
    """Returns whether a text, such as a stem, names an option by its letter: "Why is option B wrong?"."""
    return _patterns(_letters(options)).named.search(text) is not None


@lru_cache(maxsize=2**14)
def speaks_about_options(option: str, letters: str = string.ascii_uppercase[:_MIN_LETTERS]) -> bool:
    """Returns whether an option speaks about other options.

    Args:
        option: The text of the option.
        letters: The letters that name options.
    """
    text = _standard_form(option)
    return (
        _is_made_of_references(text, letters)
        or _names_letters(text, letters)
        or any(pattern.search(text) for pattern in _BY_POSITION)
    )


def _letters(options: Mapping[str, str]) -> str:
    return string.ascii_uppercase[: max(_MIN_LETTERS, len(options))]


# --- Made of nothing but references --------------------------------------------------------------------------------

_CIRCLED = re.compile("[\u2460-\u2473\u2474-\u2487]")  # figures in circles and in brackets that are one sign
_APOSTROPHES = re.compile("[\u2018\u2019\u02bc`\u00b4]")
_ELISION = re.compile(r"\b(?:[cdlmnst]|all|dall|dell|nell|qu|un)'(?=[^\W\d_]{2})", re.IGNORECASE)
_ADJACENT_BRACKETS = re.compile(r"([)\]])\s*([(\[])")  # "(1)(3)"
_NUMBER = re.compile(r"[\div]\s*[.:/\u2010-\u2015-]\s*[\div]", re.IGNORECASE)  # "2.5", "1-3", "II/VI" are no lists
_NONE: frozenset[str] = frozenset()
_AROUND = string.punctuation + string.whitespace
_IGNORED = frozenset(".:()[]{}'\"!*?\u2026\u3002")
_TOKEN = re.compile(
    # A phrase of a script without blanks, a word or number, another sign.
    rf"{vocabulary.UNSPACED_PHRASE}|[^\W_{vocabulary.UNSPACED}]+(?:-[^\W_{vocabulary.UNSPACED}]+)*|\S"
)


def _standard_form(option: str) -> str:
    """Returns the text with plain letters, figures and apostrophes, and with a comma between adjacent references."""
    text = _CIRCLED.sub(lambda match: f" {int(unicodedata.numeric(match[0]))}, ", option)
    text = _APOSTROPHES.sub("'", unicodedata.normalize("NFKC", text))
    return _ADJACENT_BRACKETS.sub(r"\1, \2", _ELISION.sub("", text)).strip()


def _is_made_of_references(text: str, letters: str) -> bool:
    """Returns whether a text has only words by which options are referred to, and with these refers to some."""
    tokens = [token for token in _TOKEN.findall(text) if token not in _IGNORED]
    words = [vocabulary.fold(token) for token in tokens]
    if vocabulary.is_phrase(vocabulary.fold(text.strip(_AROUND))):
        return True
    names = _names(text, words, letters)
    if names is None:
        return False
    if names and not vocabulary.BESIDE_NAMES.isdisjoint(words):
        return True
    # A capital letter names an option, where the same small letter may join: "A e B" in Italian.
    is_joined = any(
        word in vocabulary.JOINING and (len(word) > 1 or word == token)
        for word, token in zip(words, tokens, strict=True)
    )
    is_amounts = names <= _FIGURES and not names <= _LISTED_FIGURES  # "10, 12"
    return (len(names) > 1 and is_joined and not is_amounts) or _speaks_of_unnamed(words)


def _names(text: str, words: Sequence[str], letters: str) -> frozenset[str] | None:
    """Returns the words that name options or numbered statements; None where a word is neither a name nor known.

    Names are of one kind: letters, Roman numerals or figures.
    """
    unknown = {word for word in words if word not in vocabulary.ALL}
    is_list = not _NUMBER.search(text)
    for kind in (
        frozenset(letters.casefold()),
        _CYRILLIC,
        _ROMAN if is_list else _NONE,
        _FIGURES if is_list else _NONE,
    ):
        if unknown <= kind and not kind.isdisjoint(words):
            return kind.intersection(words)
    return None if unknown else _NONE


def _speaks_of_unnamed(tokens: Sequence[str]) -> bool:
    """Returns whether words of the vocabulary choose among options that are not named: "none of these", "both"."""
    words = set(tokens)

    def some(*sets: frozenset[str]) -> bool:
        return all(not words.isdisjoint(each) for each in sets)

    return (
        some(vocabulary.FORMER)
        or some(vocabulary.QUANTIFYING, vocabulary.POINTING | vocabulary.NOUNS | vocabulary.CLAIMING)
        or some(vocabulary.NUMBERS, vocabulary.POINTING)
        or some(vocabulary.ORDINALS, vocabulary.NUMBERS | vocabulary.NOUNS)
        or some(vocabulary.COUNTING, vocabulary.CHOOSING)
        or (len(vocabulary.COUNTING & words) > 1 and some(vocabulary.JOINING))
        or (some(vocabulary.LONE) and words <= vocabulary.LONE | vocabulary.FILLING | vocabulary.NUMBERS)
    )


# --- Longer English texts with letters of options --------------------------------------------------------------------

# Words before letters that name options: "a combination of A and C". Any other makes them variants of something:
# "hepatitis A and B", "factor H or C".
_BEFORE = frozenset(
    """
    about after again against all and as because before begin both but by choose combination combine combining either
    except excluding for from give if in including is it just like neither nor not of only option options or order
    perform plus select start statement statements take than that the then to use using versus when with without
    """.split()  # noqa: SIM905
)
# Words after letters that name options: "A and B, depending on age". Any other is a noun with variants: "B cells".
_AFTER = frozenset(
    """
    according act all alone also although and are as at be because before both but by can combined correct correctly
    cannot depending do does during each equally even except false first followed followed for given has have if in
    instead is may might must nor not occur of on only or rather right separately should simultaneously so than that
    then though to together true was were when where whereas whether which while will with without would wrong
    """.split()  # noqa: SIM905
)
_WORD_BEFORE = re.compile(r"([^\W\d_]+)(\s*\(?\s*|-)$")
_WORD_AFTER = re.compile(r"\)?\s*-?\s*([^\W\d_]+)")


@dataclass(frozen=True, slots=True)
class _Patterns:
    """Patterns of the names of options: "option B", and letters that are joined or chosen ("A and C", "only B")."""

    named: re.Pattern[str]
    chosen: re.Pattern[str]


@lru_cache
def _patterns(letters: str) -> _Patterns:
    # A small letter counts in brackets alone: else it may be the article.
    letter = rf"(?:\(?\b[{letters}]\b\)?|\([{letters.lower()}]\))"
    joiner = r"\s*(?:(?:,|;|/|&|\+|\band\b|\bor\b|\bnor\b|\bbut\b|\bnot\b|\bthen\b|\bplus\b|\bfollowed by\b)\s*)+"
    single = rf"\b(?:[Oo]nly|[Bb]oth|[Ee]ither|[Nn]either|[Ee]xcept)\s+{letter}(?!\s+(?:and|or|nor)\b)"
    return _Patterns(
        named=re.compile(rf"\b(?:[Oo]ptions?|[Cc]hoices?|[Aa]nswers?)\s+{letter}"),
        chosen=re.compile(rf"{letter}(?:{joiner}{letter})+|{single}"),
    )


def _names_letters(text: str, letters: str) -> bool:
    """Returns whether a longer text names options by their letters: "option B", "A and C, in that order"."""
    patterns = _patterns(letters)
    if patterns.named.search(text):
        return True
    for match in patterns.chosen.finditer(text):
        before = _WORD_BEFORE.search(text, 0, match.start())
        after = _WORD_AFTER.match(text, match.end())
        is_after_noun = before is not None and (before[2] == "-" or before[1].casefold() not in _BEFORE)
        is_before_noun = after is not None and after[1].casefold() not in _AFTER
        if not is_after_noun and not is_before_noun:
            return True
    return False


# --- Longer English texts that refer by position ---------------------------------------------------------------------

_QUANTIFIER = r"(?:all|any|anything|both|each|either|every|everything|neither|none|nothing|some)"
_PLACE = r"(?:above|below|preceding|foregoing|previous|aforementioned|listed|mentioned|enumerated)"
_TIME = (
    r"half|part|stages?|hours?|days?|weeks?|months?|years?|mornings?|nights?|evenings?|trimesters?|meals?|dose|visits?"
)
_POPULATION = (
    r"with|without|who|whose|aged?|over|under|in|on|at|of|from|that|which|above|below|older|younger|taking|having"
    r"|(?!listed|mentioned|named|stated|described|enumerated)\w+ed"
)
_STATED = (
    r"are|is|apply|applies|mentioned|listed|given|options?|choices?|answers?|statements?|except|but|together|combined"
)
_BY_POSITION = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # With the place at the end or followed by a statement: "all muscles below the knee" is anatomy.
        rf"\b{_QUANTIFIER}\b.{{,40}}\b{_PLACE}(?=\W*$|\W+(?:{_STATED})\b)",
        rf"\b(?:{_QUANTIFIER}|one|two|three|four|more)\s+of\s+(?:the\s+)?{_PLACE}\b",
        rf"\bthe\s+(?:above|following|foregoing|preceding)\b(?!\s+(?:{_TIME})\b|-(?!mentioned|listed|named|stated))",
        r"\bthe\s+(?:former|latter)\b(?=\W*$|\W+(?:alone|and|are|but|if|in|is|only|or|two|when|with)\b)",
        rf"\b{_QUANTIFIER}\s+(?:of\s+)?(?:the\s+)?(?:other\s+)?(?:options?|choices|answers)\b",
        rf"\b{_QUANTIFIER}\s+(?:of\s+)?(?:these|those)\b(?!\s+(?:{_POPULATION})\b)",
    )
)
