"""Corpora: where the passages that a retriever searches come from.

A reader (`JsonlCorpus`, `MedQuadCorpus`, `HuggingFaceCorpus` ...) yields whole documents. `DocumentCorpus`, which all
share, turns them into passages: `Cleaning` takes out boilerplate and exact duplicates, `split_text` cuts long texts at
sentence ends, and `CorpusCounts` says how much was read, removed and kept.
"""

from medssr.knowledge.corpora.builtin import BuiltinCorpus
from medssr.knowledge.corpora.cleaning import Cleaning
from medssr.knowledge.corpora.documents import CorpusCounts, DocumentCorpus, Removal
from medssr.knowledge.corpora.huggingface import HuggingFaceCorpus
from medssr.knowledge.corpora.jsonl import JsonlCorpus
from medssr.knowledge.corpora.medquad import MedQuadCorpus
from medssr.knowledge.corpora.passages import Corpus, Passage
from medssr.knowledge.corpora.sentences import split_sentences, split_text
from medssr.knowledge.corpora.several import SeveralCorpora

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
