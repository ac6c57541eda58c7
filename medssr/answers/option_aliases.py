"""Other names for an option's text: "lumbar puncture" for "Perform a lumbar puncture", "S. aureus", "Crohn disease"."""

# ruff: noqa: RUF001  letters of other scripts

import re
from collections.abc import Iterator

from medssr.answers.option_vocabulary import fold

_SHORTEST = 5  # characters of an alias; shorter ones stand in too many other words
_LEADING_VERB = re.compile(
    r"(?:order|obtain|perform|start|administer|give|begin|initiate|prescribe|recommend|schedule|request|refer for"
    r"|conduct"
    r"|proceed with|use|do|provide|offer|insert|check)\s(?:(?:an?|the)\s)?(?=[a-z])"
)
_ARTICLE = re.compile(r"(?:the|an?|la|le|les|une?|der|die|das|el|il|lo|los|las|gli|os?|as) (?=[a-zà-ÿ]{4})|l'")
_PARENTHESIS = re.compile(r"\s?\([^()]{1,60}\)\Z")
_SPECIES = re.compile(r"([a-z])[a-z]{3,}(?:us|um|a|is|es|er|as|ma|ia|on) ([a-z]{3,}(?:i|ae|us|is|um|a|e|ns|yi|or))\Z")
_ABBREVIATED_SPECIES = re.compile(r"([a-z])\. ?([a-z]{3,})\Z")
_GENERA = (  # of species that questions abbreviate: "C. difficile"
    "aspergillus", "bacillus", "bacteroides", "bordetella", "borrelia", "brucella", "campylobacter", "candida",
    "chlamydia", "clostridioides", "clostridium", "corynebacterium", "cryptococcus", "entamoeba", "enterobacter",
    "enterococcus", "escherichia", "giardia", "haemophilus", "helicobacter", "histoplasma", "klebsiella", "legionella",
    "leptospira", "listeria", "moraxella", "mycobacterium", "mycoplasma", "neisseria", "pasteurella", "plasmodium",
    "pneumocystis", "proteus", "pseudomonas", "rickettsia", "salmonella", "serratia", "shigella", "staphylococcus",
    "streptococcus", "toxoplasma", "treponema", "trichomonas", "vibrio", "yersinia",
)  # fmt: skip
_IMAGING = re.compile(r"(ct|mri|mra|cta|x-ray|ultrasound|ultrasonography|biopsy)(?: scan)? of the ([a-z]{4,})")
_INFLECTED = {
    "increase": ("increases",),
    "decrease": ("decreases",),
    "no change": ("unchanged", "no changes"),
    "unchanged": ("no change",),
    "reassurance": ("reassure",),
    "observation": ("observe",),
}
_ABOVE, _EACH = ("以上", "上述", "以上选项", "上述选项"), ("都", "均", "皆", "全")
_WHOLES = tuple(  # 以上都是 and 上述均正确 say the same
    frozenset(f"{above}{each}{claim}" for above in _ABOVE for each in _EACH for claim in claims)
    for claims in (("是", "对", "正确"), ("不是", "不对", "不正确", "错", "错误", "非"))
)
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
_EPONYM = re.compile(r"(?<=[a-z]) (?:disease|syndrome|lymphoma|sarcoma|palsy|sign|tumou?r|contracture|thyroiditis)\Z")
_GREEK = {"α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "κ": "kappa", "λ": "lambda", "μ": "mu", "ω": "omega"}
_AMOUNT = re.compile(r"([0-9]+(?:[.,][0-9]+)?)( ?)(%|[a-zµ/]{1,8})")
_OWNER = re.compile(r"(?<=[a-z])'s?(?= )")


def aliases_of(text: str) -> Iterator[str]:
    """Yields other names for the text of an option, which is in lower case and normal form.

    Example:
        >>> sorted(set(aliases_of("administer intravenous alteplase")))
        ['administer iv alteplase', 'intravenous alteplase', 'iv alteplase']
    """
    whole = next((whole for whole in _WHOLES if text in whole), frozenset())
    yield from sorted(whole - {text})
    yield from _INFLECTED.get(text, ())
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
        yield f"{species[1]} {species[2]}"
    imaging = _IMAGING.fullmatch(core)
    if imaging:
        yield f"{imaging[1]} {imaging[2]}"
        yield f"{imaging[2]} {imaging[1]}"
    abbreviated = _ABBREVIATED_SPECIES.fullmatch(core)
    if abbreviated:
        initial, epithet = abbreviated.groups()
        yield f"{initial} {epithet}"
        yield from (f"{genus} {epithet}" for genus in _GENERA if genus.startswith(initial))


def _rewritten(text: str) -> Iterator[str]:
    for long, short, short_form, first in _SAME:
        if long.search(text):
            yield long.sub(short, text)
        elif short_form.search(text):
            yield short_form.sub(first, text)
    amount = _AMOUNT.fullmatch(text)
    if amount and amount[3] == "%":
        yield f"{amount[1]} percent"
        yield f"{amount[1]} per cent"
    if amount:
        yield f"{amount[1]}{'' if amount[2] else ' '}{amount[3]}"
    for british, american in _SPELLINGS:
        if british in text:
            yield text.replace(british, american)
    if "'" in text:
        yield _OWNER.sub("", text)
    elif eponym := _EPONYM.search(text):  # "Wilson's disease"
        yield f"{text[: eponym.start()]}'s{text[eponym.start() :]}"
    if not text.isascii():
        yield fold(text)  # "Guillain-Barre", "Sjogren"
        for letter, name in _GREEK.items():
            if letter in text:
                yield text.replace(letter, name)
