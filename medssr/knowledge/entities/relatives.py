"""Which entries of Orphanet are kinds of one disease, so that what is true of one is no wrong answer for another."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from medssr.knowledge.names import all_keys, normalize_name

# What tells the kinds of a disease apart: "autosomal dominant X", "X type 2A", "X 3", "X due to Y deficiency".
_BEFORE = re.compile(
    r"^(?:(?:autosomal (?:dominant|recessive)|x linked(?: dominant| recessive)?|familial|hereditary|congenital|isolated"
    r"|adult|infantile|juvenile|neonatal|childhood|early onset|late onset|onset|classic|non syndromic|severe|mild) )+"
)
_BEHIND = re.compile(
    r"(?: (?:type|subtype|form|variant|(?:complementation )?group|due to|caused by|with|without|related to) .*"
    r"| \d+[a-z]?\d*| [a-z])+$"
)
_LARGEST_FAMILY = 100  # Entries; what more of them share is a word like "syndrome".
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
            found = {other for key in keys for other in by_name.get(key, ())}
            family = by_family[family_of(label)]
            for other in found | family if len(family) <= _LARGEST_FAMILY else found:
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
