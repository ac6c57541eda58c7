"""Reads facts from the text of Genetics Home Reference (GHR), as MedQuAD has it.

GHR's pages are written by one plan: the first sentence on genetic changes names the gene, the first on inheritance the
pattern. A fact is read only where that sentence says it of this disease without reserve ("Mutations in the GLA gene
cause Fabry disease.") and nothing else on the page speaks against it. "Usually", "can", "most cases" and a second gene
or pattern leave the fact out.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from medssr.errors import InputError, shown
from medssr.knowledge.corpora import split_sentences
from medssr.knowledge.facts import Fact
from medssr.knowledge.names import all_keys, normalize_name
from medssr.utils.records import Record, open_records

_SYMBOL = r"[A-Z][A-Z0-9]+(?:orf[0-9]+)?(?:-[A-Z0-9]+)*"
_ALIAS = r"(?: \([^)]*\))?"
_CAUSE_FIRST = re.compile(
    rf"(?:Inherited m|M)utations in the ({_SYMBOL}) gene{_ALIAS} (?:cause|are responsible for|result in)"
    r" (?:all (?:forms|types) of )?(.+?)(?:, (?:which|a|an|the)\b.*)?\."
)
_DISEASE_FIRST = re.compile(
    r"(?:As its name suggests, )?(?:All (?:forms|types|cases) of )?(.+?) (?:is|are)"
    r" (?:one of (?:several|a spectrum of) skeletal disorders )?caused by (?:a mutation|mutations)"
    rf" in the ({_SYMBOL}) gene{_ALIAS}(?:, (?:which|a|an|the)\b.*)?\."
)
_RESULTS = re.compile(
    rf"(?:As its name suggests, )?(.+?) results? from (?:a mutation|mutations) in the ({_SYMBOL}) gene{_ALIAS}"
    r"(?:, (?:which|a|an|the)\b.*)?\."
)
_GENES = re.compile(rf"((?:{_SYMBOL}(?:,? (?:and|or) (?:the )?|, (?:the )?)?)+) genes?\b")
_MORE_GENES = re.compile(
    r"mutations? in (?:at least |more than |one of |any of )?(?:[a-z]+ ){1,2}genes\b", re.IGNORECASE
)
_PATTERNS = {
    "autosomal recessive": "autosomal recessive",
    "autosomal dominant": "autosomal dominant",
    "X-linked recessive": "X-linked",
    "X-linked dominant": "X-linked",
    "X-linked": "X-linked",
    "mitochondrial": "mitochondrial",
}
_PATTERN = "|".join(_PATTERNS)
_INHERITED = re.compile(
    rf"(?:As its name suggests, )?(.+?) (?:is inherited in|has|is considered to have|follows) an? ({_PATTERN})"
    r" (?:inheritance )?pattern\b"
    rf"|(.+?) is (?:considered )?an? ({_PATTERN}) (?:condition|disorder|disease)\b"
)
_MENTIONED_PATTERN = re.compile(
    r"autosomal recessive|autosomal dominant|X-linked|mitochondrial (?:pattern|inheritance)|maternal inheritance"
)
_DOUBT = re.compile(r"\bnot inherited\b|\bsporadic|\bunclear\b|\bdigenic\b|\bunknown\b|\bY-linked\b|\bmultifactorial\b")
# A name that goes on behind brackets ("VLDL (...) receptor", "sarco(endo)plasmic ...") or has another one is left out.
_PROTEIN = re.compile(
    rf"(?:The ({_SYMBOL})|This) gene provides instructions for (?:making|producing) (?:a|an|the) "
    r"(?:protein|enzyme) (?:called|known as) (?:(?:a|an|the) )?"
    r"(\w(?:[^.;,()]|,(?=\d)){3,60}?)(?: \([^()]*\))?"
    r"(?=[.;]|, (?!or |also |more |commonly )| (?:that|which|whose|and is)\b)"
)
_ENDS_OPEN = re.compile(r"\b(?:alpha|beta|gamma|delta|epsilon|type)$")
_THIS = frozenset(["this condition", "the condition", "this disorder"])


@dataclass(frozen=True, slots=True)
class GhrPage:
    """What a page of GHR says about a disease.

    Attributes:
        name: The disease.
        synonyms: Its other names.
        facts: Facts that the page states without reserve; the source is the id of the answer.
        genes: Every gene that the page names.
        patterns: Every pattern of inheritance that the page names.
    """

    name: str
    synonyms: tuple[str, ...]
    facts: tuple[Fact, ...]
    genes: frozenset[str]
    patterns: frozenset[str]


def read_ghr(path: Path | str) -> list[GhrPage]:
    """Returns the pages of GHR in a MedQuAD file: JSONL of doc_id, source, focus, synonyms, qtype, answer.

    Raises:
        InputError: When the file is absent, a line is broken, a field is missing or no answer is from GHR.
    """
    path = Path(path)
    answers: defaultdict[str, dict[str, tuple[str, str]]] = defaultdict(dict)
    synonyms: dict[str, tuple[str, ...]] = {}
    for record in open_records(path):
        value = record.value
        for field in ("doc_id", "source", "focus", "synonyms", "qtype", "answer"):
            if field not in value:
                raise record.error("is missing; give MedQuAD as JSONL.", field)
        if value["source"] == "GHR":
            _check_types(record)
            answers[value["focus"]][value["qtype"]] = (value["doc_id"], value["answer"])
            synonyms[value["focus"]] = tuple(value["synonyms"])
    if not answers:
        raise InputError.at(path, 'holds no answer whose source is "GHR".')
    return [read_page(name, synonyms[name], by_type) for name, by_type in answers.items()]


def _check_types(record: Record) -> None:
    """Raises InputError for the first field of an answer that is no text, or no list of texts."""
    for field in ("doc_id", "focus", "qtype", "answer"):
        if not isinstance(record.value[field], str):
            raise record.error(f"expected a text, found {shown(record.value[field])}.", field)
    names = record.value["synonyms"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise record.error(f"expected a list of texts, found {shown(names)}.", "synonyms")


def read_page(name: str, synonyms: Iterable[str], answers: Mapping[str, tuple[str, str]]) -> GhrPage:
    """Returns what a page says.

    Args:
        name: The disease.
        synonyms: Its other names.
        answers: (id, text) of each answer by its type; "genetic changes" and "inheritance" are read.

    Example:
        >>> answers = {"genetic changes": ("GHR_1_Sec3", "Mutations in the GLA gene cause Fabry disease.")}
        >>> read_page("Fabry disease", [], answers).facts
        (Fact(relation='gene', value='GLA', source='GHR_1_Sec3', also_true=(), subject=None),)
    """
    synonyms = tuple(synonyms)
    keys = all_keys((name, *synonyms))
    genetics_id, genetics = answers.get("genetic changes", ("", ""))
    inheritance_id, inheritance = answers.get("inheritance", ("", ""))
    genes = mentioned_genes(genetics) | mentioned_genes(inheritance)
    facts = []
    if (gene := sole_gene(genetics, keys)) is not None and genes == {gene}:
        facts.append(Fact("gene", gene, genetics_id))
        if (protein := protein_of(genetics, gene)) is not None:
            facts.append(Fact("protein", protein, genetics_id))
    if (pattern := sole_pattern(inheritance, keys)) is not None:
        facts.append(Fact("inheritance", pattern, inheritance_id))
    return GhrPage(name, synonyms, tuple(facts), genes, mentioned_patterns(inheritance))


def sole_gene(text: str, keys: frozenset[str]) -> str | None:
    """Returns the gene that the first sentence calls the cause of the disease, or None.

    Args:
        text: The answer on genetic changes.
        keys: The keys of the disease's names; see `all_keys`.
    """
    first = next(iter(split_sentences(text)), "")
    if match := _CAUSE_FIRST.fullmatch(first):
        gene, disease = match.groups()
    elif match := _DISEASE_FIRST.fullmatch(first) or _RESULTS.fullmatch(first):
        disease, gene = match.groups()
    else:
        return None
    is_of_the_disease = normalize_name(disease) in keys | _THIS
    return gene if is_of_the_disease and not _MORE_GENES.search(text) else None


def mentioned_genes(text: str) -> frozenset[str]:
    """Returns every gene that the text names.

    Example:
        >>> sorted(mentioned_genes("Mutations in the ARID1A, SMARCA4, or SMARCB1 gene, and the DNA of the PHF6 gene."))
        ['ARID1A', 'PHF6', 'SMARCA4', 'SMARCB1']
    """
    return frozenset(symbol for match in _GENES.finditer(text) for symbol in re.findall(_SYMBOL, match[1]))


def sole_pattern(text: str, keys: frozenset[str]) -> str | None:
    """Returns the pattern of inheritance that the first sentence states and no other contradicts, or None.

    Args:
        text: The answer on inheritance.
        keys: The keys of the disease's names; see `all_keys`.
    """
    match = _INHERITED.match(next(iter(split_sentences(text)), ""))
    if not match or _DOUBT.search(text):
        return None
    disease = normalize_name(match[1] or match[3])
    pattern = _PATTERNS[match[2] or match[4]]
    return pattern if disease in keys | _THIS and mentioned_patterns(text) <= {pattern} else None


def mentioned_patterns(text: str) -> frozenset[str]:
    """Returns every pattern of inheritance that the text names."""
    patterns = {match[0] for match in _MENTIONED_PATTERN.finditer(text)}
    return frozenset(_PATTERNS.get(name, "mitochondrial") for name in patterns)


def protein_of(text: str, gene: str) -> str | None:
    """Returns the name of the protein that the text says the gene encodes, or None."""
    match = _PROTEIN.search(text)
    if not match or match[1] not in (gene, None) or _ENDS_OPEN.search(match[2]) or " or " in match[2]:
        return None
    return match[2]
