from __future__ import annotations

from medssr.knowledge.facts import Entity, Fact, builtin_common_diseases, builtin_rare_diseases
from medssr.knowledge.graph import graph_from_facts
from medssr.knowledge.graph.stored import read_graph, write_graph

FABRY = Entity(
    "Fabry disease",
    True,
    orphacode="324",
    facts=(
        Fact("gene", "GLA", "ORPHA:324", also_true=("GLB1",)),
        Fact("finding", "Angiokeratoma", "GHR:1", also_true=("Corneal clouding",)),
        Fact("disease_of_gene", "Fabry disease", "ORPHA:324", subject="GLA"),
    ),
)
GOUT = Entity("Gout", False, facts=(Fact("finding", "corneal clouding", "x"),))


def test_facts_are_edges_and_values_that_are_spelt_alike_are_one_node():
    graph = graph_from_facts([FABRY, GOUT])
    assert [(edge.head, edge.relation, edge.tail, edge.source) for edge in graph.edges] == [
        ("ORPHA:324", "gene", "gene:GLA", "ORPHA:324"),
        ("ORPHA:324", "finding", "finding:angiokeratoma", "GHR:1"),
        ("ORPHA:324", "finding", "finding:corneal clouding", "GHR:1"),
        ("disease:gout", "finding", "finding:corneal clouding", "x"),
    ]
    assert graph.nodes["finding:corneal clouding"].name == "Corneal clouding"
    assert [node.name for node in graph.of_kind("disease")] == ["Fabry disease", "Gout"]


def test_a_stored_graph_is_the_same_when_read(tmp_path):
    graph = graph_from_facts([*builtin_rare_diseases(), *builtin_common_diseases()])
    write_graph(tmp_path / "graph.json", graph)
    read = read_graph(tmp_path / "graph.json")
    assert (read.nodes, read.edges, read.version) == (graph.nodes, graph.edges, graph.version)
