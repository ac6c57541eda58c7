from __future__ import annotations

import json

import pytest

from medssr.errors import InputError
from medssr.knowledge.facts import Fact
from medssr.knowledge.ghr import mentioned_genes, protein_of, read_ghr, read_page, sole_gene, sole_pattern
from medssr.knowledge.names import all_keys

KEYS = all_keys(["Fabry disease", "AFD"])


@pytest.mark.parametrize(
    ("text", "gene"),
    [
        ("Mutations in the GLA gene cause Fabry disease. The GLA gene is large.", "GLA"),
        ("Mutations in the GLA gene cause AFD.", "GLA"),
        ("Mutations in the GLA gene (also known as GALA) cause all forms of Fabry disease.", "GLA"),
        ("Mutations in the C9orf72 gene cause Fabry disease.", "C9orf72"),
        ("Mutations in the MT-TL1 gene are responsible for this condition.", "MT-TL1"),
        ("Fabry disease is caused by mutations in the GLA gene.", "GLA"),
        ("As its name suggests, Fabry disease is caused by a mutation in the GLA gene.", "GLA"),
        ("Fabry disease is caused by mutations in the GLA gene, which provides instructions for an enzyme.", "GLA"),
        ("Fabry disease results from mutations in the GLA gene.", "GLA"),
        ("Mutations in the GLA gene cause Fabry's Disease.", "GLA"),
        ("Mutations in the GLA gene cause Pompe disease.", None),
        ("Mutations in the GLA gene cause most cases of Fabry disease.", None),
        ("Mutations in the GLA gene can cause Fabry disease.", None),
        ("Mutations in the GLA and GLB gene cause Fabry disease.", None),
        ("Mutations in the GLA or GLB gene cause Fabry disease.", None),
        ("Fabry disease is usually caused by mutations in the GLA gene.", None),
        ("Fabry disease can be caused by mutations in the GLA gene.", None),
        ("Fabry disease is thought to result from mutations in the GLA gene.", None),
        ("Fabry disease is caused by mutations in the GLA gene or by a deletion.", None),
        ("Fabry disease is not caused by mutations in the GLA gene.", None),
        ("Mutations in the GLA gene cause Fabry disease. Others have mutations in one of several genes.", None),
        ("The cause is unknown. Mutations in the GLA gene cause Fabry disease.", None),
        ("", None),
    ],
)
def test_a_gene_is_read_where_the_first_sentence_names_it_without_reserve(text, gene):
    assert sole_gene(text, KEYS) == gene


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("This condition is inherited in an autosomal recessive pattern, which means ...", "autosomal recessive"),
        ("Fabry disease is inherited in an X-linked pattern. The gene is on the X chromosome.", "X-linked"),
        ("Fabry disease has an X-linked dominant pattern of inheritance.", "X-linked"),
        ("This condition has an autosomal dominant inheritance pattern.", "autosomal dominant"),
        ("AFD is considered an autosomal dominant condition, which means ...", "autosomal dominant"),
        (
            "This condition is inherited in a mitochondrial pattern, also known as maternal inheritance.",
            "mitochondrial",
        ),
        ("As its name suggests, this condition is inherited in an autosomal recessive pattern.", "autosomal recessive"),
        ("Pompe disease is inherited in an autosomal recessive pattern.", None),
        ("This condition is usually inherited in an autosomal recessive pattern.", None),
        ("Most cases of Fabry disease are inherited in an autosomal recessive pattern.", None),
        ("When caused by GLA, this condition is inherited in an autosomal recessive pattern.", None),
        ("This condition is inherited in an autosomal codominant pattern.", None),
        ("This condition is inherited in an autosomal recessive pattern. Rarely it is autosomal dominant.", None),
        ("This condition is inherited in an autosomal dominant pattern. Some cases are sporadic.", None),
        ("The inheritance pattern of Fabry disease is unknown.", None),
        ("", None),
    ],
)
def test_a_pattern_is_read_where_nothing_else_is_said(text, pattern):
    assert sole_pattern(text, KEYS) == pattern


MAKING = "gene provides instructions for making"


@pytest.mark.parametrize(
    ("text", "protein"),
    [
        (f"The GLA {MAKING} an enzyme called alpha-galactosidase A. It is", "alpha-galactosidase A"),
        (f"This {MAKING} a protein called titin, which is", "titin"),
        (f"This {MAKING} a protein known as the lamin B receptor.", "lamin B receptor"),
        (f"This {MAKING} an enzyme called 8,7-isomerase.", "8,7-isomerase"),
        (f"This {MAKING} a protein called hepatic lipase (HL). It", "hepatic lipase"),
        (f"The GLB {MAKING} an enzyme called other.", None),
        (f"This {MAKING} a protein called skeletal alpha (\u03b1)-actin.", None),
        (f"This {MAKING} a protein called very low density (VLDL) receptor.", None),
        (f"This {MAKING} a protein called gap 2, more commonly known as connexin.", None),
        (f"This {MAKING} a protein called Lgi1 or epitempin.", None),
        (f"This {MAKING} a protein called laminin alpha.", None),
        (f"This {MAKING} a protein that is essential.", None),
    ],
)
def test_a_protein_is_read_where_its_name_is_whole(text, protein):
    assert protein_of(text, "GLA") == protein


