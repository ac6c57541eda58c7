from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.helpers import ListCorpus, texts_corpus

from medssr.errors import InputError
from medssr.knowledge.corpora import Passage
from medssr.knowledge.retrieval import BM25Retriever, FusionRetriever, Ranking, store_passages
from medssr.knowledge.retrieval.fusion import reciprocal_rank_fusion
from medssr.knowledge.retrieval.types import best_places

RANKINGS = st.lists(st.lists(st.integers(0, 30), unique=True), min_size=1, max_size=4)


def ranking(places: list[int]) -> Ranking:
    return Ranking(np.array(places, dtype=np.int64), np.linspace(1, 0, len(places)))


def test_sums_are_worked_by_hand():
    fused = reciprocal_rank_fusion([ranking([4, 2]), ranking([2, 9, 4]), ranking([])], k=60, depth=10)
    assert fused.places.tolist() == [2, 4, 9]
    assert fused.scores == pytest.approx([1 / 62 + 1 / 61, 1 / 61 + 1 / 63, 1 / 62])


@given(RANKINGS, st.integers(0, 100))
def test_fusion_agrees_with_a_dictionary(lists, k):
    expected: dict[int, float] = {}
    for places in lists:
        for rank, place in enumerate(places, start=1):
            expected[place] = expected.get(place, 0.0) + 1 / (k + rank)
    fused = reciprocal_rank_fusion([ranking(places) for places in lists], k, depth=1000)
    assert dict(zip(fused.places.tolist(), fused.scores.tolist(), strict=True)) == pytest.approx(expected)
    order = sorted(expected, key=lambda place: (-fused.scores[fused.places.tolist().index(place)], place))
    assert fused.places.tolist() == order


@given(RANKINGS, st.integers(0, 20))
def test_less_depth_is_the_beginning_of_more(lists, depth):
    rankings = [ranking(places) for places in lists]
    whole = reciprocal_rank_fusion(rankings, 60, 1000).places.tolist()
    assert reciprocal_rank_fusion(rankings, 60, depth).places.tolist() == whole[:depth]


@given(st.lists(st.integers(0, 5)), st.integers(0, 12))
def test_best_places_are_those_of_a_stable_sort(scores, depth):
    expected = sorted(range(len(scores)), key=lambda place: -scores[place])[:depth]
    assert best_places(np.array(scores, dtype=float), depth).places.tolist() == expected


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
