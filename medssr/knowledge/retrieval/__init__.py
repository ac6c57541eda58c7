"""Retrieval: the passages of a corpus that match a query best.

`stored_passages` keeps a corpus on disk, with what was computed from it; `retriever` is the base class of all
retrievers; `bm25` and `dense` search by words and by vectors; `combined` fuses or re-ranks what others return.
"""

from medssr.knowledge.retrieval.bm25 import BM25Retriever, tokenize
from medssr.knowledge.retrieval.combined import FusionRetriever, RerankRetriever
from medssr.knowledge.retrieval.dense import DenseRetriever
from medssr.knowledge.retrieval.retriever import Hit, Ranking, Retriever
from medssr.knowledge.retrieval.stored_passages import StoredPassages, store_passages

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
