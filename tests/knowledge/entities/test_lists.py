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
        (b"Beh\xe7et", "not UTF-8"),
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
