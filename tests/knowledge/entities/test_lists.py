from __future__ import annotations

import pytest

from medssr.errors import InputError
from medssr.knowledge.entities import BuiltinEntities, ListEntities
from medssr.knowledge.facts import Entity, builtin_rare_diseases


def test_builtin_entities_are_the_rare_table():
    entities = BuiltinEntities().entities()
    assert entities == builtin_rare_diseases()
    assert all(entity.is_rare for entity in entities)


def test_list_entities_reads_one_name_a_line(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("\ufeffFabry disease\n\n  Behçet disease \n", encoding="utf-8")
    assert ListEntities(path).entities() == [Entity("Fabry disease", True), Entity("Behçet disease", True)]


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "holds no name"),
        (b"\n \n", "holds no name"),
        (b"Fabry\nGaucher\nfabry\n", 'line 3: "fabry" is on line 1 already'),
        (b"Fabry\0disease", "NUL"),
        (b"OBSOLETE: Fabry disease\n", "left out: 1 obsolete"),
        (b"\xef\xbb\xbfname;orphacode\nFabry disease;324\n", "line 1: is the header of a table"),
    ],
)
def test_list_faults_are_named(tmp_path, content, part):
    path = tmp_path / "names.txt"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        ListEntities(path).entities()
    assert str(path) in str(caught.value)
    assert part in str(caught.value)


def test_an_absent_list_is_named(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        ListEntities(tmp_path / "none.txt").entities()


def test_names_that_are_obsolete_or_not_rare_are_left_out_and_counted(tmp_path):
    path = tmp_path / "names.txt"
    path.write_bytes(
        "Fabry disease\nobsolete Pompe disease\nNON RARE IN EUROPE: Gout\nBehçet disease\n".encode("cp1252")
    )
    names = ListEntities(path)
    assert [entity.name for entity in names.entities()] == ["Fabry disease", "Behçet disease"]
    assert names.left_out == {"obsolete": 1, "not rare in Europe": 1}


@pytest.mark.parametrize("name", ["names.jsonl", "mondo.obo", "mondo.owl", "names.parquet"])
def test_a_file_of_another_form_is_no_list_of_names(tmp_path, name):
    (tmp_path / name).write_text("Fabry disease\n")
    with pytest.raises(InputError, match="is no plain list"):
        ListEntities(tmp_path / name).entities()
