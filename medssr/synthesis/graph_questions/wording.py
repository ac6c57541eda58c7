"""Turns the names of a knowledge graph into the sentences of a clinical vignette."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import yaml

from medssr.resources import RESOURCES

_PRONOUNS = {"male": ("He", "His", "has"), "female": ("She", "Her", "has"), None: ("They", "Their", "have")}
_COMMA = re.compile(r"([^,]+), (\w+)")
_ARTICLE = re.compile(r"^an? ")
# A word that begins with one capital and goes on in small letters.
_CAPITALISED = re.compile(r"[A-Z][a-z]+(?![\w-]*[A-Z0-9])")


@dataclass(frozen=True, slots=True)
class Wordings:
    """The sentences and patterns of `resources/graph_wordings.yaml`; see there.

    Attributes:
        sentences: Templates by their purpose.
        patterns: Regular expressions on names in small letters, by what they say of a finding.
        first_years: Pairs of years and pattern.
        told_as: How a finding is told, by its name in small letters.
        after_comma: Adjectives that stand behind a comma in names.
        proper_names: Words that keep their capital.
        specialties: Specialty by the id of a branch of the ontology.
    """

    sentences: dict[str, list[str]]
    patterns: dict[str, re.Pattern[str]]
    first_years: tuple[tuple[float, re.Pattern[str]], ...]
    told_as: dict[str, str]
    after_comma: frozenset[str]
    proper_names: frozenset[str]
    specialties: dict[str, str]


@cache
def wordings() -> Wordings:
    """Returns the wordings that ship with the package."""
    table: dict[str, Any] = yaml.safe_load((RESOURCES / "graph_wordings.yaml").read_text(encoding="utf-8"))
    return Wordings(
        sentences=table["sentences"],
        # Folded lines of YAML are joined with a space.
        patterns={name: re.compile(text.replace(" |", "|").strip()) for name, text in table["patterns"].items()},
        first_years=tuple((float(row["years"]), re.compile(row["pattern"])) for row in table["first_years"]),
        told_as=table["told_as"],
        after_comma=frozenset(table["after_comma"]),
        proper_names=frozenset(table["proper_names"].split()),
        specialties=table["specialties"],
    )


@lru_cache(maxsize=2**15)
def told(name: str) -> str | None:
    """Returns how a finding is told within a sentence; None where it cannot be told.

    Example:
        >>> told("Seizure"), told("Intellectual disability, severe"), told("EEG abnormality"), told("Babinski sign")
        ('seizures', 'severe intellectual disability', None, None)
        >>> told("Raynaud phenomenon"), told("Abnormality of the eye")
        ('Raynaud phenomenon', None)
    """
    words = wordings()
    low = name.lower()
    if low in words.told_as:
        return words.told_as[low]
    if words.patterns["untold"].search(low):
        return None
    if (match := _COMMA.fullmatch(name)) and match[2].lower() in words.after_comma:
        return f"{match[2].lower()} {_in_sentence(match[1])}"
    # "numb, tingling fingers" is a name as it stands; "Hearing loss, conductive" is none.
    return _in_sentence(name) if "," not in name or name[0].islower() else None


def _in_sentence(name: str) -> str:
    """Returns a name with a small first letter, except where its first word is a proper name or an abbreviation."""
    word = _CAPITALISED.match(name)
    if word is None or word[0] in wordings().proper_names:
        return name
    return name[0].lower() + name[1:]


@lru_cache(maxsize=2**15)
def can_be_denied(name: str) -> bool:
    """Returns whether "there is no ..." is a sentence with the finding.

    Example:
        >>> can_be_denied("Ataxia"), can_be_denied("Absent speech"), can_be_denied("Elevated serum lactate")
        (True, False, False)
    """
    text = told(name)
    return text is not None and "," not in text and not wordings().patterns["not_denied"].search(text.lower())


@lru_cache(maxsize=2**15)
def sex_of(name: str) -> str | None:
    """Returns the sex of the patients who can have a finding, None where both can.

    Example:
        >>> sex_of("Cryptorchidism"), sex_of("Secondary amenorrhea"), sex_of("Ataxia")
        ('male', 'female', None)
    """
    patterns = wordings().patterns
    return next((sex for sex in ("male", "female") if patterns[sex].search(name.lower())), None)


@lru_cache(maxsize=2**15)
def first_years(name: str) -> float:
    """Returns the years of age from which a finding can be told of a patient.

    Example:
        >>> first_years("Gait ataxia"), first_years("Cleft palate")
        (3.0, 0.0)
    """
    return next((years for years, pattern in wordings().first_years if pattern.search(name.lower())), 0.0)


def can_be_of_one_gene(name: str) -> bool:
    """Returns whether a disease can be due to one gene, and not to a piece of a chromosome.

    Example:
        >>> can_be_of_one_gene("Fabry disease"), can_be_of_one_gene("21q22.11q22.12 microdeletion syndrome")
        (True, False)
    """
    return not wordings().patterns["of_several_genes"].search(name.lower())


def joined(items: Sequence[str], conjunction: str = "and") -> str:
    """Returns a list in words.

    Example:
        >>> joined(["ataxia", "ptosis", "tremor"]), joined(["ataxia", "tremor"], "or")
        ('ataxia, ptosis, and tremor', 'ataxia or tremor')
    """
    if len(items) < 3:
        return f" {conjunction} ".join(items)
    return f"{', '.join(items[:-1])}, {conjunction} {items[-1]}"


def patient_in_words(years: float | None, sex: str | None) -> str:
    """Returns a patient with age and sex.

    Example:
        >>> patient_in_words(0.04, "male"), patient_in_words(1.5, "female"), patient_in_words(8.3, None)
        ('a 2-week-old boy', 'an 18-month-old girl', 'an 8-year-old child')
        >>> patient_in_words(34, "female"), patient_in_words(None, "male"), patient_in_words(None, None)
        ('a 34-year-old woman', 'a male patient', 'a patient')
    """
    if years is None:
        return "a patient" if sex is None else f"a {sex} patient"
    if years < 18:
        noun = {"male": "boy", "female": "girl", None: "child"}[sex]
    else:
        noun = {"male": "man", "female": "woman", None: "patient"}[sex]
    if years < 1 / 12:
        count, unit = max(1, round(years * 52)), "week"
    elif years < 2:
        count, unit = max(1, int(years * 12)), "month"
    else:
        count, unit = int(years), "year"
    article = "an" if count in (8, 11, 18) or 80 <= count < 90 else "a"
    return f"{article} {count}-{unit}-old {noun}"


@dataclass(frozen=True, slots=True)
class Told:
    """What a vignette tells of a patient, in words.

    Attributes:
        years: Age; None where it is not told.
        sex: "female", "male" or None.
        present: Findings that the patient has.
        absent: Findings that the patient does not have.
        when: The age of onset as the end of a sentence; None where it is not told.
        pattern: The pattern of inheritance; None where it is not told.
    """

    years: float | None
    sex: str | None
    present: tuple[str, ...]
    absent: tuple[str, ...]
    when: str | None
    pattern: str | None


def vignette(patient: Told, question: str, rng: random.Random) -> str:
    """Returns the vignette of a patient and the question: one of the sentences with the purpose `question`."""
    patterns = wordings().patterns
    laboratory = [name for name in patient.present if patterns["laboratory"].search(name.lower())]
    is_early = patient.years is not None and patient.years >= 2
    history = [
        name for name in patient.present if is_early and name not in laboratory and patterns["early_life"].search(name)
    ]
    findings = [name for name in patient.present if name not in (*laboratory, *history)]
    if not findings:
        findings, laboratory, history = list(patient.present), [], []
    num_first = len(findings) if len(findings) < 4 else (len(findings) + 1) // 2
    who = patient_in_words(patient.years, patient.sex)
    they, their, have = _PRONOUNS[patient.sex]
    slots = {
        "Patient": who[0].upper() + who[1:],
        "They": they,
        "Their": their,
        "have": have,
        "findings": joined(findings[:num_first]),
        "rest": joined(findings[num_first:]),
        "laboratory": joined(laboratory),
        "history": joined(history),
        "absent": joined([_ARTICLE.sub("", name) for name in patient.absent], "or"),
        "when": patient.when,
        "pattern": patient.pattern,
    }
    middle = [name for name in ("onset", "rest", "laboratory", "history", "absent") if slots[_SLOT_OF.get(name, name)]]
    purposes = ["opening", *middle, *(["inheritance"] if patient.pattern else []), question]
    return " ".join(rng.choice(wordings().sentences[purpose]).format(**slots) for purpose in purposes)


# The slot of a sentence whose name is not that of its purpose.
_SLOT_OF = {"onset": "when"}
