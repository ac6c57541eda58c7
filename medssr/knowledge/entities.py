"""Entity lists: the diseases that knowledge-injected questions are about, and the order in which they are drawn."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from medssr.errors import InputError
from medssr.knowledge.facts import Entity, Fact, builtin_rare_diseases
from medssr.utils.files import read_jsonl
from medssr.utils.seeding import derive_seed

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
_PATTERN_OF_INHERITANCE = {
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
_ORPHANET_FIELDS: dict[str, type] = {
    "orphacode": str,
    "label": str,
    "type": str,
    "synonyms": list,
    "point_prevalence": list,
    "genes": list,
    "inheritance": list,
    "onset": list,
}


class EntityList(Protocol):
    """A source of diseases."""

    def entities(self) -> list[Entity]:
        """Returns the diseases in the list's order."""
        ...


class BuiltinEntities:
    """The rare diseases that ship with the package, with their facts."""

    def entities(self) -> list[Entity]:
        """Returns the built-in rare diseases."""
        return builtin_rare_diseases()


class OrphanetEntities:
    """The rare diseases of an Orphanet file: JSONL, one entry a line.

    An entry is taken when its type is one of `DISEASE_TYPES` and none of its known classes of point prevalence is above
    "1-5 / 10 000": classes differ by country, and a disease that is frequent somewhere is not called rare. Facts are
    taken only where the entry is unambiguous:

    - gene: exactly one gene with a disease-causing mutation; genes with another part in the disease are no distractors;
    - inheritance: the entry names one of autosomal recessive, autosomal dominant, X-linked or mitochondrial, no other;
    - onset: exactly one age.

    The entries name genes, not proteins ("family with sequence similarity 83 member H"), so no protein is derived.

    Attributes:
        path: The file.
        require_prevalence: True takes only entries with a known class. False takes the entries without one as well:
            Orphanet lists rare diseases, so they are rare by its judgement, but not by a number.
    """

    def __init__(self, path: Path | str, require_prevalence: bool) -> None:
        self.path = Path(path)
        self.require_prevalence = require_prevalence

    def entities(self) -> list[Entity]:
        """Returns the rare diseases of the file in its order.

        Raises:
            InputError: When the file is absent, a line is broken, a field is missing or of the wrong type, a class of
                prevalence is unknown, or no entry is a rare disease. The message names file, line and field.
        """
        entities = [
            _orphanet_entity(record)
            for line, record in read_jsonl(self.path)
            if self._is_rare_disease(_checked(record, self.path, line), line)
        ]
        if not entities:
            raise InputError.at(self.path, "holds no rare disease; give Orphanet entries as JSONL.")
        return entities

    def _is_rare_disease(self, record: Mapping[str, Any], line: int) -> bool:
        if record["type"] not in DISEASE_TYPES:
            return False
        known = [name for name in record["point_prevalence"] if name not in UNKNOWN_PREVALENCE]
        for name in known:
            if name not in PREVALENCE_IS_RARE:
                classes = ", ".join([*PREVALENCE_IS_RARE, *sorted(UNKNOWN_PREVALENCE)])
                problem = f"the class {name!r} is unknown; known are {classes}."
                raise InputError.at(self.path, problem, line=line, field="point_prevalence")
        return all(PREVALENCE_IS_RARE[name] for name in known) and bool(known or not self.require_prevalence)


class ListEntities:
    """A plain text file with the name of one rare disease a line; nothing else is known about them.

    Attributes:
        path: The file, in UTF-8. Blank lines are skipped.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def entities(self) -> list[Entity]:
        """Returns the diseases in the file's order, all rare and without facts.

        Raises:
            InputError: When the file is absent, empty or not UTF-8, or a name occurs twice.
        """
        if not self.path.is_file():
            raise InputError.at(self.path, "there is no such file.")
        try:
            lines = self.path.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise InputError.at(self.path, f"is not UTF-8 ({error}); save it as UTF-8 text.") from error
        line_of_name: dict[str, int] = {}
        entities = []
        for number, line in enumerate(lines, start=1):
            name = line.strip()
            if not name:
                continue
            first = line_of_name.setdefault(name.casefold(), number)
            if first != number:
                raise InputError.at(self.path, f'"{name}" is on line {first} already; remove one.', line=number)
            entities.append(Entity(name, is_rare=True))
        if not entities:
            raise InputError.at(self.path, "holds no name; write the name of one disease a line.")
        return entities


class EntitySampler:
    """Draws every entity once, in a random order, before it draws any entity again.

    Raises:
        InputError: When there are no entities.
    """

    def __init__(self, entities: Sequence[Entity]) -> None:
        if not entities:
            raise InputError("The entity list is empty; give at least one disease.")
        self._entities = tuple(entities)

    def __len__(self) -> int:
        return len(self._entities)

    def sample(self, seed: int, number: int) -> tuple[Entity, int]:
        """Returns draw number `number` (from 0) and how many times its entity was drawn before, from nothing else."""
        epoch, place = divmod(number, len(self._entities))
        return self._entities[_permutation(seed, epoch, len(self._entities))[place]], epoch


@lru_cache(maxsize=8)
def _permutation(seed: int, epoch: int, size: int) -> list[int]:
    order = list(range(size))
    random.Random(derive_seed(seed, "entities", epoch)).shuffle(order)
    return order


def _checked(record: dict[str, Any], path: Path, line: int) -> dict[str, Any]:
    """Returns the record, or raises InputError for the first field that is missing or of the wrong type."""
    for name, kind in _ORPHANET_FIELDS.items():
        if name not in record:
            raise InputError.at(path, "is missing; give Orphanet entries as JSONL.", line=line, field=name)
        if not isinstance(record[name], kind):
            problem = f"expected a {kind.__name__}, found {record[name]!r}."
            raise InputError.at(path, problem, line=line, field=name)
    for gene in record["genes"]:
        if not isinstance(gene, dict) or not all(isinstance(gene.get(key), str) for key in ("symbol", "association")):
            problem = f'expected objects with the texts "symbol" and "association", found {gene!r}.'
            raise InputError.at(path, problem, line=line, field="genes")
    return record


def _orphanet_entity(record: Mapping[str, Any]) -> Entity:
    return Entity(
        name=record["label"],
        is_rare=True,
        synonyms=tuple(record["synonyms"]),
        orphacode=record["orphacode"],
        facts=tuple(_orphanet_facts(record)),
    )


def _orphanet_facts(record: Mapping[str, Any]) -> Iterator[Fact]:
    """Yields what the entry says without ambiguity."""
    source = f"ORPHA:{record['orphacode']}"
    symbols = {gene["symbol"] for gene in record["genes"]}
    causes = {gene["symbol"] for gene in record["genes"] if gene["association"].startswith("Disease-causing")}
    if len(causes) == 1:
        (gene,) = causes
        yield Fact("gene", gene, source, also_true=tuple(sorted(symbols - causes)))
    patterns = {_PATTERN_OF_INHERITANCE.get(name) for name in record["inheritance"]}
    if len(patterns) == 1 and (pattern := patterns.pop()) is not None:
        yield Fact("inheritance", pattern, source)
    if len(record["onset"]) == 1 and (age := _AGE_OF_ONSET.get(record["onset"][0])) is not None:
        yield Fact("onset", age, source)
