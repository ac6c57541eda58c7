from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.helpers import ListCorpus, texts_corpus

from medssr.errors import InputError
from medssr.knowledge.corpora import Passage
from medssr.knowledge.retrieval import BM25Retriever, FusionRetriever, Ranking, store_passages
from medssr.knowledge.retrieval.combined import reciprocal_rank_fusion
from medssr.knowledge.retrieval.retriever import best_ranking

RANKINGS = st.lists(st.lists(st.integers(0, 30), unique=True), min_size=1, max_size=4)


def ranking(indices: list[int]) -> Ranking:
    return Ranking(np.array(indices, dtype=np.int64), np.linspace(1, 0, len(indices)))


def test_sums_are_worked_by_hand():
    fused = reciprocal_rank_fusion([ranking([4, 2]), ranking([2, 9, 4]), ranking([])], k=60, depth=10)
    assert fused.indices.tolist() == [2, 4, 9]
    assert fused.scores == pytest.approx([1 / 62 + 1 / 61, 1 / 61 + 1 / 63, 1 / 62])


@pytest.mark.slow
@given(RANKINGS, st.integers(0, 100))
def test_fusion_agrees_with_a_dictionary(lists, k):
    expected: dict[int, float] = {}
    for indices in lists:
        for rank, index in enumerate(indices, start=1):
            expected[index] = expected.get(index, 0.0) + 1 / (k + rank)
    fused = reciprocal_rank_fusion([ranking(indices) for indices in lists], k, depth=1000)
    assert dict(zip(fused.indices.tolist(), fused.scores.tolist(), strict=True)) == pytest.approx(expected)
    order = sorted(expected, key=lambda index: (-fused.scores[fused.indices.tolist().index(index)], index))
    assert fused.indices.tolist() == order


@pytest.mark.slow
@given(RANKINGS, st.integers(0, 20))
def test_less_depth_is_the_beginning_of_more(lists, depth):
    rankings = [ranking(indices) for indices in lists]
    whole = reciprocal_rank_fusion(rankings, 60, 1000).indices.tolist()
    assert reciprocal_rank_fusion(rankings, 60, depth).indices.tolist() == whole[:depth]


@pytest.mark.slow
@given(st.lists(st.integers(0, 5)), st.integers(0, 12))
def test_best_ranking_are_those_of_a_stable_sort(scores, depth):
    expected = sorted(range(len(scores)), key=lambda index: -scores[index])[:depth]
    assert best_ranking(np.array(scores, dtype=float), depth).indices.tolist() == expected


def names_and_texts(depth: int) -> FusionRetriever:
    return FusionRetriever(
        {field: BM25Retriever([field], 1.2, 0.75, False) for field in ("title", "text")}, k=60, depth=depth
    )


def test_a_passage_that_both_find_comes_first(tmp_path):
    corpus = ListCorpus(
        Passage("name", "Gout", "A toe."), Passage("text", "Toe", "Gout."), Passage("both", "Gout, again", "Gout, too.")
    )
    fused = names_and_texts(depth=10)
    fused.index(store_passages(corpus, tmp_path))
    hits = fused.search("gout", 5)
    assert [hit.passage.id for hit in hits] == ["both", "name", "text"]
    assert [hit.score for hit in hits] == pytest.approx([2 / 62, 1 / 61, 1 / 61])
    assert fused.report() == {"title": {"num_words": 2}, "text": {"num_words": 3}}


def test_only_the_first_passages_of_each_take_part(tmp_path):
    fused = names_and_texts(depth=2)
    fused.index(store_passages(ListCorpus(*(Passage(str(n), "x", "x") for n in range(9))), tmp_path))
    assert [hit.passage.id for hit in fused.search("x", 9)] == ["0", "1"]


@pytest.mark.parametrize(("retrievers", "k", "depth"), [({}, 60, 10), ({"a": None}, -1, 10), ({"a": None}, 60, 0)])
def test_wrong_settings_are_errors(retrievers, k, depth):
    with pytest.raises(InputError, match="retriever"):
        FusionRetriever(retrievers, k, depth)


def test_one_of_the_retrievers_without_words_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no word in title"):
        names_and_texts(depth=2).index(store_passages(texts_corpus("no titles"), tmp_path))
