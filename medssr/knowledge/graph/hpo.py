"""Builds a knowledge graph from a release of the Human Phenotype Ontology, with Orphanet's entries where given."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from medssr.errors import InputError, shown
from medssr.knowledge.entities.left_out import reason_of_name
from medssr.knowledge.entities.obo import OboTerm, read_obo
from medssr.knowledge.entities.orphanet import OrphanetDisease
from medssr.knowledge.entities.orphanet_facts import PATTERN_OF_INHERITANCE
from medssr.knowledge.graph.structure import (
    AGES,
    DEATH,
    FINDING,
    GENE,
    INHERITANCE,
    IS_A,
    ONSET,
    Edge,
    KnowledgeGraph,
    Node,
)
from medssr.utils.text_files import read_text

TERMS, ANNOTATIONS, GENES = "hp.obo", "phenotype.hpoa", "genes_to_phenotype.txt"
# The names of the databases in settings, and in the files.
DATABASES = {"orphanet": "ORPHA", "omim": "OMIM"}
_ROOT = "HP:0000118"
# Frequencies that are terms of the ontology: the middle of the range that each stands for.
_FREQUENCY = {
    "HP:0040280": 1.0,
    "HP:0040281": 0.895,
    "HP:0040282": 0.545,
    "HP:0040283": 0.17,
    "HP:0040284": 0.025,
    "HP:0040285": 0.0,
}
# A finding that none of so many patients had is excluded; none of fewer says nothing.
_ENOUGH_PATIENTS = 5
_INHERITANCE = {
    "HP:0000006": "autosomal dominant",
    "HP:0000007": "autosomal recessive",
    "HP:0001417": "X-linked",
    "HP:0001419": "X-linked",
    "HP:0001423": "X-linked",
    "HP:0001427": "mitochondrial",
}
_ONSET = {
    "HP:0030674": "Antenatal",
    "HP:0011460": "Antenatal",
    "HP:0011461": "Antenatal",
    "HP:0003577": "Neonatal",
    "HP:0003623": "Neonatal",
    "HP:0003593": "Infancy",
    "HP:0011463": "Childhood",
    "HP:0003621": "Adolescent",
    "HP:0003581": "Adult",
    "HP:0011462": "Adult",
    "HP:0003596": "Adult",
    "HP:0003584": "Elderly",
}
_DEATH = {
    "HP:0034241": "Antenatal",
    "HP:0003826": "Antenatal",
    "HP:0005268": "Antenatal",
    "HP:0003811": "Neonatal",
    "HP:0001522": "Infancy",
    "HP:0003819": "Childhood",
}
_FRACTION = re.compile(r"(\d+)/(\d+)")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)%")
# Entries of OMIM that are no diseases.
_NO_DISEASE = re.compile(r"susceptib|\bquantitative trait\b|\bresistance to\b|[{}\[\]?]", re.IGNORECASE)


@dataclass(slots=True)
class _Annotations:
    """The rows on one finding, or one other term, of one disease."""

    num_patients: int = 0
    num_with: int = 0
    frequencies: list[float] = field(default_factory=list)
    is_stated: bool = False
    is_excluded: bool = False
    sexes: set[str] = field(default_factory=set)
    reference: str = ""

    def edge(self, disease: str, finding: str) -> Edge | None:
        """Returns the edge of all rows; None where they contradict each other, or say too little."""
        if self.is_stated and self.is_excluded:
            return None
        sexes = {sex.lower() for sex in self.sexes if sex}
        sex = sexes.pop() if len(self.sexes) == 1 and sexes else None
        if self.is_excluded or (not self.frequencies and not self.num_with and self.num_patients >= _ENOUGH_PATIENTS):
            return Edge(disease, FINDING, finding, self.reference, is_excluded=True)
        if self.num_with:
            # The rule of succession: one of one patient is no certainty.
            frequency: float | None = (self.num_with + 1) / (self.num_patients + 2)
        elif self.num_patients and not self.frequencies:
            return None
        else:
            frequency = max(self.frequencies, default=None)
        if frequency == 0.0:
            return Edge(disease, FINDING, finding, self.reference, is_excluded=True)
        return Edge(disease, FINDING, finding, self.reference, frequency, sex=sex)


def read_hpo(folder: Path, database: str, orphanet: Mapping[str, OrphanetDisease] | None) -> KnowledgeGraph:
    """Returns the graph of the diseases of one database with their findings, genes, inheritance and ages of onset.

    Args:
        folder: The folder of a release: hp.obo, phenotype.hpoa, genes_to_phenotype.txt.
        database: A key of `DATABASES`. The entries of both on one disease would be two diseases.
        orphanet: The rare diseases of an Orphanet file by their number: only these are taken, with their names,
            disease-causing genes, inheritance and onset, which the release has not. None: all entries of the database,
            with any gene.

    Raises:
        InputError: When a file is missing or is not what it should be.
    """
    prefix = f"{DATABASES[database]}:"
    terms = {term.id: term for term in read_obo(folder / TERMS) if not term.is_obsolete}
    names: dict[str, str] = {}
    rows: defaultdict[tuple[str, str], _Annotations] = defaultdict(_Annotations)
    path = folder / ANNOTATIONS
    version, annotations = _table(path, _COLUMNS)
    for line, values in annotations:
        disease, name, qualifier, term, reference, frequency, sex = values
        if not disease.startswith(prefix) or _is_left_out(disease, name, orphanet):
            continue
        names[disease] = name
        group = rows[disease, term]
        group.reference = group.reference or reference
        group.sexes.add(sex)
        group.is_excluded |= qualifier == "NOT"
        group.is_stated |= qualifier != "NOT"
        _count(group, frequency, path, line)
    _, gene_rows = _table(folder / GENES, ("gene_symbol", "disease_id"))
    genes = dict.fromkeys((disease, symbol) for _, (symbol, disease) in gene_rows if disease in names)
    phenotypes = _phenotypes(terms)
    edges = [*_annotated_edges(rows, phenotypes), *_gene_edges(genes, orphanet, prefix)]
    if orphanet is not None:
        edges += [
            edge for disease in names for edge in _orphanet_edges(disease, orphanet[disease.removeprefix(prefix)])
        ]
    edges = list({(edge.head, edge.relation, edge.tail): edge for edge in edges}.values())
    diseases = [_disease_node(disease, name, orphanet, prefix) for disease, name in names.items()]
    if not any(edge.relation == FINDING for edge in edges):
        raise InputError.at(folder / ANNOTATIONS, f"has no finding of a disease of {database}; is the file whole?")
    used = {edge.tail for edge in edges}
    findings = [Node(term.id, FINDING, term.name, tuple(term.synonyms)) for term in phenotypes.values()]
    others = [Node(key, key.partition(":")[0], key.partition(":")[2]) for key in sorted(used - phenotypes.keys())]
    is_a = [
        Edge(term.id, IS_A, parent, TERMS)
        for term in phenotypes.values()
        for parent in term.parents
        if parent in phenotypes
    ]
    return KnowledgeGraph([*diseases, *findings, *others], [*edges, *is_a], f"hpo {version} {database}")


_COLUMNS = ("database_id", "disease_name", "qualifier", "hpo_id", "reference", "frequency", "sex")


def _table(path: Path, columns: Sequence[str]) -> tuple[str, Iterator[tuple[int, list[str]]]]:
    """Returns the version of a tab-separated file ("" where it states none), and its rows: line, values of columns."""
    lines = read_text(path, may_be_legacy=False).content.splitlines()
    comments = [line for line in lines if line.startswith("#")]
    version = next((line.partition(":")[2].strip() for line in comments if line.startswith("#version:")), "")
    start = next((number for number, line in enumerate(lines) if line and not line.startswith("#")), len(lines))
    header = lines[start].split("\t") if start < len(lines) else []
    for name in columns:
        if name not in header:
            problem = f"the header {shown(header)} has no such column; give a file of the ontology's release."
            raise InputError.at(path, problem, line=start + 1, field=name)
    positions = [header.index(name) for name in columns]

    def rows() -> Iterator[tuple[int, list[str]]]:
        for number, line in enumerate(lines[start + 1 :], start=start + 2):
            values = line.split("\t")
            if len(values) != len(header):
                raise InputError.at(path, f"has {len(values)} columns, expected {len(header)}.", line=number)
            yield number, [values[position] for position in positions]

    return version, rows()


def _is_left_out(disease: str, name: str, orphanet: Mapping[str, OrphanetDisease] | None) -> bool:
    if orphanet is not None:
        return disease.partition(":")[2] not in orphanet
    return reason_of_name(name) is not None or _NO_DISEASE.search(name) is not None


def _count(group: _Annotations, frequency: str, path: Path, line: int) -> None:
    """Adds the frequency of one row."""
    if match := _FRACTION.fullmatch(frequency):
        group.num_with += int(match[1])
        group.num_patients += int(match[2])
    elif match := _PERCENT.fullmatch(frequency):
        group.frequencies.append(float(match[1]) / 100)
    elif frequency in _FREQUENCY:
        group.frequencies.append(_FREQUENCY[frequency])
    elif frequency:
        problem = f'found {shown(frequency)}; expected a term such as "HP:0040282", "3/7" or "12%".'
        raise InputError.at(path, problem, line=line, field="frequency")


def _annotated_edges(rows: Mapping[tuple[str, str], _Annotations], phenotypes: Mapping[str, OboTerm]) -> Iterator[Edge]:
    for (disease, term), group in rows.items():
        if term in phenotypes:
            edge = group.edge(disease, term)
            if edge is not None:
                yield edge
        for relation, table in ((INHERITANCE, _INHERITANCE), (ONSET, _ONSET), (DEATH, _DEATH)):
            if term in table and not group.is_excluded:
                yield Edge(disease, relation, f"{_KIND[relation]}:{table[term]}", group.reference)


# The kind of node that a relation leads to.
_KIND = {INHERITANCE: "inheritance", ONSET: "age", DEATH: "age"}


def _gene_edges(
    genes: Mapping[tuple[str, str], None], orphanet: Mapping[str, OrphanetDisease] | None, prefix: str
) -> Iterator[Edge]:
    for disease, symbol in genes:
        if orphanet is None or symbol in orphanet[disease.removeprefix(prefix)].causes:
            yield Edge(disease, GENE, f"gene:{symbol}", GENES)


def _orphanet_edges(disease: str, entry: OrphanetDisease) -> Iterator[Edge]:
    for pattern in sorted(entry.inheritance):
        if pattern in PATTERN_OF_INHERITANCE:
            yield Edge(disease, INHERITANCE, f"inheritance:{PATTERN_OF_INHERITANCE[pattern]}", disease)
    for age in entry.onset:
        if age in AGES:
            yield Edge(disease, ONSET, f"age:{age}", disease)
    for symbol in entry.causes:
        yield Edge(disease, GENE, f"gene:{symbol}", disease)


def _disease_node(disease: str, name: str, orphanet: Mapping[str, OrphanetDisease] | None, prefix: str) -> Node:
    if orphanet is None:
        return Node(disease, "disease", name)
    entity = orphanet[disease.removeprefix(prefix)].entity
    return Node(disease, "disease", entity.name, entity.synonyms)


def _phenotypes(terms: Mapping[str, OboTerm]) -> dict[str, OboTerm]:
    """Returns the terms that are findings, not modes of inheritance, ages of onset or courses."""
    kinds: defaultdict[str, list[str]] = defaultdict(list)
    for term in terms.values():
        for parent in term.parents:
            kinds[parent].append(term.id)
    below_root: set[str] = set()
    waiting = [_ROOT]
    while waiting:
        term_id = waiting.pop()
        if term_id not in below_root:
            below_root.add(term_id)
            waiting += kinds[term_id]
    return {name: term for name, term in terms.items() if name in below_root}
