"""A knowledge graph in a file: JSON with the format's number, the graph's version, its nodes and its edges."""

from __future__ import annotations

import json
from dataclasses import astuple
from pathlib import Path
from typing import Any

from medssr.knowledge.graph.structure import Edge, KnowledgeGraph, Node
from medssr.utils.files import write_lines_atomically

# Counts up when the layout of the file, or what a graph is made of, changes.
FORMAT = 1


def write_graph(path: Path, graph: KnowledgeGraph) -> None:
    """Writes the graph, whole or not at all."""
    record = {
        "format": FORMAT,
        "version": graph.version,
        "nodes": [astuple(node) for node in graph.nodes.values()],
        "edges": [astuple(edge) for edge in graph.edges],
    }
    write_lines_atomically(path, [json.dumps(record)])


def read_graph(path: Path) -> KnowledgeGraph:
    """Returns the graph of a file that `write_graph` wrote."""
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    assert record["format"] == FORMAT, path
    nodes = (Node(name, kind, text, tuple(synonyms)) for name, kind, text, synonyms in record["nodes"])
    return KnowledgeGraph(nodes, (Edge(*values) for values in record["edges"]), record["version"])
