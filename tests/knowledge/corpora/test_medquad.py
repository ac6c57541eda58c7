from __future__ import annotations

import json

import pytest
from support.helpers import compose

from medssr.errors import InputError
from medssr.knowledge.corpora import MedQuadCorpus, Passage, Removal
from medssr.utils.instantiate import instantiate

pytestmark = pytest.mark.slow

REGULAR = """<?xml version="1.0" encoding="UTF-8"?>
<!--ADAM: no answers-->
<Document id="0000004" source="GARD" url="https://rarediseases.info.nih.gov/gard/335">
<Focus>ABCD syndrome</Focus>
<FocusAnnotations>
  <Category>Disease</Category>
  <UMLS><CUIs><CUI>C1838099</CUI></CUIs><SemanticTypes><SemanticType>T047</SemanticType></SemanticTypes></UMLS>
  <Synonyms><Synonym>Albinism &amp; black lock</Synonym><Synonym>ABCDS</Synonym><Synonym></Synonym></Synonyms>
</FocusAnnotations>
<QAPairs>
  <QAPair pid="1">
    <Question qid="0000004-1" qtype="symptoms">What are the symptoms of ABCD syndrome ?</Question>
    <Answer>  Hearing loss.
    It is there at birth.  </Answer>
  </QAPair>
  <QAPair pid="2"><Question qid="0000004-2" qtype="treatment">How to treat it ?</Question><Answer></Answer></QAPair>
</QAPairs>
</Document>"""
# 6_NINDS: other names for everything.
LOWER_CASE = """<?xml version="1.0" encoding="UTF-8"?>
<doc docid="0000007" corpus="NINDS" url="http://www.ninds.nih.gov/disorders/holmes_adie.htm">
<doctitle-focus>Holmes-Adie</doctitle-focus>
<umls><cui></cui><semanticType></semanticType><semanticGroup></semanticGroup></umls>
<qaPairs>
<pair pid="1">
<question qid="0000007-1" qtype="information">what is holmes-adie syndrome ?</question>
<answer>A disorder of the pupil.</answer>
</pair>
<pair pid="2">
<question qid="0000007-2" qtype="treatment">is there any treatment ?</question>
<answer>Pilocarpine.</answer>
</pair>
</qaPairs>
</doc>"""
# 9_CDC: annotations outside their element, without CUIs, numbers with gaps, another root, no focus.
DISEASE_FILE = """<?xml version="1.0" encoding="UTF-8"?>
<DiseaseFile fid="0000397" source="CDC" url="http://www.cdc.gov/parasites/taeniasis/">
<Focus>Parasites - Taeniasis</Focus>
<UMLS><CUI></CUI><SemanticType></SemanticType><SemanticGroup></SemanticGroup></UMLS>
<QAPairs>
<QAPair pid="5"><Question qtype="exams and tests">How to diagnose it ?</Question><Answer>By stool.</Answer></QAPair>
</QAPairs>
</DiseaseFile>"""
NO_FOCUS = """<Document id="0000199" source="CDC"><Focus></Focus><QAPairs>
<QAPair pid="12"><Question>how vaccines prevent disease</Question><Answer>By immunity.</Answer></QAPair>
</QAPairs></Document>"""


def folder(tmp_path, **files):
    for name, content in files.items():
        file = tmp_path / "MedQuAD" / f"{name}.xml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
    return tmp_path / "MedQuAD"


def documents(path):
    return list(MedQuadCorpus(path, None, None).documents())


def test_a_regular_file_becomes_a_document_an_answer(tmp_path):
    synonyms = ("Albinism & black lock", "ABCDS")
    first, second = documents(folder(tmp_path, a=REGULAR))
    assert first.text.split() == ["Hearing", "loss.", "It", "is", "there", "at", "birth."]
    assert (first.id, first.title, first.source, first.synonyms) == (
        "GARD_0000004_Sec1", "ABCD syndrome", "GARD", synonyms,
    )  # fmt: skip
    assert second == Passage("GARD_0000004_Sec2", "ABCD syndrome", "", "GARD", synonyms)


