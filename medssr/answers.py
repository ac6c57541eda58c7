"""The one extractor behind majority votes, rewards and benchmark scores.

A completion is read the way a careful reader would: reasoning blocks are dropped, then every place that could state
a decision (a *cue*) is visited from the end of the text backwards, and the last explicit decision counts. An explicit
decision ("the answer is B", a box, a tag, a closing line that is just "B. Warfarin") beats a weaker one ("option B is
correct", "so B"), which beats an opening "B. Warfarin is ...". Where the text names no option, several, one outside
the question, or takes its answer back, there is no letter: nothing is ever guessed.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import islice, pairwise


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


# --- What models write -------------------------------------------------------------------------------------------

_THINKING_STARTS = (
    "<think>", "<thinking>", "<thought>", "<reasoning>", "<reflection>", "<scratchpad>", "[think]",
    "<|begin_of_thought|>", "<|channel|>analysis", "<|im_start|>think", "<unused94>", "◁think▷",
)  # fmt: skip
_THINKING_ENDS = (
    "</think>", "</thinking>", "</thought>", "</reasoning>", "</reflection>", "</scratchpad>", "[/think]",
    "<|end_of_thought|>", "<|channel|>final", "<|im_start|>answer", "<unused95>", "◁/think▷",
)  # fmt: skip
_TURN_ENDS = (
    "</s>", "<eos>", "<|im_end|>", "<|eot_id|>", "<|endoftext|>", "<|end_of_text|>", "<|end|>", "<|return|>",
    "<end_of_turn>", "[eos]",
)  # fmt: skip
_NEXT_QUESTION = r"(?:question|next question|problem|exercise|user|human|instruction)(?: ?\d+)?:"

_NOUNS = (
    "answer", "ans", "option", "choice", "selection", "response", "antwort", "lösung", "respuesta", "opción", "opcion",
    "réponse", "reponse", "risposta", "opzione", "resposta", "opção", "antwoord", "ответ", "答案", "选项", "正解",
    "答え", "정답", "đáp án",
)  # fmt: skip
_NOUNS_OF_ANY_OPTION = ("option", "choice", "selection", "response", "opción", "opcion", "opzione", "opção", "选项")
_QUALITIES = (
    "correct", "right", "best", "final", "appropriate", "accurate", "suitable", "likely", "probable", "most", "single",
    "only", "my", "chosen", "selected", "preferred", "ultimate", "overall", "true", "valid", "logical", "richtige",
    "korrekte", "correcta", "correcte", "bonne", "corretta", "correta", "juiste", "正确", "正确的", "最佳", "最终",
)  # fmt: skip
_LINKS = (
    ":", "=", "->", "→", "⇒", "-", "is", "are", "was", "be", "remains", "becomes", "'s", "seems", "ist", "lautet",
    "wäre", "es", "sería", "est", "serait", "è", "é", "là", "은", "는", "は", "是", "为", "為", "选", "應為",
)  # fmt: skip
_NEGATIONS_BEFORE = ("no", "n'", "ne", "non", "não", "不", "并不", "并非")
_NEGATIONS_AFTER = ("not", "n't", "nicht", "never", "niet", "不")
_FILLERS = (
    "option", "options", "choice", "letter", "answer", "number", "the", "an", "therefore", "thus", "then", "hence",
    "indeed", "clearly", "definitely", "certainly", "simply", "likely", "probably", "most", "actually", "only", "also",
    "still", "either", "both", "to", "be", "that", "is", "it", "give", "start", "administer", "perform", "obtain",
    "begin", "order", "initiate", "correct", "best", "opción", "opcion", "la", "letra", "lettre", "pas", "die",
    "buchstabe",
    "l'option", "选项", "选择", "选", "应该是", "应为", "应", "是", "项",
)  # fmt: skip
_UNDECIDED = (
    "unclear", "unknown", "uncertain", "undetermined", "undecided", "not clear", "not known", "not certain",
    "not available", "not provided", "not given", "not listed", "not among", "none", "neither", "all of", "impossible",
    "cannot", "can't", "any of", "one of the other",
)  # fmt: skip
_AFTER_LETTER = (
    "because", "since", "as", "due", "for", "given", "based", "which", "where", "with", "in", "on", "by", "at", "from",
    "per", "according", "rather", "not", "but", "and", "or", "instead", "if", "so", "it", "this", "these", "the",
    "that", "explanation", "reason", "reasoning", "rationale", "answer", "weil", "da", "denn", "porque", "ya", "pues",
    "car", "parce", "perché", "因为", "由于", "项", "选项", "和", "或", "与", "及", "y", "o", "et", "ou", "und",
    "oder", "is correct", "is the",
)  # fmt: skip
_JOINING_WORDS = ("and", "or", "and/or", "und", "oder", "y", "o", "e", "et", "ou", "和", "或", "与", "及", "或者")
_OWN_VERBS = ("is", "was", "has", "does", "would", "can", "cannot", "could", "may", "might", "will", "should")
_NO_DECISION_BEFORE = (
    "if", "whether", "suppose", "assume", "assuming", "unless", "maybe", "perhaps", "possibly", "wrong", "incorrect",
    "other", "another", "second", "alternative", "previous", "initial", "first", "common", "tempting", "possible",
    "sure", "certain", "doubt", "might say", "might think", "may think", "could argue", "could say", "think of",
    "don't think", "do not think", "not think", "doesn't mean", "cannot say", "can't say", "not believe", "of each",
)  # fmt: skip
_NOT_CHOSEN = ("not", "never", "might", "could", "may", "who")
_OTHERS = ("if", "you", "one", "people", "some", "many", "others", "experts", "doctors", "students", "clinicians")
_MYSELF = ("i", "we", "let's", "let us")
_SMALL_TEXTS = ("yes", "no", "maybe", "true", "false", "none", "all", "both", "other", "normal", "unknown")

_CHOOSING = (
    "choose", "chose", "choosing", "pick", "select", "go with", "going with", "opt for", "would answer", "故选", "应选",
)  # fmt: skip
_CORRECTING = ("no,", "no.", "no -", "wait,", "wait -", "actually,", "actually", "rather,", "correction:", "sorry,")
_CONCLUDING = (
    "so", "thus", "therefore", "hence", "consequently", "i think", "i believe", "i'd say", "i would say", "it is",
    "it's", "it must be", "it should be", "it has to be", "leaving", "leaves", "elimination", "in conclusion",
    "in summary", "conclusion", "选",
)  # fmt: skip
_CONDITIONS = (" if ", " only ", " when ")
_PRAISING = ("correct", "right", "正确", "richtig")
_SUPERLATIVE = (
    "the correct", "most likely", "most appropriate", "most probable", "most consistent", "best", "next step",
)  # fmt: skip

# --- Patterns made of them ---------------------------------------------------------------------------------------
# All run on lower-cased text, from a known place or over a bounded window, so that reading stays linear in the text.


def _any(words: tuple[str, ...]) -> str:
    """A pattern for any of the words, as whole words where they are spelled in Latin letters."""
    longest_first = sorted(words, key=len, reverse=True)
    return "(?:" + "|".join(_whole_word(word) for word in longest_first) + ")"


def _whole_word(word: str) -> str:
    start = r"(?<![a-z0-9])" if word[0].isascii() and word[0].isalnum() else ""
    end = r"(?![a-z0-9])" if word[-1].isascii() and word[-1].isalnum() else ""
    return start + re.escape(word) + end


_THINKING_MARK = re.compile(
    "(?P<start>" + "|".join(map(re.escape, _THINKING_STARTS)) + ")|" + "|".join(map(re.escape, _THINKING_ENDS))
)
_MARK_OPENINGS = re.compile(r"[<\[◁]")
_TURN_END = re.compile("|".join(map(re.escape, _TURN_ENDS)))
_QUESTION_LINE = re.compile(rf"\n[#\s>*-]{{0,8}}(?={_NEXT_QUESTION})")
_DECORATION = re.compile(  # every branch opens with a character of its own, so that plain text is skipped quickly
    r"\\(?:text|math)(?:bf|rm|sf|it|tt|normal)?(?![a-z])|\\(?:bf|rm|left|right|quad)(?![a-z])|\\[()\[\]!,;]|[*`$~]"
    r"|__+|_(?<![a-zA-Z0-9]_)|_(?![a-zA-Z0-9])|</?(?:b|strong|em|i|u|p|br|span)\s?/?>"
)
_INVISIBLE = [*map(chr, (0xAD, 0x2060, 0xFE0F, 0xFEFF, *range(0x200B, 0x2010), *range(0x202A, 0x202F)))]
_INVISIBLE += map(chr, range(0x2066, 0x206A))
_PLAIN_FORMS = {"。": ".", "、": ",", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "「": '"', "」": '"'}
_PLAIN_FORMS |= {"\u2018": "'", "\u2019": "'", "【": "[", "】": "]", "\u2028": "\n", "\u2029": "\n"}
_PLAIN_FORMS |= {"\r": "\n", "İ": "I", "\u3000": " "}  # the dotted capital I is the one letter that grows in lower case
_PLAIN_FORMS |= dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-") | dict.fromkeys(_INVISIBLE, "")
_STYLED = [*range(0xFF01, 0xFF5F), *range(0x24B6, 0x24EA), *range(0x1D400, 0x1D6A4), *range(0x2000, 0x200B), 0xA0]
_PLAIN_TABLE = str.maketrans(_PLAIN_FORMS | {chr(code): unicodedata.normalize("NFKC", chr(code)) for code in _STYLED})

_SPACE = r"[^\S\n]"
_JOINER = (
    rf"{_SPACE}{{0,3}}[)\]}}\"'.]{{0,3}}{_SPACE}{{0,3}}"
    rf"(?:,?{_SPACE}?\(?{_any(_JOINING_WORDS)}(?:{_SPACE}(?:possibly|maybe|perhaps|also|even))?|[,;/&+|\-])"
)
_JOINED_LETTER = re.compile(
    rf"{_JOINER}{_SPACE}{{0,3}}(?:option |choice )?[(\[\"']{{0,2}}([a-z])(?![a-z0-9'])(?!-[a-z0-9])"
    rf"(?!{_SPACE}{_any(_OWN_VERBS)})"
)
_JOINED_TEXT = re.compile(rf"{_SPACE}{{0,3}}[)\]]?,?{_SPACE}{_any(_JOINING_WORDS)}{_SPACE}")
_NEXT_LETTERED = re.compile(rf"[.,;]?{_SPACE}{{1,3}}\(?([a-z])[.):]{_SPACE}")
_LETTER_END = re.compile(
    rf"(?:{_SPACE}{{0,3}}(?:\Z|\n|[)\]}}\",;:!?<|\\>]|-(?![a-z0-9])|'(?!s)|\((?=[^)\n]{{2}}))|\."
    rf"|{_SPACE}{{0,3}}{_any(_AFTER_LETTER)}|{_JOINED_LETTER.pattern})"
)
_ABBREVIATION = re.compile(rf"\.{_SPACE}?(?!(?i:{_any(_AFTER_LETTER)}))[a-z]")  # "C. difficile", "E. coli"
_AFTER_LETTER_SEPARATOR = re.compile(
    rf"(?:[)\]}}\"'.:,;({{>=]|-(?![0-9])){{0,4}}{_SPACE}{{0,3}}(?:[(\[\"']|-(?![0-9])){{0,4}}{_SPACE}{{0,2}}"
)
_SMALL_TEXT_END = re.compile(rf"\s*(?:\Z|\n|[)\]}}\",.;:!?<(]|- )|{_SPACE}{_any(('because', 'since', 'as'))}")
_DENIED_TEXT = re.compile(rf"{_SPACE}(?:(?:is|are|was|does|would|should|can|has)(?:{_SPACE}not|n't)|cannot)(?![a-z])")
_STRICT_END = re.compile(rf"[)\]}}\"'. |\\]{{0,6}}(?:\Z|\n|(?<=[)\]}}])|(?<=\.){_SPACE}|<)|\.{_SPACE}")
_LINE_END = re.compile(r"[)\]}\"'. |\\]{0,6}(?:\Z|\n)")
_TEXT_END = re.compile(r"(?![a-z0-9]|[-/][a-z0-9]|[.,][0-9]|%)")
_LETTER_OF_TEXT = re.compile(
    r"[\s,\"']{0,4}(?:[(\[](?:option |choice |answer )?|(?:option|choice) )([a-z])(?![a-z0-9-])"
)
_OPENING = re.compile(r"(?:[✅✔✓☑➡👉\s\"'(\[{:=>#…|\\]|[-.](?![0-9])){0,60}")
_FILLER = re.compile(_any(_FILLERS) + r"|an? ")
_UNDECIDED_SLOT = re.compile(_any(_UNDECIDED))
_EMPTY_SLOT = re.compile(r"[\s\"']*(?:[}<\]]|\Z)")
_NAMED_LATER = re.compile(r"[ \[]\(([a-z])\)|(?:option|choice) ([a-z])(?=[.)\n]|\Z)")
_SENTENCE_END = re.compile(r"[.?!]\s|\n|\Z")

_LINK = re.compile(
    rf"s?\)?\"?(?:[ _](?:choice|option|letter|key))?\"?"
    rf"(?:,?{_SPACE}(?:to|for|of|that|in|which|among|here|from|given|based|best)(?![a-z])[^.:?!\n]{{0,120}}?)??"
    rf"(?:,?{_SPACE}(?:therefore|thus|then|hence|however|clearly|choice|correcta|correcte|corretta|correta),?)?"
    rf"(?:(?<=[a-z])n't|{_SPACE}{{0,3}}(?P<before>{_any(_NEGATIONS_BEFORE)}))?"
    rf"(?:{_SPACE}(?:would|should|must|will|has to|have to|appears to|seems to|can only))?"
    rf"(?:{_SPACE}{{0,3}}{_any(_LINKS)}|{_SPACE}(?=\([a-z]\)))(?P<after>n't|{_SPACE}{{0,3}}{_any(_NEGATIONS_AFTER)})?"
)
_HEADING_LINK = re.compile(rf"s?{_SPACE}*\n")
_CANNOT_BE = re.compile(rf"{_SPACE}(?:cannot|can't|can not|could not|couldn't|wouldn't|shouldn't) be{_SPACE}")
_BUT_RATHER = re.compile(
    rf"[,;.)\-\s]{{1,4}}(?:but|rather|instead|it|it's|this|而是|sino|sondern|mais)?"
    rf"(?:{_SPACE}(?:is|rather|it is))?{_SPACE}?"
)
_LEADING_WORD = _any((*_QUALITIES, "the", "a", "an", "that", "is", "or", "and", "answer", "la"))
_LEADING_WORDS = rf"(?:{_SPACE}+{_LEADING_WORD})"
_QUALITY_BEFORE = re.compile(rf"(?:{_any(_QUALITIES)}{_SPACE}*|\n[\s#>*-]*|\A[\s#>*-]*|answer{_SPACE}|die )\Z")
_NO_DECISION = re.compile(rf"{_any(_NO_DECISION_BEFORE)}{_LEADING_WORDS}{{0,4}}{_SPACE}*\Z")
_NOT_MINE = re.compile(
    rf"(?:{_any(_NOT_CHOSEN)}|n't)(?:{_SPACE}[a-z]+)?{_SPACE}*\Z|{_any(_OTHERS)}(?:(?!{_any(_MYSELF)})[^.!?\n])*\Z"
)
_GAP_LINK = re.compile(rf"[^.:?!\n]{{0,80}}?(?<![a-z])(?:is|are|be)(?P<not>{_SPACE}not|n't)?(?![a-z])")
_LEAD_LINK = re.compile(
    rf"[,:]?{_SPACE}*(?:(?:it|that|this|the answer)(?:'s| is| should be| must be| would be| has to be))?{_SPACE}*"
    rf"(?:with |us with |option |only |that |go with |是|项)?[\"'(]{{0,2}}"
)
_VERDICT_WORD = _any((*_QUALITIES, "the", "a", "our", "indeed", "therefore", "thus", "also", "answer"))
_VERDICT_LINK = re.compile(
    rf"(?:(?P<link>{_SPACE}(?:is|are|was|remains|being|as|(?:would|should|must|has to) be|seems|appears(?: to be)?)"
    rf"|'s|:"
    rf"|{_SPACE}?-|{_SPACE}\(|\(|选项是?|项|是|(?<=[a-z)]))(?P<not>n't|{_SPACE}not)?)"
    rf"(?:{_SPACE}+{_VERDICT_WORD})*{_SPACE}*\Z"
)
_VERDICT_ENDINGS = tuple({word[-1] for word in (*_QUALITIES, "is", "our", "be", "a", "not", "being")} | set(":(-项是"))
_SUBJECT_LEAD = re.compile(
    rf"(?:\A|[.!?:;,(\n\[]|{_any(('option', 'choice', 'answer', 'letter', *_CONCLUDING, 'that', 'think', 'believe'))}"
    rf"|{_any(('makes', 'making', 'only', 'because', 'since', 'as', 'the', 'conclude', 'and', 'or', 'but', 'with'))})"
    rf"[\s\"'(\[]{{0,4}}\Z"
)
_SUBJECT_BEFORE = re.compile(r"(?<![a-z0-9])([a-z])[)\]]?,?\s(?:and|or|&)\s(?:option\s)?\(?\Z")
_TEXT_LETTER_BEFORE = re.compile(r"(?<![a-z0-9])([a-z])[).:,\]\s\"-]{1,4}\Z")
_PRONOUN = re.compile(rf"{_any(('this', 'it', 'which', 'that', 'correct'))}\Z")
_LINE_HEAD = re.compile(r"[\s#>|(\[-]{0,8}(?:option |choice )?\(?([a-z])[).:\]]")
_LETTERED_START = re.compile(r"(?:\n[\s#>|-]{0,8}|[.;!?,]\s{1,2})(?:[Oo]ption )?\(?([A-Z])[).:\]](?=\s)")
_JSON_KEY = re.compile(
    r"[\"'](?:(?:final|correct|selected|chosen|predicted)[_ ]?)?"
    r"(?:answer(?:[_ ]?(?:choice|letter|option|idx))?|choice|option|prediction)[\"']\s{0,20}:"
)
_JSON_OPENING = re.compile(r"[\s\"'\[{(]{0,20}(?:(?:str|letter|choice)[\"':\s({\"']{1,6})?")
_JSON_VALUE_END = re.compile(r"[\"'](?=\s{0,20}(?:[,}\]\n\"]|\Z))|[}\n]")
_JSON_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|[n\"/\\])")
_JSON_LIST_END = re.compile(r"\]")
_SPECIAL_TOKEN = re.compile(r"<\|[^|<>\n]{1,30}\|>(?:assistant)?|</?s>")
_LINE_LEAD = re.compile(r"(?:[✅✔✓☑➡👉\s\"'(\[{>#|\\]|-(?![0-9])){0,20}(?:(?:option|choice|letter)[: ]{1,2}\(?)?")
_HEADING = re.compile(rf":{_SPACE}*[^\s]")
_LETTER_LIST_LENGTH = 24
_REJECTED = re.compile(
    r"[^.\n]{0,60}(?<![a-z])(?:is|are|was)(?:n't| (?:also |the )?(?:incorrect|wrong|false|not))(?![a-z])"
)
_DENIAL = re.compile(rf"{_SPACE}*(?:that|this|it)(?:'s| is| was)? (?:wrong|incorrect|not (?:right|correct))")


# --- The text and its options ------------------------------------------------------------------------------------


_Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Options:
    letters: str
    letters_of: dict[str, str]  # option text -> the letters that have it
    longest_first: tuple[str, ...]

    @property
    def span(self) -> int:
        return len(self.longest_first[0]) if self.longest_first else 0


@dataclass(frozen=True, slots=True)
class _Page:
    """A text as written (`raw`) and in lower case (`low`), character by character alike, with its options."""

    raw: str
    low: str
    options: _Options


@dataclass(frozen=True, slots=True)
class _Mention:
    """An option named at one place, or the reason why what stands there names none."""

    letter: str | None
    end: int
    problem: Reason | None = None
    is_pronoun: bool = False


@dataclass(frozen=True, slots=True)
class _Event:
    """A decision stated in the text. A `RETRACTED` one takes back its letter, or without one whatever came before."""

    letter: str | None
    reason: Reason
    is_explicit: bool = True


def _plain(text: str) -> str:
    return _DECORATION.sub("", text.translate(_PLAIN_TABLE))


def _option_text(text: str) -> str:
    return " ".join(_plain(text).lower().split()).strip("\"'()[]{} .;,")


@lru_cache(maxsize=4096)
def _options(items: tuple[tuple[str, str], ...]) -> _Options:
    letters_of: dict[str, str] = {}
    for letter, text in items:
        key = _option_text(text)
        if key:
            letters_of[key] = letters_of.get(key, "") + letter
    longest_first = tuple(sorted(letters_of, key=len, reverse=True))
    return _Options("".join(letter for letter, _ in items), letters_of, longest_first)


# --- Reading an option at a given place --------------------------------------------------------------------------


def _text_at(page: _Page, position: int) -> tuple[str, int] | None:
    """The letters of the longest option text that starts here, and where it ends."""
    for text in page.options.longest_first:
        if page.low.startswith(text, position):
            end = position + len(text)
        elif " " in text and (wrapped := _wrapped_end(page.low, position, text)):
            end = wrapped
        else:
            continue
        if _TEXT_END.match(page.low, end):
            return page.options.letters_of[text], end
    return None


def _wrapped_end(low: str, position: int, text: str) -> int | None:
    """Where the text ends if it stands here with other white space between its words."""
    for word in text.split(" "):
        while position < len(low) and low[position].isspace():
            position += 1
        if not low.startswith(word, position):
            return None
        position += len(word)
    return position


def _mention_at(page: _Page, position: int) -> _Mention | None:
    by_text = _text_at(page, position)
    is_letter = _is_letter_at(page.low, position)
    names_no_letter = not is_letter or page.low[position].upper() not in page.options.letters
    if by_text and (names_no_letter or by_text[1] > position + 1):
        return _mention_by_text(page, position, *by_text)
    return _mention_by_letter(page, position) if is_letter else None


def _is_letter_at(low: str, position: int) -> bool:
    char, following = low[position : position + 1], low[position + 1 : position + 2]
    return char.isascii() and char.isalpha() and not (following.isascii() and following.isalnum())


def _mention_by_letter(page: _Page, position: int) -> _Mention | None:
    low, after = page.low, position + 1
    letter = low[position].upper()
    separator = _AFTER_LETTER_SEPARATOR.match(low, after)
    named = _text_at(page, separator.end()) if separator and separator[0] else None
    if named and letter in named[0]:
        return _Mention(letter, named[1])
    is_spelled_out = bool(separator and separator[0].strip() and letter in page.options.letters)
    if named and is_spelled_out and _STRICT_END.match(low, named[1]):
        return _Mention(None, named[1], Reason.CONTRADICTION)
    is_marked = low[position - 1 : position] in tuple("([{\"'") and low[after : after + 1] in tuple(")]}\"'")
    is_marked = is_marked or low.endswith(("option ", "choice "), max(0, position - 7), position)
    if not is_marked and (not _LETTER_END.match(low, after) or _ABBREVIATION.match(page.raw, after)):
        return None
    if letter not in page.options.letters:
        return _Mention(None, after, Reason.NOT_AN_OPTION)
    return _Mention(letter, after)


def _mention_by_text(page: _Page, start: int, letters: str, end: int) -> _Mention | None:
    text = page.low[start:end]
    if (text in _SMALL_TEXTS or len(text) <= 3) and not _SMALL_TEXT_END.match(page.low, end):
        return None
    if _DENIED_TEXT.match(page.low, end):
        return None
    named = _LETTER_OF_TEXT.match(page.low, end)
    if named:
        letter = named[1].upper()
        if letter in letters:
            return _Mention(letter, named.end())
        return _Mention(None, named.end(), Reason.CONTRADICTION)
    if len(letters) > 1:
        return _Mention(None, end, Reason.SHARED_TEXT)
    return _Mention(letters, end)


def _is_joined(page: _Page, mention: _Mention) -> bool:
    """Whether another option is named in the same breath: "B or C", "B/C", "B. Warfarin and C. Heparin"."""
    letter = _JOINED_LETTER.match(page.low, mention.end)
    if letter and letter[1].upper() in page.options.letters and not _ABBREVIATION.match(page.raw, letter.end()):
        return letter[1].upper() != mention.letter
    lettered = _NEXT_LETTERED.match(page.low, mention.end)
    following = _mention_at(page, lettered.start(1)) if lettered else None
    if lettered and following and following.end > lettered.end():
        return following.letter != mention.letter
    text = _JOINED_TEXT.match(page.low, mention.end)
    other = _mention_at(page, text.end()) if text else None
    return other is not None and other.letter not in (None, mention.letter)


def _heads_a_list(page: _Page, mention: _Mention) -> bool:
    """Whether the next line is a lone option too: a list of options decides nothing."""
    line_end = _LINE_END.match(page.low, mention.end)
    if not line_end:
        return False
    following = _OPENING.match(page.low, line_end.end())
    other = _mention_at(page, following.end()) if following else None
    return bool(other and other.letter not in (None, mention.letter) and _LINE_END.match(page.low, other.end))


# --- Reading the slot after a cue --------------------------------------------------------------------------------


def _slot_mention(page: _Page, position: int) -> tuple[_Mention | None, int]:
    for _ in range(6):
        opening = _OPENING.match(page.low, position)
        position = opening.end() if opening else position
        mention = _mention_at(page, position)
        if mention:
            return mention, position
        filler = _FILLER.match(page.low, position)
        if not filler or page.raw.startswith("A ", position):
            break
        position = filler.end()
    return None, position


def _read_slot(page: _Page, start: int, reason: Reason, *, is_explicit: bool = True) -> _Event | None:
    """The decision in the words after a cue; None where they state none, or ask instead ("is it B?")."""
    mention, position = _slot_mention(page, start)
    if mention is None:
        if _UNDECIDED_SLOT.match(page.low, position):
            return _Event(None, Reason.NO_ANSWER, is_explicit)
        letter = _letter_later_in_sentence(page, position)
        return _Event(letter, reason, is_explicit) if letter else None
    if page.low[mention.end : mention.end + 3].lstrip(" .)\"'").startswith("?"):
        return None
    if mention.problem:
        return _Event(None, mention.problem, is_explicit)
    if _is_joined(page, mention) or _heads_a_list(page, mention):
        return _Event(None, Reason.SEVERAL_LETTERS, is_explicit)
    return _Event(mention.letter, reason, is_explicit)


def _letter_later_in_sentence(page: _Page, position: int) -> str | None:
    """The one letter of a description: "the answer is a vitamin K antagonist (B)"."""
    end = _SENTENCE_END.search(page.low, position, min(len(page.low), position + 240))
    sentence_end = end.end() if end else position
    found = {
        page.raw[match.start(match.lastindex or 0)] for match in _NAMED_LATER.finditer(page.low, position, sentence_end)
    } & set(page.options.letters)
    return found.pop() if len(found) == 1 else None


def _read_field(page: _Page, start: int, reason: Reason) -> _Event | None:
    """The decision in a box, a tag or a JSON value: unlike prose, whatever fills it is meant as the answer."""
    if _EMPTY_SLOT.match(page.low, start):
        return None
    return _read_slot(page, start, reason) or _Event(None, Reason.NOT_AN_OPTION)


# --- Cues: what each kind of phrase decides ----------------------------------------------------------------------


def _after_noun(page: _Page, cue: _Span) -> _Event | None:
    """Read "The answer is B", "Correct option: B", or the other way round, "B is the answer"."""
    start, end = cue
    before = page.low[max(0, start - 60) : start]
    noun = page.low[start:end]
    cannot = _CANNOT_BE.match(page.low, end)
    if cannot:
        return _read_denied(page, cannot.end())
    link = _LINK.match(page.low, end)
    if not link and before.rsplit("\n", 1)[-1].strip(" #>") in ("", *_QUALITIES, "the final", "the correct"):
        link = _HEADING_LINK.match(page.low, end)
    if not link:
        return _before_praise(page, cue)
    if noun in _NOUNS_OF_ANY_OPTION and not _QUALITY_BEFORE.search(before):
        return None
    if link.re is _LINK and (link["before"] or link["after"]):
        event: _Event | None = _read_denied(page, link.end())
    else:
        event = _read_slot(page, link.end(), Reason.ANSWER_PHRASE)
    return None if event is None or _NO_DECISION.search(before) else event


def _read_denied(page: _Page, position: int) -> _Event | None:
    """Read "The answer is not A" takes A back; "not A but B" decides for B; "not clear" decides for nothing."""
    mention, _ = _slot_mention(page, position)
    if mention is None or mention.letter is None:
        return _Event(None, Reason.NO_ANSWER)
    rather = _BUT_RATHER.match(page.low, mention.end)
    instead = _mention_at(page, rather.end()) if rather else None
    if instead and instead.letter:
        return _Event(instead.letter, Reason.ANSWER_PHRASE)
    return _Event(mention.letter, Reason.RETRACTED)


def _before_praise(page: _Page, cue: _Span) -> _Event | None:
    """Read "B is the correct answer", explicit; "option B is correct", a verdict."""
    start, end = cue
    window = page.low[max(0, start - 60) : start]
    if page.low[end : end + 1].isalpha() or page.low.startswith(_CONDITIONS, end):
        return None
    if not window.rstrip().endswith(_VERDICT_ENDINGS):  # spares most places the search that follows
        return None
    link = _VERDICT_LINK.search(window)
    if not link:
        return None
    subject_end = start - len(window) + link.start()
    is_explicit = page.low.startswith(("answer", "option", "choice"), start)
    if not link["link"] and not is_explicit:
        return None
    subject = _subject_before(page, subject_end)
    if subject is None:
        return None
    if link["not"]:
        return _Event(subject.letter, Reason.RETRACTED) if is_explicit else None
    if subject.problem:
        return _Event(None, subject.problem, is_explicit)
    is_explicit = is_explicit and not subject.is_pronoun
    return _Event(subject.letter, Reason.ANSWER_PHRASE if is_explicit else Reason.VERDICT, is_explicit)


def _subject_before(page: _Page, end: int) -> _Mention | None:
    """The option that the words before `end` name."""
    reach = max(0, end - 300 - page.options.span)
    line_start = max(reach, page.low.rfind("\n", reach, end) + 1)
    line = page.low[line_start:end].rstrip(" ,)\"']:-")
    if _PRONOUN.search(line):
        head = _LINE_HEAD.match(line)
        letter = head[1].upper() if head else ""
        return _Mention(letter, end, is_pronoun=True) if letter and letter in page.options.letters else None
    for text in page.options.longest_first:
        if line.endswith(text):
            return _subject_by_text(page, line[: -len(text)], page.options.letters_of[text], end)
    rest, letter = line[:-1], line[-1:].upper()
    is_upper = page.raw.startswith(letter, line_start + len(rest)) if letter else False
    is_named = is_upper and letter in page.options.letters and _SUBJECT_LEAD.search(rest)
    if not is_named or _NO_DECISION.search(rest.rstrip("(").removesuffix("option ")):
        return None
    other = _SUBJECT_BEFORE.search(rest)
    if other and other[1].upper() in page.options.letters:
        return _Mention(None, end, Reason.SEVERAL_LETTERS)
    return _Mention(letter, end)


def _subject_by_text(page: _Page, before: str, letters: str, end: int) -> _Mention | None:
    lettered = _TEXT_LETTER_BEFORE.search(before)
    if lettered and lettered[1].upper() in page.options.letters:
        letter = lettered[1].upper()
        if _NO_DECISION.search(before[: lettered.start()]):
            return None
        return _Mention(letter, end) if letter in letters else _Mention(None, end, Reason.CONTRADICTION)
    if len(letters) > 1 or not _SUBJECT_LEAD.search(before):
        return None
    return _Mention(letters, end)


def _after_choosing(page: _Page, cue: _Span) -> _Event | None:
    if _NOT_MINE.search(page.low[max(0, cue[0] - 60) : cue[0]]):
        return None
    return _read_slot(page, cue[1], Reason.ANSWER_PHRASE)


def _after_superlative(page: _Page, cue: _Span) -> _Event | None:
    start, end = cue
    link = _GAP_LINK.match(page.low, end)
    if not link or link["not"] or _NO_DECISION.search(page.low[max(0, start - 60) : start]):
        return _before_praise(page, cue) if not link else None
    return _read_slot(page, link.end(), Reason.VERDICT, is_explicit=False)


def _after_lead(page: _Page, cue: _Span) -> _Event | None:
    """Read "So, B." and "no, it should be B"; "wait, that is wrong" takes back what came before."""
    start, end = cue
    if page.low.startswith(_CORRECTING, start) and _DENIAL.match(page.low, end):
        return _Event(None, Reason.RETRACTED)
    link = _LEAD_LINK.match(page.low, end)
    position = link.end() if link else end
    if not page.raw[position : position + 1].isupper():
        return None
    mention = _mention_at(page, position)
    if mention is None or mention.letter is None or _is_joined(page, mention):
        return None
    if _JOINED_TEXT.match(page.low, mention.end):  # "thus A and C can be excluded"
        return None
    if not _STRICT_END.match(page.low, mention.end) and not _is_letter_at(page.low, position):
        return None
    return _Event(mention.letter, Reason.ANSWER_PHRASE)


def _in_box(page: _Page, cue: _Span) -> _Event | None:
    return _read_field(page, cue[1], Reason.BOXED)


def _in_tag(page: _Page, cue: _Span) -> _Event | None:
    return _read_field(page, cue[1], Reason.TAG)


_Reader = Callable[[_Page, _Span], _Event | None]
_READERS: dict[str, _Reader] = {
    **dict.fromkeys(_NOUNS, _after_noun),
    **dict.fromkeys(_PRAISING, _before_praise),
    **dict.fromkeys(_CHOOSING, _after_choosing),
    **dict.fromkeys(_SUPERLATIVE, _after_superlative),
    **dict.fromkeys((*_CONCLUDING, *_CORRECTING), _after_lead),
    **dict.fromkeys(("boxed{", "boxed {", "fbox{", "\x08oxed{"), _in_box),
    **dict.fromkeys(("<answer>", "<final_answer>", "<choice>", "[answer]", "<ans>"), _in_tag),
}


def _cue_pattern(cues: Iterable[str]) -> re.Pattern[str]:
    """A pattern that branches on the first character, several times quicker than one flat list of cues."""
    by_first: dict[str, list[str]] = {}
    for cue in sorted(cues, key=len, reverse=True):
        by_first.setdefault(cue[0], []).append(re.escape(cue[1:]))
    return re.compile("|".join(f"{re.escape(first)}(?:{'|'.join(rest)})" for first, rest in by_first.items()))


_CUE = _cue_pattern(_READERS)
_MAX_CUES = 2_000  # cues visited from the end; no readable completion has more, and a hostile one costs no more
_MAX_QUESTIONS = 20
_WINDOW = 512
_LONGEST_CUE = max(map(len, _READERS))


# --- Events of a whole text, last first --------------------------------------------------------------------------


def _cue_events(page: _Page) -> Iterator[_Event]:
    for start, end in islice(_cues_from_the_end(page.low), _MAX_CUES):
        event = _READERS[page.low[start:end]](page, (start, end))
        if event:
            yield event


def _cues_from_the_end(low: str) -> Iterator[tuple[int, int]]:
    for start in range((len(low) - 1) // _WINDOW * _WINDOW, -1, -_WINDOW):
        window_end = start + _WINDOW
        found = [match.span() for match in _CUE.finditer(low, start, window_end + _LONGEST_CUE)]
        yield from (span for span in reversed(found) if span[0] < window_end and _starts_a_word(low, span[0]))


def _starts_a_word(low: str, start: int) -> bool:
    before = low[start - 1 : start]
    return not (before.isascii() and before.isalnum() and low[start].isascii())


def _closing_line(page: _Page) -> _Event | None:
    """A last line that is nothing but an option."""
    end = len(page.low.rstrip())
    start = page.low.rfind("\n", 0, end) + 1
    lead = _LINE_LEAD.match(page.low, start)
    mention = _mention_at(page, lead.end()) if lead else None
    if mention is None:
        return None
    if end - start <= _LETTER_LIST_LENGTH and _is_joined(page, mention):
        return _Event(None, Reason.SEVERAL_LETTERS)
    if not _LINE_END.match(page.low, mention.end):
        return None
    if mention.letter is None:
        return None if page.low[:start].strip() else _Event(None, mention.problem or Reason.NO_ANSWER)
    if _walks_through_options(page) or _follows_a_list(page, start, mention):
        return None
    return _Event(mention.letter, Reason.BARE_OPTION)


def _follows_a_list(page: _Page, line_start: int, mention: _Mention) -> bool:
    previous = page.low.rfind("\n", 0, len(page.low[:line_start].rstrip())) + 1
    lead = _LINE_LEAD.match(page.low, previous)
    other = _mention_at(page, lead.end()) if lead and previous < line_start else None
    return bool(other and other.letter not in (None, mention.letter) and _LINE_END.match(page.low, other.end))


def _opening_line(page: _Page) -> _Event | None:
    """A text that begins with its answer: "B. Warfarin is the drug of choice ...", "Yes, because ..."."""
    lead = _LINE_LEAD.match(page.low)
    start = lead.end() if lead else 0
    mention = _mention_at(page, start)
    if mention is None or mention.letter is None or _heads_a_list(page, mention):
        return None
    if _HEADING.match(page.low, mention.end):  # "A: ..." may as well open an answer in a dialogue
        return None
    if _is_joined(page, mention):
        return _Event(None, Reason.SEVERAL_LETTERS)
    if _is_letter_at(page.low, start):
        is_answer = page.raw[start].isupper() and not _walks_through_options(page)
    else:
        is_small = page.low[start : mention.end] in _SMALL_TEXTS
        is_answer = is_small or bool(_STRICT_END.match(page.low, mention.end))
    if not is_answer or _REJECTED.match(page.low, mention.end):
        return None
    return _Event(mention.letter, Reason.BARE_OPTION, is_explicit=False)


def _walks_through_options(page: _Page) -> bool:
    """Whether the lettered starts of lines and sentences go up one by one, as in a discussion of every option."""
    heads = [match[1] for match in _LETTERED_START.finditer("\n" + page.raw) if match[1] in page.options.letters]
    return len(heads) > 1 and all(first < second for first, second in pairwise(heads))


def _json_value(page: _Page) -> tuple[_Page, _Page] | None:
    """The value of the last answer key, and what follows its object."""
    keys = list(_JSON_KEY.finditer(page.low))
    opening = _JSON_OPENING.match(page.low, keys[-1].end()) if keys else None
    if opening is None:
        return None
    start = opening.end()
    end = (_JSON_LIST_END if "[" in opening[0] else _JSON_VALUE_END).search(page.low, start)
    value_end = end.start() if end else len(page.low)
    rest = max(page.low.rfind("}"), value_end)
    value = _JSON_ESCAPE.sub(_unescaped, page.raw[start:value_end]).translate(_PLAIN_TABLE)
    return _page(value, page.options), _page(page.raw[rest + 1 :], page.options)


def _unescaped(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16)) if escape[1] else "\n" if escape[0] == "\\n" else escape[0][1:]


def _events(page: _Page) -> Iterator[_Event]:
    json = _json_value(page)
    if json:
        value, rest = json
        field = _read_field(value, 0, Reason.JSON)
        if field:
            yield from _prose_events(rest)
            yield from (_cue_events(value) if field.reason is Reason.NOT_AN_OPTION else ())
            yield field
            return
    yield from _prose_events(page)


def _prose_events(page: _Page) -> Iterator[_Event]:
    if page.low.strip():
        yield from filter(None, [_closing_line(page)])
        yield from _cue_events(page)
        yield from filter(None, [_opening_line(page)])


def _resolve(events: Iterator[_Event]) -> _Event | None:
    """The decision that counts among events that come last first."""
    weak: _Event | None = None
    taken_back: set[str | None] = set()
    for event in events:
        if event.reason is Reason.RETRACTED:
            taken_back.add(event.letter)
        elif not event.is_explicit:
            weak = _weaker(weak, event)
        elif weak and event.letter is None:
            return weak
        elif event.letter and not taken_back.isdisjoint({event.letter, None}):
            return weak or _Event(None, Reason.RETRACTED)
        else:
            return event
    if weak and weak.letter in taken_back:
        return _Event(None, Reason.RETRACTED)
    return weak or (_Event(None, Reason.RETRACTED) if taken_back else None)


def _weaker(weak: _Event | None, event: _Event) -> _Event:
    """Keep the last weak decision, unless several options are called correct (as in "all are correct except")."""
    if weak is None:
        return event
    if weak.reason is event.reason is Reason.VERDICT and weak.letter != event.letter:
        return _Event(None, Reason.SEVERAL_LETTERS, is_explicit=False)
    return weak


# --- The whole completion ----------------------------------------------------------------------------------------


def _page(raw: str, options: _Options) -> _Page:
    return _Page(raw, raw.lower(), options)


def _without_thinking(text: str) -> str | None:
    """The text outside reasoning blocks; None where a block is never closed."""
    kept: list[str] = []
    position, is_inside = 0, False
    for mark in _THINKING_MARK.finditer(text.lower() if _MARK_OPENINGS.search(text) else ""):
        if mark["start"]:
            if not is_inside:
                kept.append(text[position : mark.start()])
            is_inside = True
            continue
        if not is_inside:  # the prompt opened the block, so all of the text so far was reasoning
            kept.clear()
        position, is_inside = mark.end(), False
    return None if is_inside else "".join(kept) + text[position:]


def _first_turn(text: str) -> str:
    end = next((m.start() for m in _TURN_END.finditer(text) if text[: m.start()].strip()), len(text))
    return _SPECIAL_TOKEN.sub("\n", text[:end])


def _questions(text: str) -> list[str]:
    """The text, cut where a model goes on to write further questions of its own."""
    cuts = [match.start() for match in islice(_QUESTION_LINE.finditer(text.lower()), _MAX_QUESTIONS)]
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def extract_choice(completion: str, options: Mapping[str, str]) -> Choice:
    """Extract the option that a completion decides for, or say why there is none.

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
    answer = _without_thinking(completion.translate(_PLAIN_TABLE))
    if answer is None:
        return Choice(None, Reason.UNFINISHED_THINKING.value)
    text = _DECORATION.sub("", _first_turn(answer))
    if not text.strip():
        return Choice(None, Reason.EMPTY.value)
    table = _options(tuple(options.items()))
    for part in _questions(text):
        event = _resolve(_events(_page(part, table)))
        if event:
            return Choice(event.letter, event.reason.value)
    return Choice(None, Reason.NO_ANSWER.value)
