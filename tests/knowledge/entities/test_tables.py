from __future__ import annotations

import json

import pytest

from medssr.errors import InputError
from medssr.knowledge.entities import MondoEntities, TableEntities
from medssr.knowledge.entities.left_out import reason_of_name, valid_synonyms
from medssr.knowledge.facts import Entity

CSV = 'name,aka,share\nFabry disease,"AFD; Anderson disease",2\n"Behçet disease, adult",,0.5\n'
EXPECTED = [
    Entity("Fabry disease", True, ("AFD", "Anderson disease"), weight=2.0),
    Entity("Behçet disease, adult", True, weight=0.5),
]


def table(path, content, **options):
    path.write_text(content, encoding="utf-8")
    settings = {"name_field": "name", "synonyms_field": "aka", "separator": ";", "weight_field": "share"} | options
    return TableEntities(path, **settings).entities()


def test_csv_tsv_and_jsonl_are_read_alike(tmp_path):
    rows = [
        {"name": "Fabry disease", "aka": ["AFD", "Anderson disease"], "share": 2},
        {"name": "Behçet disease, adult", "aka": None, "share": "0.5"},
    ]
    tsv = "name\taka\tshare\nFabry disease\tAFD;Anderson disease\t2\nBehçet disease, adult\t\t0.5\n"
    assert table(tmp_path / "a.csv", CSV) == EXPECTED
    assert table(tmp_path / "b.csv", "\ufeff" + CSV.replace("\n", "\r\n")) == EXPECTED
    assert table(tmp_path / "a.tsv", tsv) == EXPECTED
    assert table(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows)) == EXPECTED


def test_columns_that_are_not_asked_for_do_not_count(tmp_path):
    entities = table(tmp_path / "a.csv", CSV, synonyms_field=None, weight_field=None)
    assert entities == [Entity("Fabry disease", True), Entity("Behçet disease, adult", True)]


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("", ["holds no disease"]),
        ("name,aka,share\n", ["holds no disease"]),
        ("label,aka,share\nFabry,,1\n", ["line 2", 'field "name"', "label, aka, share"]),
        ("name,aka,share\n,,1\n", ["line 2", 'field "name"', "expected a name"]),
        ("name,aka,share\nFabry,,1\n\nFabry,,1\n", ["line 4", "on line 2 already"]),
        ("name,aka,share\nFabry,,\n", ["line 2", 'field "share"', "above 0"]),
        ("name,aka,share\nFabry,,0\n", ["line 2", 'field "share"', "'0'"]),
        ("name,aka,share\nFabry,,nan\n", ["line 2", 'field "share"']),
        ("name,aka,share\nFabry,,many\n", ["line 2", 'field "share"', "'many'"]),
        ("name,aka,share\nFabry\n", ["line 2", 'field "share"', "None"]),
        ('name,aka,share\n"Fabry,,1\nPompe,,1\n', ["no valid table"]),
    ],
)
def test_faults_name_file_line_and_column(tmp_path, content, parts):
    with pytest.raises(InputError) as caught:
        table(tmp_path / "a.csv", content)
    for part in ["a.csv", *parts]:
        assert part in str(caught.value)


