"""The rare diseases of Orphanet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medssr.errors import InputError, shown
from medssr.knowledge.entities.left_out import reason_of_name, report_left_out, valid_synonyms
from medssr.knowledge.entities.orphanet_facts import Relatives, causal_genes, orphanet_facts
from medssr.knowledge.facts import Entity
from medssr.utils.records import Record, open_records

# Orphanet's types that name a disease. Left out: groups and categories (they name many diseases), morphological and
# biological anomalies (a malformation of one organ, a laboratory finding) and particular clinical situations.
DISEASE_TYPES = frozenset(
    {
        "Disease",
        "Malformation syndrome",
        "Clinical syndrome",
        "Clinical subtype",
        "Etiological subtype",
        "Histopathological subtype",
    }
)
# Orphanet's classes of point prevalence, and whether the class is rare by the European definition (5 in 10,000).
PREVALENCE_IS_RARE = {
    "<1 / 1 000 000": True,
    "1-9 / 1 000 000": True,
    "1-9 / 100 000": True,
    "1-5 / 10 000": True,
    "6-9 / 10 000": False,
    ">1 / 1000": False,
}
UNKNOWN_PREVALENCE = frozenset({"Unknown", "Not yet documented", "no data"})
# People in a million: the middle of a class by ratio.
_PREVALENCE = {"<1 / 1 000 000": 0.5, "1-9 / 1 000 000": 3.0, "1-9 / 100 000": 30.0, "1-5 / 10 000": 220.0}
_FIELDS: dict[str, type] = {
    "orphacode": str,
    "label": str,
    "type": str,
    "synonyms": list,
    "point_prevalence": list,
    "genes": list,
    "inheritance": list,
    "onset": list,
}

# Each other name and each gene of a disease is compared with all others.
_MOST_MEMBERS = 500


@dataclass(frozen=True, slots=True)
class OrphanetDisease:
    """A rare disease, and what Orphanet says about it even where that is ambiguous.

    Attributes:
        entity: The disease with its facts.
        genes: Every gene that has a part in it.
        related_genes: Every gene that has a part in it or in a relative; see `Relatives`.
        inheritance: Every pattern of inheritance that Orphanet names, in its words.
        causes: The genes with a disease-causing mutation; none where the disease is multifactorial or oligogenic.
        onset: Every age of onset that Orphanet names, in its words.
    """

    entity: Entity
    genes: frozenset[str]
    related_genes: frozenset[str]
    inheritance: frozenset[str]
    causes: tuple[str, ...] = ()
    onset: tuple[str, ...] = ()


class OrphanetEntities:
    """The rare diseases of an Orphanet file: JSONL, one entry a line.

    An entry is taken when its type is one of `DISEASE_TYPES` and none of its known classes of point prevalence is above
    "1-5 / 10 000": classes differ by country, and a disease that is frequent somewhere is not called rare. Labels that
    say so leave an entry out too ("NON RARE IN EUROPE: ...", "OBSOLETE: ..."). What is asked about a disease is in
    `orphanet_facts`.

    Attributes:
        path: The file.
        require_prevalence: True takes only entries with a known class. False takes the entries without one as well:
            Orphanet lists rare diseases, so they are rare by its judgement, but not by a number.
        weight_by_prevalence: Whether a disease weighs as much as people have it, by the middle of its class: of the
            highest one, where it has several, and of the lowest, where none is known. False: all weigh the same.
        left_out: How many entries were left out the last time that the diseases were read, by reason.
    """

    def __init__(self, path: Path | str, require_prevalence: bool, weight_by_prevalence: bool = False) -> None:
        self.path = Path(path)
        self.require_prevalence = require_prevalence
        self.weight_by_prevalence = weight_by_prevalence
        self.left_out: Mapping[str, int] = {}

    def entities(self) -> list[Entity]:
        """Returns the rare diseases of the file in its order.

        Raises:
            InputError: When the file is absent, a line is broken, a field is missing or of the wrong type, a class of
                prevalence is unknown, or no entry is a rare disease. The message names file, line and field.
        """
        return [disease.entity for disease in self.diseases()]

    def diseases(self) -> list[OrphanetDisease]:
        """Returns the rare diseases of the file in its order, with what is ambiguous. Raises as `entities` does."""
        records = list(open_records(self.path))
        values = [_checked(record) for record in records]
        # Groups too: a gene of a group is no wrong answer for a disease of that group.
        relatives = Relatives(values)
        diseases = []
        left_out: Counter[str] = Counter()
        for number, (record, value) in enumerate(zip(records, values, strict=True)):
            if reason := self._reason(record, value):
                left_out[reason] += 1
                continue
            diseases.append(
                OrphanetDisease(
                    self._entity(value, number, relatives),
                    frozenset(gene["symbol"] for gene in value["genes"]),
                    relatives.genes(number),
                    frozenset(value["inheritance"]),
                    causal_genes(value),
                    tuple(value["onset"]),
                )
            )
        if not diseases and not left_out:
            raise InputError.at(self.path, "holds no rare disease; give Orphanet entries as JSONL.")
        self.left_out = report_left_out(self.path, len(diseases), left_out)
        return diseases

    def _entity(self, record: Mapping[str, Any], number: int, relatives: Relatives) -> Entity:
        return Entity(
            name=record["label"],
            is_rare=True,
            synonyms=valid_synonyms(record["synonyms"]),
            orphacode=record["orphacode"],
            facts=tuple(orphanet_facts(record, number, relatives)),
            weight=_weight(record["point_prevalence"]) if self.weight_by_prevalence else 1.0,
        )

    def _reason(self, record: Record, value: Mapping[str, Any]) -> str | None:
        """Returns why an entry is left out, None where it is a rare disease."""
        if value["type"] not in DISEASE_TYPES:
            return "of another type than a disease"
        if reason := reason_of_name(value["label"]):
            return reason
        classes = [name for name in value["point_prevalence"] if name not in UNKNOWN_PREVALENCE]
        for name in classes:
            if name not in PREVALENCE_IS_RARE:
                expected = ", ".join([*PREVALENCE_IS_RARE, *sorted(UNKNOWN_PREVALENCE)])
                raise record.error(
                    f"the class {shown(name)} is unknown; expected one of {expected}.", "point_prevalence"
                )
        if not all(PREVALENCE_IS_RARE[name] for name in classes):
            return "more prevalent than 5 in 10,000"
        return None if classes or not self.require_prevalence else "without a known prevalence"


def _weight(classes: list[str]) -> float:
    return max([_PREVALENCE[name] for name in classes if name in _PREVALENCE], default=min(_PREVALENCE.values()))


def _checked(record: Record) -> dict[str, Any]:
    """Returns the fields of a record, or raises InputError for the first that is missing or of the wrong type."""
    value = record.value
    for name, kind in _FIELDS.items():
        if name not in value:
            raise record.error("is missing; give Orphanet entries as JSONL.", name)
        if not isinstance(value[name], kind):
            raise record.error(f"expected a {kind.__name__}, found {shown(value[name])}.", name)
    for name in ("synonyms", "point_prevalence", "inheritance", "onset"):
        if not all(isinstance(item, str) for item in value[name]):
            raise record.error(f"expected a list of texts, found {shown(value[name])}.", name)
    for name in ("synonyms", "genes"):
        if len(value[name]) > _MOST_MEMBERS:
            problem = f"holds {len(value[name])} entries; one disease has at most {_MOST_MEMBERS}. Correct the line."
            raise record.error(problem, name)
    for gene in value["genes"]:
        if not isinstance(gene, dict) or not all(isinstance(gene.get(key), str) for key in ("symbol", "association")):
            raise record.error(
                f'expected objects with the texts "symbol" and "association", found {shown(gene)}.', "genes"
            )
    return value
