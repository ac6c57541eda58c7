"""The diseases of the Human Phenotype Ontology, with a knowledge graph of their findings and genes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from medssr.errors import InputError
from medssr.knowledge.entities.orphanet import OrphanetDisease, OrphanetEntities
from medssr.knowledge.facts import Entity
from medssr.knowledge.graph.hpo import ANNOTATIONS, DATABASES, GENES, TERMS, read_hpo
from medssr.knowledge.graph.stored import FORMAT, read_graph, write_graph
from medssr.knowledge.graph.structure import FINDING, KnowledgeGraph
from medssr.knowledge.retrieval.stored_passages import cached_folder
from medssr.utils.files import hash_file

log = logging.getLogger(__name__)

_GRAPH = "graph.json"


class HpoEntities:
    """The diseases that a release of the ontology annotates with findings; it calls all of them rare.

    The release is read once; its graph is then kept in a folder that is named by the content of the files.

    Attributes:
        path: The folder of a release: hp.obo, phenotype.hpoa and genes_to_phenotype.txt.
        database: "orphanet" or "omim": whose diseases are taken.
        orphanet_path: Orphanet's entries as JSONL, for its names, genes, inheritance and onset; None: without these.
        index_dir: The folder in which graphs are kept.
        left_out: See `EntityList`.
    """

    def __init__(
        self, path: Path | str, database: str, orphanet_path: Path | str | None, index_dir: Path | str
    ) -> None:
        if database not in DATABASES:
            raise InputError(f"entities.database is {database}; expected one of {', '.join(DATABASES)}.")
        if orphanet_path is not None and database != "orphanet":
            raise InputError("entities.orphanet_path: Orphanet's entries are for entities.database=orphanet.")
        self.path = Path(path)
        self.database = database
        self.orphanet_path = None if orphanet_path is None else Path(orphanet_path)
        self.index_dir = Path(index_dir)
        self.left_out: Mapping[str, int] = {}

    def entities(self) -> list[Entity]:
        """Returns the diseases that have a finding, without facts, each name once.

        Raises:
            InputError: When the release, or a file of it, is absent or broken.
        """
        graph = self.graph()
        prefix = f"{DATABASES['orphanet']}:"
        entities: dict[str, Entity] = {}
        diseases = graph.of_kind("disease")
        for node in diseases:
            if any(not edge.is_excluded for edge in graph.edges_from(node.id, FINDING)):
                code = node.id.removeprefix(prefix) if node.id.startswith(prefix) else None
                entities.setdefault(node.name, Entity(node.name, True, node.synonyms, code))
        self.left_out = {"without a finding, or of the name of another": len(diseases) - len(entities)}
        return list(entities.values())

    def graph(self) -> KnowledgeGraph:
        """Returns the knowledge graph. Raises as `entities` does."""
        return self._graph

    @cached_property
    def _graph(self) -> KnowledgeGraph:
        files = {name: self.path / name for name in (TERMS, ANNOTATIONS, GENES)}
        for file in files.values():
            if not file.is_file():
                remedy = "pip install 'medssr[hpo]', or give entities.path=FOLDER of a release"
                raise InputError.at(file, f"there is no such file; {remedy} ({', '.join(files)}).")
        settings: dict[str, Any] = {
            "format": FORMAT,
            "database": self.database,
            "files": {name: hash_file(file) for name, file in files.items()},
            "orphanet": None if self.orphanet_path is None else hash_file(self.orphanet_path),
        }
        folder = cached_folder(self.index_dir, "graph", settings, self._build)
        return read_graph(folder / _GRAPH)

    def _build(self, folder: Path) -> dict[str, Any]:
        orphanet: dict[str, OrphanetDisease] | None = None
        if self.orphanet_path is not None:
            diseases = OrphanetEntities(self.orphanet_path, require_prevalence=False).diseases()
            orphanet = {str(disease.entity.orphacode): disease for disease in diseases}
        graph = read_hpo(self.path, self.database, orphanet)
        write_graph(folder / _GRAPH, graph)
        counts = {"version": graph.version, "num_nodes": len(graph.nodes), "num_edges": len(graph.edges)}
        log.info("read %s: %d nodes, %d edges", graph.version, len(graph.nodes), len(graph.edges))
        return counts
