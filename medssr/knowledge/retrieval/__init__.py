"""Retrieval: the passages of a corpus that match a query best.

`passages` keeps a corpus on disk, `cache` keeps what was computed from it, and each retriever has a module: `bm25`,
`dense`, `fusion` (of any retrievers) and `rerank` (of the first passages of any retriever).
"""

from medssr.knowledge.retrieval.bm25 import BM25Retriever
from medssr.knowledge.retrieval.dense import DenseRetriever
from medssr.knowledge.retrieval.fusion import FusionRetriever
from medssr.knowledge.retrieval.passages import StoredPassages, store_passages
from medssr.knowledge.retrieval.rerank import RerankRetriever
from medssr.knowledge.retrieval.types import Hit, Ranking, Retriever
from medssr.knowledge.retrieval.words import tokenize

__all__ = [
    "BM25Retriever",
    "DenseRetriever",
    "FusionRetriever",
    "Hit",
    "Ranking",
    "RerankRetriever",
    "Retriever",
    "StoredPassages",
    "store_passages",
    "tokenize",
]
