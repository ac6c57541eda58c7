"""Derives the facts to ask about a disease of Orphanet, where its entry and its relatives leave one right answer."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from medssr.knowledge.facts import Fact
from medssr.knowledge.names import all_keys, normalize_name

PATTERN_OF_INHERITANCE = {
    "Autosomal recessive": "autosomal recessive",
    "Autosomal dominant": "autosomal dominant",
    "X-linked recessive": "X-linked",
    "X-linked dominant": "X-linked",
    "Mitochondrial inheritance": "mitochondrial",
}
_AGE_OF_ONSET = {
    "Antenatal": "before birth",
    "Neonatal": "in the first four weeks of life",
    "Infancy": "in infancy, after the first four weeks of life",
    "Childhood": "in childhood",
    "Adolescent": "in adolescence",
    "Adult": "in adulthood",
    "Elderly": "in old age",
}
_CAUSE = "Disease-causing"
# With these, a gene is one of many causes, whatever its part is called.
_SEVERAL_CAUSES = frozenset({"Multigenic/multifactorial", "Oligogenic"})
# A name with one of these words tells the age.
_WORD_OF_AGE = re.compile(
    r"\b(?:adolescent|adult|antenatal|birth|childhood|congenital|early|elderly|fetal|infan\w+|juvenile|late|neonatal"
    r"|newborn|onset|perinatal|senile)\b"
)
_LENGTH_OF_STEM = 5  # Letters by which words are alike: "galactosidase" and "galactosidosis".
_WRITTEN_OUT = re.compile(r"\b\w[^\W\d_A-Z]{3,}\b")
# Words that do not say which disease a name means.
_GENERIC_WORD = re.compile(
    r"an?|and|by|congenital|deficiency|disease|disorder|due|familial|hereditary|in|of|or|related|syndrome|the|to|type"
    r"|with"
)


def orphanet_facts(record: Mapping[str, Any], number: int, relatives: Relatives) -> Iterator[Fact]:
    """Yields what the entry says without ambiguity and its name does not give away.

    - gene: exactly one gene with a disease-causing mutation; other genes of the disease and of its relatives are no
      distractors. A disease that Orphanet calls multifactorial or oligogenic has no gene to ask for;
    - disease_of_gene: each gene with a disease-causing mutation, the disease being the answer; other diseases in which
      that gene has a part, and their relatives, are no distractors;
    - inheritance: the entry names one of autosomal recessive, autosomal dominant, X-linked or mitochondrial, no other;
    - onset: exactly one age;
    - other_name: each other name that shares no word with the disease's name; no name of a relative is a distractor.

    The entries name genes, not proteins ("family with sequence similarity 83 member H"), so no protein is derived. Nor
    is the class of prevalence asked for: four of five diseases are in the rarest.

    Args:
        record: An Orphanet entry.
        number: Its index in the file.
        relatives: Of the file's entries.
    """
    name, source = record["label"], f"ORPHA:{record['orphacode']}"
    causes = causal_genes(record)
    if len(causes) == 1 and not tells(name, causes[0]):
        yield Fact("gene", causes[0], source, also_true=_others(relatives.genes(number), causes[0]))
    patterns = {PATTERN_OF_INHERITANCE.get(pattern) for pattern in record["inheritance"]}
    if len(patterns) == 1 and (pattern := patterns.pop()) is not None and not tells(name, pattern):
        yield Fact("inheritance", pattern, source)
    age = _AGE_OF_ONSET.get(record["onset"][0]) if len(record["onset"]) == 1 else None
    if age is not None and not _WORD_OF_AGE.search(normalize_name(name)):
        yield Fact("onset", age, source)
    for gene in causes:
        if not tells(name, gene):
            others = _others(relatives.names_with_gene(gene), name)
            yield Fact("disease_of_gene", name, source, also_true=others, subject=gene)
    for synonym in record["synonyms"]:
        if _is_unlike(synonym, name):
            yield Fact("other_name", synonym, source, also_true=_others(relatives.names(number), synonym))


def causal_genes(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the genes with a disease-causing mutation; none where it is multifactorial or oligogenic."""
    if not _SEVERAL_CAUSES.isdisjoint(record["inheritance"]):
        return ()
    return tuple(sorted({gene["symbol"] for gene in record["genes"] if gene["association"].startswith(_CAUSE)}))


def tells(name: str, value: str) -> bool:
    """Returns whether the name of a disease holds every word of the value, so that it gives an answer away.

    Example:
        >>> tells("CDKL5 deficiency disorder", "CDKL5"), tells("X-linked ichthyosis", "X-linked")
        (True, True)
        >>> tells("Aceruloplasminemia", "ceruloplasmin"), tells("Fabry disease", "alpha-galactosidase A")
        (True, False)
    """
    name = normalize_name(name)
    words = set(normalize_name(value).split()) - {"protein"}
    return all(word in name if len(word) > _LENGTH_OF_STEM else word in name.split() for word in words)


