from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.encoders import VOCABULARY, random_encoder
from support.helpers import ListCorpus
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from medssr.errors import InputError
from medssr.knowledge.corpora import Passage
from medssr.knowledge.retrieval import BM25Retriever, RerankRetriever, store_passages

CORPUS = ListCorpus(*(Passage(str(n), f"gout {word}", f"{word} toe " * (n % 4)) for n, word in enumerate(VOCABULARY)))


@pytest.fixture(scope="module")
def cross_encoder_path(tmp_path_factory) -> Path:
    return random_encoder(tmp_path_factory.mktemp("cross_encoder"), seed=0, is_classifier=True)


def rerank(path: Path | str, num_candidates: int, max_length: int = 32) -> RerankRetriever:
    return RerankRetriever(
        BM25Retriever(["title", "text"], 1.2, 0.75, False), str(path), num_candidates, max_length, batch_size=4
    )


def by_hand(path: Path, query: str, passage: Passage) -> float:
    batch = AutoTokenizer.from_pretrained(path)(query, f"{passage.title}. {passage.text}", return_tensors="pt")
    with torch.inference_mode():
        return float(AutoModelForSequenceClassification.from_pretrained(path)(**batch).logits[0, 0])


@pytest.mark.slow
def test_candidates_come_in_the_order_of_scores_of_pairs_read_alone(cross_encoder_path, tmp_path):
    stored = store_passages(CORPUS, tmp_path)
    retriever = rerank(cross_encoder_path, num_candidates=10)
    retriever.index(stored)
    candidates = retriever.retriever.search("gout toe", 10)
    expected = {hit.passage.id: by_hand(cross_encoder_path, "gout toe", hit.passage) for hit in candidates}
    hits = retriever.search("gout toe", 30)
    assert {hit.passage.id: hit.score for hit in hits} == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert [hit.passage.id for hit in hits] == sorted(expected, key=lambda name: -expected[name])
    assert [hit.passage.id for hit in hits] != [hit.passage.id for hit in candidates]
    assert retriever.search("gout toe", 3) == hits[:3]


def test_what_is_cut_off_is_counted(cross_encoder_path, tmp_path):
    retriever = rerank(cross_encoder_path, num_candidates=4, max_length=8)
    retriever.index(store_passages(ListCorpus(Passage("1", "gout", "toe"), Passage("2", "gout", "toe " * 9)), tmp_path))
    retriever.search("gout", 4)
    report = retriever.report()
    assert (report["num_pairs"], report["num_truncated_pairs"]) == (2, 1)
    assert report["retriever"] == {"num_words": 2}


def test_nothing_found_is_nothing_read(cross_encoder_path, tmp_path):
    retriever = rerank(cross_encoder_path, num_candidates=4)
    retriever.index(store_passages(CORPUS, tmp_path))
    assert retriever.search("sevoflurane", 4) == []
    assert retriever.report()["num_pairs"] == 0


def test_wrong_settings_are_errors(cross_encoder_path, tmp_path):
    with pytest.raises(InputError, match="num_candidates"):
        rerank(cross_encoder_path, num_candidates=0)
    with pytest.raises(InputError, match="cross_encoder_path"):
        rerank(tmp_path, num_candidates=1).index(store_passages(CORPUS, tmp_path))
