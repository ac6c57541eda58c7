"""Corpora: where the passages that a retriever searches come from.

A reader (`JsonlCorpus`, `MedQuadCorpus`, `HuggingFaceCorpus` ...) yields whole documents. `DocumentCorpus`, which all
share, turns them into passages: `Cleaning` takes out boilerplate and exact duplicates, `split_text` cuts long texts at
sentence ends, and `CorpusCounts` says how much was read, removed and kept.
"""

from medssr.knowledge.corpora.builtin import BuiltinCorpus
from medssr.knowledge.corpora.cleaning import Cleaning
from medssr.knowledge.corpora.documents import Corpus, CorpusCounts, DocumentCorpus, Passage, Removal, SeveralCorpora
from medssr.knowledge.corpora.medquad import MedQuadCorpus
from medssr.knowledge.corpora.named_fields import HuggingFaceCorpus, JsonlCorpus
from medssr.knowledge.corpora.sentences import split_sentences, split_text

__all__ = [
    "BuiltinCorpus",
    "Cleaning",
    "Corpus",
    "CorpusCounts",
    "DocumentCorpus",
    "HuggingFaceCorpus",
    "JsonlCorpus",
    "MedQuadCorpus",
    "Passage",
    "Removal",
    "SeveralCorpora",
    "split_sentences",
    "split_text",
]
