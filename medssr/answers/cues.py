"""Cues, the phrases that announce a decision: where they stand, and what each kind of them decides."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice

from medssr.answers import lexicon
from medssr.answers.choice import Decision, Reason
from medssr.answers.cleaned_text import Page, is_letter_at, text_at
from medssr.answers.lexicon import SMALL_TEXTS, any_of, longest_of
from medssr.answers.named_options import (
    JOINED_TEXT,
    SENTENCE_END,
    SPACE,
    Mention,
    is_asked,
    is_joined,
    mention_at,
    read_denied_slot,
    read_field,
    read_slot,
)
from medssr.answers.statements import (
    Statement,
    decides_nothing,
    has_other_subject,
    is_about_the_least,
    is_chosen_by_others,
    is_counterfactual,
    is_elsewhere,
    is_label,
    line_before,
    statement_of,
)
from medssr.answers.subjects import subject_at_end, subject_before

MAX_CUES = 2_000  # cues visited from the end; no readable completion has more, and a hostile one costs no more
_WINDOW = 512

# What joins a noun and its option: "answer[ choice that fits the history best, therefore, would be] B"
_CLAUSE = (
    rf",?{SPACE}(?:to|for|of|that|in|which|among|here|from|given|based|best|you|after|upon|on)(?![a-z])"
    rf"(?:{SPACE}[^\s.:?!]++){{0,20}}?"
)
_ADVERB = (
    rf",?{SPACE}(?:therefore|thus|then|hence|however|clearly|choice|final|finale|correcta|correcte|corretta|correta"
    rf"|giusta"
    r"|exacte|esatta|certa|النهائية|đúng|الصحيحة|الصحيح|صحیح|הנכונה|yang benar|yang tepat|yang paling tepat"
    r"|chính xác|juste|נכונה|نهایی|corect),?|ที่ถูกต้อง|ที่ถูก"
)
_MODAL = (
    rf"{SPACE}(?:would|should|must|will|has to|have to|has got to|appears to|seems to|turns out to|can only)"
    rf"(?:{SPACE}(?:therefore|thus|then))?"
)
# "Answer (A, B, C, or D): B" repeats what it was asked for.
_CHOICES = r"(?: [(\[](?:[^()\[\]\n]{1,40})[)\]](?=:))"
_LINK = re.compile(
    rf"s?\)?\"?(?:[ _](?:choice|option|letter|key|chosen|selected))?\"?(?:\.(?=:))?{_CHOICES}?"
    rf"(?:{_CLAUSE})??(?:{_ADVERB})?"
    rf"(?:(?<=[a-z])n't|{SPACE}{{0,3}}(?P<before>{any_of(lexicon.NEGATIONS_BEFORE)}))?(?:{_MODAL})?"
    rf"(?:{SPACE}{{0,3}}{any_of(lexicon.LINKS)}|\.?{SPACE}(?=\([a-z]\))|(?<=odpowiedź){SPACE}to(?=\s)"
    rf"|(?<=vastaus){SPACE}on(?=\s)|(?<=vastaukseni){SPACE}on(?=\s)"
    rf"|(?<=válasz){SPACE}a(?=\s))"
    rf"(?P<after>n't|{SPACE}{{0,3}}{any_of(lexicon.NEGATIONS_AFTER)})?"
)
_THE = re.compile(rf"(?:.*[.:;!?]{SPACE}|[#>*\s]*)(?:(?:so|thus|hence|therefore),?{SPACE})?(?:the|my){SPACE}")
_IS = re.compile(rf"{SPACE}(?:is|would be|must be|should be){SPACE}\**\(?")
_HEADING_LINK = re.compile(rf"s?{SPACE}*\n")
_HEADING_LEADS = ("", *lexicon.QUALITIES, "the final", "the correct")
_NO_LINK = re.compile(rf"(?: choice| option| صحیح| درست گزینه)?[.)]?{SPACE}\(?(?=[a-z])")
_LABELLED_END = re.compile(rf"{SENTENCE_END.pattern}|{SPACE}?{any_of(lexicon.COPULAS)}")
_QUALITY_BEHIND = re.compile(rf"{SPACE}(?:correcta|correcte|corretta|correta|giusta)(?![a-z])")
_OF_ANOTHER_QUESTION = re.compile(r"(?<![a-z])(?:previous|last|other|another|different|next|first)(?![a-z])")
_COLON = re.compile(rf"{SPACE}?:")
_CANNOT_BE = re.compile(rf"{SPACE}(?:cannot|can't|can not|could not|couldn't|wouldn't|shouldn't) be{SPACE}")
_CONTRASTED = re.compile(r"(?:\A|[.!?\n:;]\s{0,2}|(?<![a-z])(?:is|be|it's) )\(?([a-z])\)?\Z")
_EXAMPLE = re.compile(r"(?:in the form(?:at)?|for example|e\.g\.)[^.\n]{0,30}\Z")
_BOX_OF_ANOTHER_CASE = re.compile(
    rf"{SPACE}?,?{SPACE}(?:would|might|could|may)(?![a-z])"
)  # "\\boxed{D} would be right if"
_OTHER_BOX = re.compile(r"boxed ?\{([a-z])\}\s?(?:,|and|or|,? and|&|/)\s?\\?\Z")
_VERB = re.compile(rf"(?<![a-z])(?:is|are|be)(?P<not>{SPACE}not|n't)?(?![a-z])|[.:?!\n]")
_VERB_REACH = 84
_VERB_ENDING = re.compile(r"(?:ed|ing|s)?(?![a-z])|(?<![a-z])")
_OWN_MODAL = re.compile(r"(?:would |will )?")  # of a cue like "would answer"
_HEDGES = (" could ", " might ", " may ")
_LEAD_LINK = re.compile(
    rf"[,:]?{SPACE}*(?:(?:it|that|this|the answer)(?:'s| is| should be| must be| would be| has to be))?{SPACE}*"
    rf"(?:clearly |obviously |definitely |certainly |probably )?"
    rf"(?:with |us with |option |alternativa |opción |opção |letra |antwort |réponse |la réponse |only |that "
    rf"|go with |是|项)?[\"'(\[]{{0,2}}"
)

_INFERRING = ("hence", "thus", "therefore")
_OWN_VERB = re.compile(SPACE + any_of(lexicon.VERBS_OF_A_SUBJECT))

_Span = tuple[int, int]


def cue_decisions(page: Page) -> Iterator[Decision]:
    """Returns the decisions that the cues of a text state, the last first."""
    for cue in islice(_cues_from_the_end(page.low), MAX_CUES):
        reader = _READERS[page.low[slice(*cue)]]
        decision = reader(page, cue)
        if decision and reader in _READERS_OF_PROSE:
            decision = _in_its_statement(page, cue[0], decision)
        if decision:
            yield decision


def _in_its_statement(page: Page, start: int, decision: Decision) -> Decision | None:
    """Returns the decision as its statement means it: under a condition, for two cases, or not at all."""
    if decision.reason is Reason.RETRACTED:
        return decision
    if not decision.is_explicit:
        return None if is_counterfactual(page, start, decision.end or start) else decision
    statement = statement_of(page, start, decision.end or len(page.low))
    if statement is Statement.NO_DECISION:
        return None
    if statement is Statement.TWO_CASES:
        return Decision(None, Reason.SEVERAL_LETTERS)
    return replace(decision, is_qualified=True) if statement is Statement.OTHER_CASE else decision


def _after_noun(page: Page, cue: _Span) -> Decision | None:
    """Reads "The answer is B", "Correct option: B", "Answer B", or the other way round, "B is the answer"."""
    start, end = cue
    line = line_before(page, start)
    cannot = _CANNOT_BE.match(page.low, end)
    if cannot:
        return read_denied_slot(page, cannot.end())
    has_quality = is_label(line) or bool(_QUALITY_BEHIND.match(page.low, end)) or _is_whole_sentence(page, cue)
    is_one_of_many = page.low[start:end] in lexicon.NOUNS_OF_ANY_OPTION and not has_quality
    link = None if is_one_of_many else _LINK.match(page.low, end)
    if link is None and line.strip(" #>") in _HEADING_LEADS:
        heading = _HEADING_LINK.match(page.low, end)
        if heading:
            return read_slot(page, heading.end(), Reason.ANSWER_PHRASE)
    if link is None:
        return _before_praise(page, cue) or _right_after_label(page, cue)
    if link["before"] or link["after"]:
        decision: Decision | None = _text_of_denial(page, link) or read_denied_slot(page, link.end())
        if decision and page.low[start:end] in lexicon.NOUNS_OF_ANY_OPTION and decision.reason is Reason.NO_ANSWER:
            return None  # "it is the only one that is not a feature"
    else:
        decision = read_slot(page, link.end(), Reason.ANSWER_PHRASE)
    if decision is None or decides_nothing(line):
        return None
    if is_about_the_least(line):  # what some questions ask for, and a side remark in the others
        return replace(decision, is_explicit=False)
    return (
        replace(decision, is_qualified=True)
        if _OF_ANOTHER_QUESTION.search(link[0]) or (" would " in link[0] and is_elsewhere(link[0]))
        else decision
    )


def _text_of_denial(page: Page, link: re.Match[str]) -> Decision | None:
    """Reads "The answer is not possible to say" where that is what an option says."""
    start = link.end() - len((link["after"] or "").lstrip())
    return read_slot(page, start, Reason.ANSWER_PHRASE) if link["after"] and text_at(page, start) else None


def _is_whole_sentence(page: Page, cue: _Span) -> bool:
    """Returns whether no more is said than "The choice is B."."""
    verb = _IS.match(page.low, cue[1])
    if verb is None or not _THE.fullmatch(line_before(page, cue[0])):
        return False
    mention = mention_at(page, verb.end())
    return mention is not None and bool(SENTENCE_END.match(page.low, mention.end))


def _right_after_label(page: Page, cue: _Span) -> Decision | None:
    """Reads "Answer C" and "Correct option (C) Heparin", which have no verb."""
    gap = _NO_LINK.match(page.low, cue[1])
    line = line_before(page, cue[0])
    is_one_of_many = page.low[cue[0] : cue[1]] in lexicon.NOUNS_OF_ANY_OPTION
    is_labelling = is_label(line) or (not is_one_of_many and line.rstrip().endswith("."))
    if gap is None or not page.raw[gap.end()].isupper() or not is_labelling or decides_nothing(line):
        return None
    if is_one_of_many and not line.strip(" #>*-"):
        return None  # "Option C" heads a discussion of C
    mention = mention_at(page, gap.end())
    if mention is None or mention.letter is None or not _LABELLED_END.match(page.low, mention.end):
        return None
    return read_slot(page, gap.end(), Reason.ANSWER_PHRASE)


def _before_praise(page: Page, cue: _Span) -> Decision | None:
    """Reads "B is the correct answer", explicit; "option B is correct", a verdict."""
    start, end = cue
    if "a" <= page.low[end : end + 1] <= "z" or page.low.startswith("?", end):
        return None
    if page.low.startswith("one of", start):
        return None  # "B is one of the drugs that ..."
    is_explicit = page.low.startswith(("answer", "option", "choice"), start)
    subject = subject_before(page, start, needs_link=not is_explicit)
    if page.low[start:end] in lexicon.VERBS_OF_PRAISE and SENTENCE_END.match(page.low, end):
        subject = subject or subject_at_end(page, start)
    if subject is None:
        return None
    if subject.is_denied:
        return Decision(subject.letter, Reason.RETRACTED) if is_explicit else None
    if subject.problem:
        return Decision(None, subject.problem, is_explicit)
    is_explicit = is_explicit and not subject.is_pronoun
    return Decision(subject.letter, Reason.ANSWER_PHRASE if is_explicit else Reason.VERDICT, is_explicit, end=end)


def _around_praise(page: Page, cue: _Span) -> Decision | None:
    """Reads "Correct: B", or what is praised before the cue."""
    colon = _COLON.match(page.low, cue[1])
    if colon and not line_before(page, cue[0]).strip(" #>*-"):
        return read_slot(page, colon.end(), Reason.ANSWER_PHRASE)
    return _before_praise(page, cue)


def _after_choosing(page: Page, cue: _Span) -> Decision | None:
    ending = _VERB_ENDING.match(page.low, cue[1])
    modal = _OWN_MODAL.match(page.low, cue[0])
    line = line_before(page, modal.end() if modal else cue[0])
    if ending is None or is_chosen_by_others(line):
        return None
    decision = read_slot(page, ending.end(), Reason.ANSWER_PHRASE)
    return replace(decision, is_qualified=True) if decision and has_other_subject(line) else decision


def _after_superlative(page: Page, cue: _Span) -> Decision | None:
    start, end = cue
    colon = _COLON.match(page.low, end)
    if colon and decides_nothing(line_before(page, start)):
        return None  # "Second best: B"
    if colon:
        return read_slot(page, colon.end(), Reason.VERDICT, is_explicit=False)
    verb = _VERB.search(page.low, end, end + _VERB_REACH)
    if not verb or not verb[0][0].isalpha():
        return _before_praise(page, cue)
    if verb["not"] or decides_nothing(line_before(page, start)) or page.low.endswith(_HEDGES, end, verb.start()):
        return None
    return read_slot(page, verb.end(), Reason.VERDICT, is_explicit=False)


def _after_lead(page: Page, cue: _Span) -> Decision | None:
    """Reads "So, B." and "leaving B"."""
    link = _LEAD_LINK.match(page.low, cue[1])
    is_inferred = page.low[slice(*cue)] in _INFERRING
    mention = _mention_of_conclusion(page, link.end() if link else cue[1], is_inferred=is_inferred)
    if mention is None or decides_nothing(line_before(page, cue[0])):  # "maybe it's C"
        return None
    if not page.low[cue[0]].isalnum():  # an arrow
        return Decision(mention.letter, Reason.VERDICT, is_explicit=False, end=mention.end)
    return Decision(mention.letter, Reason.ANSWER_PHRASE, end=mention.end)


def _mention_of_conclusion(page: Page, position: int, *, is_inferred: bool) -> Mention | None:
    """Returns the one option named here that has no verb of its own: not "B" in "so B is less likely".

    Only what is inferred ("hence no.") may be a small word, which has other uses elsewhere ("so no treatment").
    """
    is_small = not page.raw[position : position + 1].isupper()
    if position <= page.walk_end or (is_small and is_letter_at(page.low, position)):
        return None
    mention = mention_at(page, position)
    if is_small and mention and page.low[position : mention.end] in SMALL_TEXTS and not is_inferred:
        return None
    if mention is None or mention.letter is None or is_joined(page, mention) or is_asked(page, mention):
        return None
    if JOINED_TEXT.match(page.low, mention.end) or _OWN_VERB.match(page.low, mention.end):
        return None  # "thus A and C can be excluded"
    if not SENTENCE_END.match(page.low, mention.end) and not is_letter_at(page.low, position):
        return None
    return mention


def _before_contrast(page: Page, cue: _Span) -> Decision | None:
    """Reads "B, not A." as a sentence of its own."""
    named = _CONTRASTED.search(page.low, max(0, cue[0] - 8), cue[0])
    other = mention_at(page, cue[1] + 1)
    letter = named[1].upper() if named else ""
    if other is None or other.letter in (None, letter) or letter not in list(page.options.letters):
        return None
    return Decision(letter, Reason.ANSWER_PHRASE, end=other.end)


def _in_box(page: Page, cue: _Span) -> Decision | None:
    line = line_before(page, cue[0])
    if _EXAMPLE.search(line) or _BOX_OF_ANOTHER_CASE.match(page.low, page.low.find("}", cue[1]) + 1):
        return None
    decision = read_field(page, cue[1], Reason.BOXED)
    other = _OTHER_BOX.search(line)
    if decision and decision.letter and other and other[1].upper() != decision.letter:
        return Decision(None, Reason.SEVERAL_LETTERS)  # "\\boxed{A} and \\boxed{C}"
    return decision


def _in_tag(page: Page, cue: _Span) -> Decision | None:
    return read_field(page, cue[1], Reason.TAG)


def _in_tag_of_prose(page: Page, cue: _Span) -> Decision | None:
    return read_slot(page, cue[1], Reason.TAG)


_READERS: dict[str, Callable[[Page, _Span], Decision | None]] = {
    **dict.fromkeys((*lexicon.NOUNS, *lexicon.NOUNS_OF_ANY_OPTION), _after_noun),
    **dict.fromkeys((*lexicon.PRAISE, *lexicon.VERBS_OF_PRAISE), _around_praise),
    **dict.fromkeys(lexicon.CHOOSING, _after_choosing),
    **dict.fromkeys(lexicon.SUPERLATIVES, _after_superlative),
    **dict.fromkeys(lexicon.CONCLUDING, _after_lead),
    ", not": _before_contrast,
    **dict.fromkeys(lexicon.BOXES, _in_box),
    **dict.fromkeys(lexicon.TAGS, _in_tag),
    **dict.fromkeys(lexicon.TAGS_OF_PROSE, _in_tag_of_prose),
}


_READERS_OF_PROSE = {_before_contrast, _after_noun, _around_praise, _after_choosing, _after_lead}


_WORDS = [cue for cue in _READERS if cue[0].isascii() and cue[0].isalpha()]
_SIGNS = [cue for cue in _READERS if cue not in _WORDS]
_FIRST_SIGNS = "".join({re.escape(sign[0]) for sign in _SIGNS})
_CUE = re.compile(rf"(?<![a-z0-9])(?=[a-z]){longest_of(_WORDS)}|(?=[{_FIRST_SIGNS}]){longest_of(_SIGNS)}")
_LONGEST_CUE = max(map(len, _READERS))


def _cues_from_the_end(low: str) -> Iterator[_Span]:
    for start in range((len(low) - 1) // _WINDOW * _WINDOW, -1, -_WINDOW):
        window_end = start + _WINDOW
        spans = [match.span() for match in _CUE.finditer(low, start, window_end + _LONGEST_CUE)]
        yield from (span for span in reversed(spans) if span[0] < window_end)