def test_empty_answers_are_counted_and_yield_nothing(tmp_path):
    corpus = MedQuadCorpus(folder(tmp_path, a=REGULAR), 1000, None)
    assert [passage.id for passage in corpus.passages()] == ["GARD_0000004_Sec1"]
    assert (corpus.counts.num_documents, corpus.counts.num_empty) == (2, 1)


def test_other_names_for_the_elements_are_read(tmp_path):
    assert documents(folder(tmp_path, a=LOWER_CASE, b=DISEASE_FILE, c=NO_FOCUS)) == [
        Passage("NINDS_0000007_Sec1", "Holmes-Adie", "A disorder of the pupil.", "NINDS"),
        Passage("NINDS_0000007_Sec2", "Holmes-Adie", "Pilocarpine.", "NINDS"),
        Passage("CDC_0000397_Sec5", "Parasites - Taeniasis", "By stool.", "CDC"),
        Passage("CDC_0000199_Sec12", "how vaccines prevent disease", "By immunity.", "CDC"),
    ]


def test_files_that_share_an_id_are_told_apart(tmp_path):
    path = folder(tmp_path, **{"0000004": REGULAR, "0000004_1": REGULAR})
    (path / "more").mkdir()
    (path / "more" / "0000004_1.xml").write_text(REGULAR, encoding="utf-8")
    names = [document.id for document in documents(path)]
    assert names[:4] == ["GARD_0000004_Sec1", "GARD_0000004_Sec2", "GARD_0000004_1_Sec1", "GARD_0000004_1_Sec2"]
    assert len(set(names)) == 6


@pytest.mark.parametrize(("old", "new"), [('pid="2"', 'pid="1"'), ('pid="2"', ""), ('pid="2"', 'pid=""')])
def test_pairs_without_numbers_of_their_own_are_counted(tmp_path, old, new):
    names = [document.id for document in documents(folder(tmp_path, a=REGULAR.replace(old, new)))]
    assert names == ["GARD_0000004_Sec1", "GARD_0000004_Sec2"]


def test_a_file_without_pairs_is_passed_over(tmp_path):
    empty = '<Document id="1" source="NIDDK"><Focus>x</Focus><QAPairs></QAPairs></Document>'
    assert len(documents(folder(tmp_path, a=empty, b=REGULAR))) == 2


@pytest.mark.parametrize(
    "doctype",
    [
        '<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE d [<!ENTITY a "lol"><!ENTITY x "&a;&a;&a;">]>',
        '<!DOCTYPE d SYSTEM "http://localhost/x.dtd">',
    ],
)
def test_entities_and_document_types_are_refused(tmp_path, doctype):
    text = (
        f'{doctype}<Document id="1" source="X"><Focus>f</Focus><QAPair pid="1"><Answer>&x;</Answer></QAPair></Document>'
    )
    with pytest.raises(InputError, match=r"a\.xml: declares a document type or entities"):
        documents(folder(tmp_path, a=text))


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("<Document", "no well-formed XML"),
        ("", "no well-formed XML"),
        ("<html><body/></html>", 'field "source"'),
    ],
)
def test_a_file_that_is_not_medquad_is_named(tmp_path, content, part):
    with pytest.raises(InputError) as caught:
        documents(folder(tmp_path, a=content))
    assert "a.xml" in str(caught.value)
    assert part in str(caught.value)