def _is_unlike(synonym: str, name: str) -> bool:
    """Returns whether the synonym is no abbreviation, and none of its words begins like a word of the name."""
    is_written_out = any(_telling_words(word) for word in _WRITTEN_OUT.findall(synonym))
    beginnings, others = ({word[:_LENGTH_OF_STEM] for word in _telling_words(text)} for text in (synonym, name))
    return is_written_out and not beginnings & others


def _telling_words(name: str) -> list[str]:
    return [word for word in normalize_name(name).split() if not _GENERIC_WORD.fullmatch(word)]


def _others(values: frozenset[str], value: str) -> tuple[str, ...]:
    return tuple(sorted(values - {value}))


# --- Which entries are kinds of one disease, so that what is true of one is no wrong answer for another ---------------

# What tells the kinds of a disease apart: "autosomal dominant X", "X type 2A", "X 3", "X due to Y deficiency".
_BEFORE = re.compile(
    r"^(?:(?:autosomal (?:dominant|recessive)|x linked(?: dominant| recessive)?|familial|hereditary|congenital|isolated"
    r"|adult|infantile|juvenile|neonatal|childhood|early onset|late onset|onset|classic|non syndromic|severe|mild) )+"
)
_BEHIND = re.compile(
    r"(?: (?:type|subtype|form|variant|(?:complementation )?group|due to|caused by|with|without|related to) .*"
    r"| \d+[a-z]?\d*| [a-z])+$"
)
_LARGEST_FAMILY = 100  # Entries; a name that more of them have in common is a word like "syndrome".
_SHORTEST_NAME = 8  # Characters; a shorter one, such as an abbreviation, is in too many names by chance.


class Relatives:
    """The relatives of each of some entries.

    Two entries are related when they have a name in common, when their labels are kinds of one name ("Usher syndrome
    type 1", "Usher syndrome type 2"), or when the label of one holds a name of the other ("X-linked Alport syndrome",
    "Alport syndrome"). Every entry is a relative of itself.

    Args:
        records: Orphanet entries: objects with `label`, `synonyms` and `genes`.
    """

    def __init__(self, records: Sequence[Mapping[str, Any]]) -> None:
        self._records = records
        self._by_gene: defaultdict[str, set[int]] = defaultdict(set)
        by_name: defaultdict[str, set[int]] = defaultdict(set)
        by_family: defaultdict[str, set[int]] = defaultdict(set)
        for number, record in enumerate(records):
            for key in all_keys((record["label"], *record["synonyms"])):
                by_name[key].add(number)
            by_family[family_of(normalize_name(record["label"]))].add(number)
            for gene in record["genes"]:
                self._by_gene[gene["symbol"]].add(number)
        self._of: defaultdict[int, set[int]] = defaultdict(set)
        for number, record in enumerate(records):
            label = normalize_name(record["label"])
            keys = {*all_keys((record["label"], *record["synonyms"])), *_parts(label)}
            related = {other for key in keys for other in by_name.get(key, ())}
            family = by_family[family_of(label)]
            for other in related | family if len(family) <= _LARGEST_FAMILY else related:
                self._of[number].add(other)
                self._of[other].add(number)

    def genes(self, number: int) -> frozenset[str]:
        """Returns the genes of an entry and of its relatives, whatever their part."""
        return frozenset(gene["symbol"] for other in self._of[number] for gene in self._records[other]["genes"])

    def names(self, number: int) -> frozenset[str]:
        """Returns the names of an entry and of its relatives."""
        records = [self._records[other] for other in self._of[number]]
        return frozenset(name for record in records for name in (record["label"], *record["synonyms"]))

    def names_with_gene(self, symbol: str) -> frozenset[str]:
        """Returns the labels of the entries in which a gene has a part, and of their relatives."""
        return frozenset(
            self._records[other]["label"] for number in self._by_gene[symbol] for other in self._of[number]
        )


def _parts(name: str) -> set[str]:
    """Returns every run of words of a name that is long enough to be a name itself."""
    words = name.split()
    runs = (" ".join(words[start:end]) for start in range(len(words)) for end in range(start + 1, len(words) + 1))
    return {run for run in runs if len(run) >= _SHORTEST_NAME}


def family_of(name: str) -> str:
    """Returns the part of a normalised name that all kinds of the disease share.

    Example:
        >>> family_of("autosomal dominant charcot marie tooth disease type 2i"), family_of("usher syndrome 2")
        ('charcot marie tooth disease', 'usher syndrome')
    """
    rest = _BEHIND.sub("", _BEFORE.sub("", name))
    return rest if len(rest) >= _SHORTEST_NAME else name
