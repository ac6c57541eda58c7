"""Other names for an option's text: "lumbar puncture" for "Perform a lumbar puncture", "S. aureus", "Crohn disease"."""

import re
from collections.abc import Iterator

_SHORTEST = 5  # characters of an alias; shorter ones stand in too many other words
_LEADING_VERB = re.compile(
    r"(?:order|obtain|perform|start|administer|give|begin|initiate|prescribe|recommend|schedule|request|refer for"
    r"|conduct"
    r"|proceed with|use|do|provide|offer|insert|check)\s(?:(?:an?|the)\s)?(?=[a-z])"
)
_ARTICLE = re.compile(r"(?:the|an?|la|le|les|une?|der|die|das|el|il|lo|los|las|gli|os?|as) (?=[a-zà-ÿ]{4})|l'")
_PARENTHESIS = re.compile(r"\s?\([^()]{1,60}\)\Z")
_SPECIES = re.compile(r"([a-z])[a-z]{3,}(?:us|um|a|is|es|er|as|ma|ia|on) ([a-z]{3,}(?:i|ae|us|is|um|a|e|ns|yi|or))\Z")
_SAME = tuple(  # two ways to write the same, of which the second one is rarer within other words
    (re.compile(rf"(?<![a-z]){first}(?![a-z])"), second, re.compile(rf"(?<![a-z]){second}(?![a-z])"), first)
    for first, second in (
        ("intravenous", "iv"),
        ("intramuscular", "im"),
        ("subcutaneous", "sc"),
        ("computed tomography", "ct"),
        ("magnetic resonance imaging", "mri"),
        ("electrocardiogram", "ecg"),
        ("streptococcus", "strep"),
        ("tuberculosis", "tb"),
    )
)
_SPELLINGS = (
    ("oedema", "edema"),
    ("haem", "hem"),
    ("aemi", "emi"),
    ("oesoph", "esoph"),
    ("our", "or"),
    ("rhoea", "rhea"),
)
_AMOUNT = re.compile(r"([0-9]+(?:[.,][0-9]+)?)( ?)(%|[a-zµ/]{1,8})")
_OWNER = re.compile(r"(?<=[a-z])'s?(?= )")


def aliases_of(text: str) -> Iterator[str]:
    """Yields other names for the text of an option, which is in lower case and normal form.

    Example:
        >>> sorted(set(aliases_of("administer intravenous alteplase")))
        ['administer iv alteplase', 'intravenous alteplase', 'iv alteplase']
    """
    for name in _shorter(text):
        for alias in (name, *_rewritten(name)):
            if (len(alias) >= _SHORTEST or alias[0].isdigit()) and alias != text:
                yield alias


def _shorter(text: str) -> Iterator[str]:
    yield text
    article = _ARTICLE.match(text)
    if article:
        yield text[article.end() :]
    core = _PARENTHESIS.sub("", text)
    if core != text:
        yield core
    verb = _LEADING_VERB.match(core)
    if verb:
        yield core[verb.end() :]
    species = _SPECIES.fullmatch(core)
    if species:
        yield f"{species[1]}. {species[2]}"


def _rewritten(text: str) -> Iterator[str]:
    for long, short, short_form, first in _SAME:
        if long.search(text):
            yield long.sub(short, text)
        elif short_form.search(text):
            yield short_form.sub(first, text)
    amount = _AMOUNT.fullmatch(text)
    if amount:
        yield f"{amount[1]}{'' if amount[2] else ' '}{amount[3]}"
    for british, american in _SPELLINGS:
        if british in text:
            yield text.replace(british, american)
    if "'" in text:
        yield _OWNER.sub("", text)