def test_genes_are_found_in_lists():
    text = "The A2M, BRCA1 and MT-TL1 genes; mutations in either the HBA1 gene or the C9orf72 gene. DNA and RNA."
    assert mentioned_genes(text) == {"A2M", "BRCA1", "MT-TL1", "HBA1", "C9orf72"}


PAGE = {
    "genetic changes": (
        "GHR_1_Sec3",
        "Mutations in the GLA gene cause Fabry disease. This gene provides instructions for making an enzyme called "
        "alpha-galactosidase A.",
    ),
    "inheritance": ("GHR_1_Sec4", "This condition is inherited in an X-linked pattern."),
}


def test_a_page_gives_facts_with_the_id_of_their_answer():
    page = read_page("Fabry disease", ["AFD"], PAGE)
    assert page.facts == (
        Fact("gene", "GLA", "GHR_1_Sec3"),
        Fact("protein", "alpha-galactosidase A", "GHR_1_Sec3"),
        Fact("inheritance", "X-linked", "GHR_1_Sec4"),
    )
    assert (page.genes, page.patterns) == ({"GLA"}, {"X-linked"})


def test_a_second_gene_anywhere_leaves_the_gene_out():
    changed = PAGE | {"inheritance": ("GHR_1_Sec4", "When the GLB gene is mutated, it is autosomal dominant.")}
    page = read_page("Fabry disease", [], changed)
    assert page.facts == ()
    assert (page.genes, page.patterns) == ({"GLA", "GLB"}, {"autosomal dominant"})


def test_a_page_without_answers_gives_nothing():
    assert read_page("Fabry disease", [], {}).facts == ()


def documents(tmp_path, *changes):
    base = {"doc_id": "d", "source": "GHR", "focus": "Fabry disease", "synonyms": ["AFD"], "qtype": "x", "answer": "y"}
    path = tmp_path / "documents.jsonl"
    path.write_text("".join(json.dumps(base | change) + "\n" for change in changes))
    return path


def test_answers_of_a_disease_make_a_page_and_other_sources_are_passed_over(tmp_path):
    answers = [{"qtype": kind, "doc_id": name, "answer": text} for kind, (name, text) in PAGE.items()]
    path = documents(tmp_path, answers[0], {"source": "GARD", "focus": "Pompe disease"}, answers[1])
    assert read_ghr(path) == [read_page("Fabry disease", ["AFD"], PAGE)]


def test_faults_of_the_file_are_named(tmp_path):
    with pytest.raises(InputError, match='"GHR"'):
        read_ghr(documents(tmp_path, {"source": "GARD"}))
    path = documents(tmp_path, {})
    path.write_text(json.dumps({"doc_id": "d"}) + "\n")
    with pytest.raises(InputError, match='line 1, field "source"'):
        read_ghr(path)


@pytest.mark.slow
def test_facts_of_the_public_pages_agree_with_orphanet(shared_data):
    """Of 365 genes, 8 differ: 7 were renamed since, and 1 page was matched by a synonym of another disease."""
    from medssr.knowledge.entities.orphanet_facts import PATTERN_OF_INHERITANCE

    entries = [json.loads(line) for line in (shared_data / "entities" / "orphanet.jsonl").open(encoding="utf-8")]
    by_key: dict[str, list[int]] = {}
    for number, entry in enumerate(entries):
        for key in all_keys([entry["label"], *entry["synonyms"]]):
            by_key.setdefault(key, []).append(number)
    agreeing: dict[str, list[bool]] = {"gene": [], "inheritance": []}
    for page in read_ghr(shared_data / "medquad" / "documents.jsonl"):
        matches = {number for key in all_keys([page.name]) for number in by_key.get(key, [])}
        if len(matches) != 1:
            continue
        entry = entries[matches.pop()]
        genes = {gene["symbol"].casefold() for gene in entry["genes"]}
        patterns = {PATTERN_OF_INHERITANCE.get(name) for name in entry["inheritance"]} - {None}
        for fact in page.facts:
            if fact.relation == "gene" and genes:
                agreeing["gene"].append(fact.value.casefold() in genes)
            if fact.relation == "inheritance" and patterns:
                agreeing["inheritance"].append(fact.value in patterns)
    for relation, least in (("gene", 280), ("inheritance", 450)):
        assert len(agreeing[relation]) > least
        assert sum(agreeing[relation]) / len(agreeing[relation]) > 0.98
