"""A knowledge graph of diseases: typed nodes and edges, where they come from, and how well a disease fits a patient.

`structure` has the records, `from_facts` and `hpo` build graphs, `stored` keeps one on disk, `profiles` computes
information content, similarity of diseases and the likelihood of findings.
"""

from medssr.knowledge.graph.from_facts import graph_from_facts
from medssr.knowledge.graph.profiles import Evidence, Profiles
from medssr.knowledge.graph.structure import AGES, Age, Edge, KnowledgeGraph, Node, disease_id

__all__ = [
    "AGES",
    "Age",
    "Edge",
    "Evidence",
    "KnowledgeGraph",
    "Node",
    "Profiles",
    "disease_id",
    "graph_from_facts",
]
