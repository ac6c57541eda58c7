from __future__ import annotations

import json

import pytest

from medssr.errors import InputError
from medssr.knowledge.facts import Entity, Fact, read_fact_table, relations


def table(tmp_path, *records):
    path = tmp_path / "table.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return read_fact_table(path)


def test_every_relation_has_wordings_that_can_be_filled():
    for relation in relations().values():
        assert len(relation.stems) >= 2
        assert len(set(relation.stems)) == len(relation.stems)
        assert relation.evaluation_stem not in relation.stems
        for stem in [*relation.stems, relation.evaluation_stem]:
            assert "NAME" in stem.format(entity="NAME")
            assert stem.endswith("?")
        statement = relation.statement.format(entity="NAME", value="VALUE")
        assert "NAME" in statement
        assert "VALUE" in statement
        assert statement.endswith(".")


def test_reads_a_table(tmp_path):
    facts = {
        "gene": {"value": "GLA", "source": "ORPHA:324"},
        "organ": {"value": "kidney", "source": "x", "also_true": ["skin"]},
    }
    (entity,) = table(tmp_path, {"name": "Fabry disease", "is_rare": True, "orphacode": "324", "facts": facts})
    expected = (Fact("gene", "GLA", "ORPHA:324"), Fact("organ", "kidney", "x", also_true=("skin",)))
    assert entity == Entity("Fabry disease", True, orphacode="324", facts=expected)


@pytest.mark.parametrize(
    ("record", "parts"),
    [
        ({"is_rare": True, "facts": {}}, ["line 1", 'field "name"', "missing"]),
        ({"name": "X", "facts": {}}, ["line 1", 'field "is_rare"', "missing"]),
        ({"name": "X", "is_rare": True}, ["line 1", 'field "facts"', "missing"]),
        (
            {"name": "X", "is_rare": True, "facts": {"colour": {"value": "a", "source": "b"}}},
            ["line 1", 'field "facts"', "colour", "gene"],
        ),
    ],
)
def test_faults_name_file_line_and_field(tmp_path, record, parts):
    with pytest.raises(InputError) as caught:
        table(tmp_path, record)
    for part in ["table.jsonl", *parts]:
        assert part in str(caught.value)


def test_an_empty_table_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no disease"):
        table(tmp_path)
