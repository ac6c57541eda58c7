from __future__ import annotations

import math
from collections import Counter

import pytest

from medssr.errors import InputError
from medssr.knowledge.corpora import BuiltinCorpus, Passage
from medssr.knowledge.facts import builtin_rare_diseases
from medssr.knowledge.retrieval import BM25Retriever, tokenize


def retriever(*texts: str, k1: float = 1.2, b: float = 0.75) -> BM25Retriever:
    result = BM25Retriever(k1, b)
    result.index(Passage(str(number), "", text) for number, text in enumerate(texts))
    return result


def ids(hits):
    return [hit.passage.id for hit in hits]


def test_tokens_keep_single_letters_and_lose_case_and_diacritics():
    assert tokenize("Hepatitis B, vitamin D; TYPE 2") == ["hepatitis", "b", "vitamin", "d", "type", "2"]
    assert tokenize("Behçet Sjögren") == ["behcet", "sjogren"]


def test_one_letter_words_decide_between_passages():
    found = retriever("hepatitis A virus", "hepatitis B virus", "hepatitis C virus")
    assert ids(found.search("Hepatitis B", 1)) == ["1"]
    assert ids(found.search("hepatitis c", 1)) == ["2"]


def test_titles_are_searched_and_diacritics_do_not_matter():
    found = BM25Retriever(1.2, 0.75)
    found.index([Passage("1", "Behçet disease", "Mouth ulcers."), Passage("2", "Gout", "A swollen toe.")])
    assert ids(found.search("behcet", 5)) == ["1"]


def test_passages_that_share_no_word_are_no_hits():
    found = retriever("liver", "heart", "liver heart")
    assert ids(found.search("liver", 10)) == ["0", "2"]
    assert found.search("kidney", 10) == []
    assert found.search("", 10) == []
    assert found.search("?!", 10) == []
    assert found.search("liver", 0) == []


def test_equal_scores_keep_the_order_of_the_corpus_for_every_top_k():
    found = retriever(*["same words here"] * 6, "same")
    everything = ids(found.search("same words", 10))
    assert everything == ["0", "1", "2", "3", "4", "5", "6"]
    for top_k in range(1, 8):
        assert ids(found.search("same words", top_k)) == everything[:top_k]


def test_scores_are_bm25_worked_by_hand():
    texts = ["liver liver cell", "liver", "heart cell wall stone"]
    k1, b, query = 1.2, 0.75, "liver cell"
    lengths = [len(text.split()) for text in texts]
    frequency = Counter(word for text in texts for word in set(text.split()))

    def score(text: str) -> float:
        total = 0.0
        for word in query.split():
            count = text.split().count(word)
            weight = math.log(1 + (len(texts) - frequency[word] + 0.5) / (frequency[word] + 0.5))
            norm = k1 * (1 - b + b * len(text.split()) / (sum(lengths) / len(lengths)))
            total += weight * count / (count + norm)
        return total

    hits = retriever(*texts, k1=k1, b=b).search(query, 3)
    expected = {str(number): score(text) for number, text in enumerate(texts)}
    assert ids(hits) == sorted(expected, key=expected.__getitem__, reverse=True)
    for hit in hits:
        assert hit.score == pytest.approx(expected[hit.passage.id], rel=1e-5)


def test_indexing_again_replaces_the_passages_and_prints_nothing(capsys):
    found = retriever("liver")
    found.index([Passage("new", "", "heart")])
    assert found.search("liver", 1) == []
    assert ids(found.search("heart", 1)) == ["new"]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("passages", [[], [Passage("1", "...", "!")]])
def test_a_corpus_without_words_is_an_error(passages):
    with pytest.raises(InputError, match="no word"):
        BM25Retriever(1.2, 0.75).index(passages)


def test_searching_before_indexing_is_a_fault_of_the_program():
    with pytest.raises(RuntimeError, match="index"):
        BM25Retriever(1.2, 0.75).search("liver", 1)


def test_every_builtin_disease_finds_its_own_passage():
    found = BM25Retriever(1.2, 0.75)
    found.index(BuiltinCorpus().passages())
    for entity in builtin_rare_diseases():
        if entity.facts:
            assert entity.name in {hit.passage.title for hit in found.search(entity.name, 3)}
