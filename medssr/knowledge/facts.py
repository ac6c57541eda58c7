"""Structured facts about diseases, and the sentences and questions that a relation puts them into."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from medssr.errors import InputError, shown
from medssr.resources import RESOURCES
from medssr.utils.files import read_jsonl


@dataclass(frozen=True, slots=True)
class Fact:
    """One true statement: the `relation` of a disease has the `value`.

    Attributes:
        relation: A key of `relations()`, e.g. "gene".
        value: The right answer, e.g. "GLA".
        source: Where it is from: "ORPHA:<code>" or the id of an NIH page.
        also_true: Other values of this relation that would be right as well, so that they are no distractors.
        subject: What a question names in place of the disease, e.g. "GLA" where the disease is the answer.
    """

    relation: str
    value: str
    source: str
    also_true: tuple[str, ...] = ()
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class Entity:
    """A disease: its names, whether it is rare, and its facts in structured form.

    Attributes:
        name: Its name.
        is_rare: Whether it is rare.
        synonyms: Its other names.
        orphacode: Its number in Orphanet.
        facts: Statements about it, each with its source.
        weight: How early it is drawn, compared with others.
    """

    name: str
    is_rare: bool
    synonyms: tuple[str, ...] = ()
    orphacode: str | None = None
    facts: tuple[Fact, ...] = ()
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Relation:
    """The wordings of one relation; `{entity}` (or the fact's subject) and `{value}` stand for the two sides of a fact.

    Attributes:
        stems: Question stems for synthesis and training.
        evaluation_stem: A stem that is kept for evaluation.
        statement: A sentence that states the fact, for the built-in corpus.
        distractors: Wrong options that are no disease's value in the built-in tables.
    """

    stems: tuple[str, ...]
    evaluation_stem: str
    statement: str
    distractors: tuple[str, ...] = ()


@cache
def relations() -> dict[str, Relation]:
    """Returns the wordings of every relation by its name."""
    table: dict[str, Any] = yaml.safe_load((RESOURCES / "relations.yaml").read_text(encoding="utf-8"))
    return {
        name: Relation(
            tuple(wording["stems"]),
            wording["evaluation_stem"],
            wording["statement"],
            tuple(wording.get("distractors", ())),
        )
        for name, wording in table.items()
    }


def read_fact_table(path: Path | str) -> list[Entity]:
    """Returns the diseases of a fact table: JSONL of name, is_rare, orphacode, facts {relation: {value, source}}.

    Raises:
        InputError: When a field is missing or a relation is unknown; the message names file, line and field.
    """
    path = Path(path)
    entities = []
    for line, record in read_jsonl(path):
        for field in ("name", "is_rare", "facts"):
            if field not in record:
                raise InputError.at(path, "is missing.", line=line, field=field)
        facts = []
        if not isinstance(record["facts"], dict):
            problem = f"expected an object of relations, found {shown(record['facts'])}."
            raise InputError.at(path, problem, line=line, field="facts")
        for name, fact in record["facts"].items():
            if name not in relations():
                problem = f'the relation "{name}" is unknown; expected one of {", ".join(relations())}.'
                raise InputError.at(path, problem, line=line, field="facts")
            if not isinstance(fact, dict) or not all(isinstance(fact.get(key), str) for key in ("value", "source")):
                problem = f'expected an object with the texts "value" and "source", found {shown(fact)}.'
                raise InputError.at(path, problem, line=line, field=f"facts.{name}")
            facts.append(Fact(name, fact["value"], fact["source"], tuple(fact.get("also_true", ()))))
        entities.append(
            Entity(record["name"], record["is_rare"], orphacode=record.get("orphacode"), facts=tuple(facts))
        )
    if not entities:
        raise InputError.at(path, "holds no disease.")
    return entities


def builtin_rare_diseases() -> list[Entity]:
    """Returns the rare diseases that ship with the package."""
    return read_fact_table(RESOURCES / "rare_diseases.jsonl")


def builtin_common_diseases() -> list[Entity]:
    """Returns the common diseases that ship with the package."""
    return read_fact_table(RESOURCES / "common_diseases.jsonl")