@pytest.mark.parametrize("aka", [7, ["a", 7], {"a": 1}])
def test_other_names_of_another_kind_are_a_fault(tmp_path, aka):
    with pytest.raises(InputError, match='line 1, field "aka"'):
        table(tmp_path / "a.jsonl", json.dumps({"name": "Fabry", "aka": aka, "share": 1}))


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        TableEntities(tmp_path / "none.csv", "name", None, ";", None).entities()
    (tmp_path / "a.xlsx").write_bytes(b"PK\x03\x04")
    with pytest.raises(InputError, match=r'ending "\.xlsx"'):
        TableEntities(tmp_path / "a.xlsx", "name", None, ";", None).entities()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", 'name;aka;share\r\nFabry disease;AFD;2\r\n"Behçet disease, adult";;0.5\r\n'.encode("cp1252")),
        ("a.csv", 'sep=;\nname;aka;share\n"Fabry disease";AFD;2\nBehçet disease, adult;;0.5\n'.encode()),
        ("a.csv", "name\taka\tshare\nFabry disease\tAFD\t2\nBehçet disease, adult\t\t0.5\n".encode("utf-16")),
        ("a.tsv", 'name\taka\tshare\n"Fabry disease"\t"AFD"\t2\n"Behçet disease, adult"\t\t0.5\n'.encode()),
        ("a.csv", "name|aka|share\nFabry disease|AFD|2\nBehçet disease, adult||0.5\n".encode()),
    ],
    ids=["semicolon cp1252", "Excel's sep line", "Unicode text", "quoted tab", "bar"],
)
def test_tables_of_spreadsheets_are_read(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert TableEntities(tmp_path / name, "name", "aka", ";", "share").entities() == [
        Entity("Fabry disease", True, ("AFD",), weight=2.0),
        EXPECTED[1],
    ]


def test_a_row_with_too_many_cells_is_a_fault(tmp_path):
    with pytest.raises(InputError, match=r"line 3: has 4 cells, but there are 3 columns"):
        table(tmp_path / "a.csv", "name,aka,share\nFabry,,1\nPompe, adult,,1\n")


REPORT = (
    "ID\tLABEL\tSYNONYMS\n"
    "MONDO:0000005\talopecia, isolated\t\n"
    "MONDO:0010526\tFabry disease\tAFD|Anderson-Fabry disease|AFD\n"
    'MONDO:0000044\thereditary rickets\t"rickets" of old|"x\n'
)  # fmt: skip
# The second line is for the program that reads the template; the rows are shorter than the header.
GARD = (
    "mondo_id\ttype\tgard_id\tsource_external\tsubset\n"
    "ID\tTYPE\tA oboInOwl:hasDbXref\t>A oboInOwl:source\tAI oboInOwl:inSubset\n"
    "MONDO:0010526\towl:Class\tGARD:6400\thttp://purl.obolibrary.org/obo/mondo#gard_rare\n"
    "MONDO:9999999\towl:Class\tGARD:1\thttp://purl.obolibrary.org/obo/mondo#gard_rare\n"
)


def mondo(tmp_path, gard=None):
    (tmp_path / "report.tsv").write_text(REPORT)
    if gard is None:
        return MondoEntities(tmp_path / "report.tsv", None).entities()
    (tmp_path / "gard.tsv").write_text(gard)
    return MondoEntities(tmp_path / "report.tsv", tmp_path / "gard.tsv").entities()


def test_mondo_s_report_is_read(tmp_path):
    assert mondo(tmp_path) == [
        Entity("alopecia, isolated", True),
        Entity("Fabry disease", True, ("AFD", "Anderson-Fabry disease")),
        Entity("hereditary rickets", True, ('"rickets" of old', '"x')),
    ]


def test_gard_s_subset_takes_its_diseases_with_mondo_s_names(tmp_path):
    assert [entity.name for entity in mondo(tmp_path, GARD)] == ["Fabry disease"]


def test_a_subset_without_a_common_disease_is_a_fault(tmp_path):
    with pytest.raises(InputError, match=r'gard\.tsv.*"mondo_id"'):
        mondo(tmp_path, "gard_id\n1\n")


def test_template_rows_and_obsolete_terms_are_left_out_and_counted(tmp_path):
    (tmp_path / "report.tsv").write_text(
        "ID\tLABEL\tSYNONYMS\n"
        "ID\tLABEL\tA oboInOwl:hasExactSynonym SPLIT=|\n"
        "MONDO:1\tobsolete Fabry disease\t\n"
        "MONDO:2\tPompe disease\tGSD II\n"
    )
    entities = MondoEntities(tmp_path / "report.tsv", None)
    assert entities.entities() == [Entity("Pompe disease", True, ("GSD II",))]
    assert entities.left_out == {"obsolete": 1, "row of a ROBOT template": 1}


OBO = """format-version: 1.2
ontology: mondo

[Term]
id: MONDO:0010526
name: Fabry disease
subset: gard_rare {source="GARD:6400"}
synonym: "Anderson-Fabry \\"disease\\"" EXACT [OMIM:301500]
synonym: "angiokeratoma" RELATED []

[Term]
id: MONDO:0005148
name: type 2 diabetes mellitus
subset: otar

[Term]
id: MONDO:0000001
name: obsolete Tay disease
subset: rare
is_obsolete: true

[Term]
id: MONDO:0009290
name: Pompe disease
subset: rare

[Typedef]
id: part_of
name: part of
"""


def test_the_rare_terms_of_an_obo_file_are_read(tmp_path):
    (tmp_path / "mondo.obo").write_text(OBO)
    entities = MondoEntities(tmp_path / "mondo.obo", None)
    assert entities.entities() == [
        Entity("Fabry disease", True, ('Anderson-Fabry "disease"',)),
        Entity("Pompe disease", True),
    ]
    assert entities.left_out == {"obsolete": 1, 'without a subset that says it is rare ("rare", "gard_rare" ...)': 1}
    (tmp_path / "gard.tsv").write_text(GARD)
    assert [item.name for item in MondoEntities(tmp_path / "mondo.obo", tmp_path / "gard.tsv").entities()] == [
        "Fabry disease"
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "mondo.obo",
            "format-version: 1.2\n\n[Term]\nid: MONDO:1\nname: Fabry disease\n",
            "OBO file.*new-rare-diseases.tsv",
        ),
        ("mondo.obo", "<rdf>", "is no OBO file"),
        ("mondo.owl", "<rdf>", "ontology as OWL; take"),
    ],
)
def test_ontologies_that_do_not_say_what_is_rare_are_refused(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        MondoEntities(tmp_path / name, None).entities()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Obsolete: X", "obsolete"),
        ("DEPRECATED: X", "obsolete"),
        ("X (deprecated)", "obsolete"),
        ("non rare in europe: Gout", "not rare in Europe"),
        ("Not rare in Europe: Gout", "not rare in Europe"),
        ("Gout [Non Rare in Europe]", "not rare in Europe"),
        ("Rare non-syndromic deafness", None),
        ("Norrie disease", None),
    ],
)
def test_a_name_that_says_that_it_is_out_of_use_or_not_rare(tmp_path, name, reason):
    assert reason_of_name(name) == reason
    assert valid_synonyms([name, "GSD2"]) == ((name, "GSD2") if reason is None else ("GSD2",))
