from __future__ import annotations

import math
from collections import Counter

import pytest
from support.helpers import ListCorpus, texts_corpus

from medssr.errors import InputError
from medssr.knowledge.corpora import BuiltinCorpus, Corpus, Passage
from medssr.knowledge.facts import builtin_rare_diseases
from medssr.knowledge.retrieval import BM25Retriever, store_passages


@pytest.fixture
def searchable(tmp_path):
    """Builds a retriever of a corpus."""

    def make(corpus: Corpus, fields=("title", "synonyms", "text"), k1=1.2, b=0.75, corrects_spelling=False):
        retriever = BM25Retriever(list(fields), k1, b, corrects_spelling)
        retriever.index(store_passages(corpus, tmp_path))
        return retriever

    return make


def ids(hits):
    return [hit.passage.id for hit in hits]


def test_one_letter_words_decide_between_passages(searchable):
    retriever = searchable(texts_corpus("hepatitis A virus", "hepatitis B virus", "hepatitis C virus"))
    assert ids(retriever.search("Hepatitis A", 1)) == ["0"]
    assert ids(retriever.search("Hepatitis B", 1)) == ["1"]
    assert ids(retriever.search("hepatitis c", 1)) == ["2"]


def test_case_diacritics_plurals_and_possessives_do_not_matter(searchable):
    retriever = searchable(texts_corpus("Behçet's diseases", "Gout"))
    for query in ("behcet", "BEHÇET", "Behçets", "disease"):
        assert ids(retriever.search(query, 5)) == ["0"]


def test_only_the_chosen_texts_are_searched(searchable):
    corpus = ListCorpus(Passage("1", "Gout", "A swollen toe.", synonyms=("Podagra", "Uric arthritis")))
    for field, word in (("title", "gout"), ("text", "toe"), ("synonyms", "arthritis")):
        for other in ("gout", "toe", "arthritis"):
            assert ids(searchable(corpus, [field]).search(other, 5)) == (["1"] if other == word else [])
    assert ids(searchable(corpus).search("arthritis", 5)) == ["1"]


def test_passages_that_share_no_word_are_no_hits(searchable):
    retriever = searchable(texts_corpus("liver", "heart", "liver heart", ""))
    assert ids(retriever.search("liver", 10)) == ["0", "2"]
    for query in ("kidney", "", "?!", "what is it"):
        assert retriever.search(query, 10) == []
    assert retriever.search("liver", 0) == []


def test_equal_scores_keep_the_order_of_the_corpus_for_every_top_k(searchable):
    retriever = searchable(texts_corpus(*["liver cell stone"] * 6, "liver"))
    everything = ids(retriever.search("liver cell", 10))
    assert everything == ["0", "1", "2", "3", "4", "5", "6"]
    for top_k in range(1, 8):
        assert ids(retriever.search("liver cell", top_k)) == everything[:top_k]


def test_scores_are_bm25_worked_by_hand(searchable):
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

    hits = searchable(texts_corpus(*texts), k1=k1, b=b).search(query, 3)
    expected = {str(number): score(text) for number, text in enumerate(texts)}
    assert ids(hits) == sorted(expected, key=expected.__getitem__, reverse=True)
    for hit in hits:
        assert hit.score == pytest.approx(expected[hit.passage.id], rel=1e-5)


def test_a_word_of_the_query_counts_once(searchable):
    retriever = searchable(texts_corpus("drug drug", "interaction of carvedilol"))
    once, often = (retriever.search(query, 2) for query in ("drug carvedilol", "drug-drug carvedilol drugs"))
    assert once == often


def test_indexing_again_replaces_the_passages_and_prints_nothing(searchable, tmp_path, capsys):
    retriever = searchable(texts_corpus("liver"))
    retriever.index(store_passages(ListCorpus(Passage("new", "", "heart")), tmp_path))
    assert retriever.search("liver", 1) == []
    assert ids(retriever.search("heart", 1)) == ["new"]
    assert capsys.readouterr() == ("", "")


def test_settings_have_indexes_of_their_own(searchable):
    corpus = texts_corpus("liver liver", "liver")
    first, second = (searchable(corpus, k1=k1).search("liver", 1)[0].score for k1 in (0.5, 2.0))
    assert first != second
    assert searchable(corpus, k1=0.5).search("liver", 1)[0].score == first


def test_unknown_words_are_corrected_where_that_is_asked_for(searchable):
    corpus = texts_corpus("hydralazine for the heart", "hydrogen")
    assert ids(searchable(corpus, corrects_spelling=True).search("Hydrslazine?", 5)) == ["0"]
    assert searchable(corpus).search("Hydrslazine?", 5) == []


def test_words_of_other_texts_are_known_to_the_spelling(searchable):
    """A word that occurs only in texts must not be corrected to a similar word of a title."""
    corpus = ListCorpus(Passage("1", "Tables", "Tablets."))
    assert searchable(corpus, ["title"], corrects_spelling=True).search("tablets", 5) == []


@pytest.mark.parametrize("corpus", [texts_corpus("...", "!"), texts_corpus("what is it?")])
def test_a_corpus_without_words_is_an_error(searchable, corpus):
    with pytest.raises(InputError, match="no word"):
        searchable(corpus)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ((["titles"], 1.2, 0.75), "titles"),
        (([], 1.2, 0.75), "one or more"),
        ((["text", "text"], 1.2, 0.75), "each once"),
        ((["text"], -1, 0.75), "k1 -1"),
        ((["text"], 1.2, 1.5), "b 1.5"),
    ],
)
def test_wrong_settings_are_errors(arguments, part):
    with pytest.raises(InputError, match=part):
        BM25Retriever(*arguments, corrects_spelling=False)


def test_searching_before_indexing_is_a_fault_of_the_program():
    with pytest.raises(RuntimeError, match="index"):
        BM25Retriever(["text"], 1.2, 0.75, False).search("liver", 1)


def test_every_builtin_disease_finds_its_own_passage(searchable):
    retriever = searchable(BuiltinCorpus())
    for entity in builtin_rare_diseases():
        if entity.facts:
            assert entity.name in {hit.passage.title for hit in retriever.search(entity.name, 3)}
