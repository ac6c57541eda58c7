"""Entity lists: the diseases that knowledge-injected questions are about, and the order in which they are drawn."""

from medssr.knowledge.entities.coverage import EntityCoverage, entity_coverage
from medssr.knowledge.entities.held_out import in_split, is_held_out
from medssr.knowledge.entities.hpo import HpoEntities
from medssr.knowledge.entities.lists import BuiltinEntities, EntityList, ListEntities, MondoEntities, TableEntities
from medssr.knowledge.entities.orphanet import (
    DISEASE_TYPES,
    PREVALENCE_IS_RARE,
    UNKNOWN_PREVALENCE,
    OrphanetDisease,
    OrphanetEntities,
)
from medssr.knowledge.entities.orphanet_ghr import MergeCounts, OrphanetGhrEntities, merge_ghr
from medssr.knowledge.entities.sampler import EntitySampler

__all__ = [
    "DISEASE_TYPES",
    "PREVALENCE_IS_RARE",
    "UNKNOWN_PREVALENCE",
    "BuiltinEntities",
    "EntityCoverage",
    "EntityList",
    "EntitySampler",
    "HpoEntities",
    "ListEntities",
    "MergeCounts",
    "MondoEntities",
    "OrphanetDisease",
    "OrphanetEntities",
    "OrphanetGhrEntities",
    "TableEntities",
    "entity_coverage",
    "in_split",
    "is_held_out",
    "merge_ghr",
]