def test_a_folder_without_files_is_a_fault(tmp_path):
    with pytest.raises(InputError, match="holds no file"):
        documents(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        documents(tmp_path / "none")


def record(number, answer, **more):
    return {"doc_id": f"d{number}", "focus": "Fabry", "synonyms": ["a", "b"], "answer": answer, "source": "GHR"} | more


def jsonl(tmp_path, *answers):
    path = tmp_path / "documents.jsonl"
    path.write_text("".join(json.dumps(record(number, answer)) + "\n" for number, answer in enumerate(answers)))
    return path


def test_the_jsonl_form_is_read_too(tmp_path):
    assert documents(jsonl(tmp_path, "An answer.")) == [Passage("d0", "Fabry", "An answer.", "GHR", ("a", "b"))]


HEADING = "What are the signs and symptoms of Fabry disease?"
TABLE = (
    "The Human Phenotype Ontology provides the following list of signs and symptoms for Fabry disease. If the "
    "information is available, the table below includes how often the symptom is seen. Signs and Symptoms Approximate "
    "number of patients (when available) Ataxia 90% Pain 7.5% Rash - The Human Phenotype Ontology (HPO) has collected "
    "information on how often a sign or symptom occurs in a condition. The frequency may also be listed as a fraction. "
    "In these cases, the sign or symptom may be rare or common."
)
TAIL = TABLE[TABLE.index("The Human Phenotype Ontology (HPO)") :]
LINKS = (
    "These resources address the diagnosis or management of Fabry disease: - Gene Review: Fabry These resources from "
    "MedlinePlus offer information about the diagnosis and management of various health conditions: - Diagnostic Tests "
    "- Drug Therapy - Surgery and Rehabilitation - Genetic Counseling - Palliative Care"
)


@pytest.mark.parametrize(
    ("text", "kept", "rule"),
    [
        (f"{HEADING} {TABLE}", None, "phenotype_table"),
        (f"{HEADING} Pain begins early. {TABLE}", f"{HEADING} Pain begins early.", "phenotype_table"),
        (f"{HEADING} {TABLE} When does it begin? Early.", "When does it begin? Early.", "phenotype_table"),
        (f"Pain. {TABLE[:300]}", "Pain.", "phenotype_table"),
        (f"Pain. {TAIL} More.", "Pain. More.", "phenotype_table"),
        (LINKS, None, "link_list"),
        (f"Enzymes help. {LINKS}", "Enzymes help.", "link_list"),
        (f"{LINKS} Enzymes help.", "Enzymes help.", "link_list"),
        (f"Enzymes help. {LINKS[LINKS.index('These resources from') :]}", "Enzymes help.", "link_list"),
        (
            "The Human Phenotype Ontology lists these resources.",
            "The Human Phenotype Ontology lists these resources.",
            None,
        ),
    ],
)
def test_the_prose_preset_removes_tables_and_link_lists(tmp_path, text, kept, rule):
    path = jsonl(tmp_path, text.replace(". ", ".\n   "), "Filler.")
    corpus = instantiate(compose("synthesize", "corpus=medquad_prose", f"corpus.path={path}").corpus, "corpus")
    texts = [passage.text for passage in corpus.passages()]
    assert texts == ([] if kept is None else [kept]) + ["Filler."]
    assert set(corpus.counts.boilerplate) == ({rule} if rule else set())
    assert corpus.counts.num_only_boilerplate == (kept is None)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (f"{HEADING} {TABLE} When?", f"{HEADING} Ataxia 90% Pain 7.5% Rash - When?"),
        (f"{HEADING} {TABLE}", f"{HEADING} Ataxia 90% Pain 7.5% Rash -"),
    ],
)
def test_the_preset_keeps_what_the_tables_list(tmp_path, text, kept):
    path = jsonl(tmp_path, text)
    corpus = instantiate(compose("synthesize", "corpus=medquad", f"corpus.path={path}").corpus, "corpus")
    assert [passage.text for passage in corpus.passages()] == [kept]


@pytest.mark.slow
def test_the_public_answers(shared_data):
    path = shared_data / "medquad" / "documents.jsonl"
    corpus = instantiate(compose("synthesize", "corpus=medquad", f"corpus.path={path}").corpus, "corpus")
    passages = list(corpus.passages())
    assert len({passage.id for passage in passages}) == len(passages)
    assert max(len(passage.text) for passage in passages) <= 1000
    assert not [passage.id for passage in passages if "number of patients (when available)" in passage.text]
    assert not [passage.id for passage in passages if passage.text.startswith("These resources")]
    counts = corpus.counts
    assert counts.num_documents == 10_819
    assert counts.boilerplate["phenotype_table"].num_documents == 2_243
    assert counts.boilerplate["link_list"] == Removal(1_086, counts.boilerplate["link_list"].num_chars)
    assert counts.num_only_boilerplate == 1_086 + 348 + 70
    assert counts.num_documents == counts.num_only_boilerplate + counts.num_duplicates + counts.num_kept
