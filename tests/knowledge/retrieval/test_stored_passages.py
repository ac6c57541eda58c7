from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.helpers import ListCorpus, texts_corpus

from medssr.errors import InputError
from medssr.knowledge.corpora import Passage
from medssr.knowledge.retrieval import StoredPassages, store_passages

TEXTS = st.text(st.characters(), max_size=20)  # half surrogate pairs, line ends and NULs as well
PASSAGES = st.builds(
    Passage,
    id=TEXTS,
    title=TEXTS,
    text=TEXTS,
    source=st.none() | TEXTS,
    synonyms=st.lists(TEXTS, max_size=3).map(tuple),
    document_id=st.none() | TEXTS,
)


@pytest.mark.slow
@given(st.lists(PASSAGES, min_size=1, max_size=5))
def test_passages_come_back_as_they_were(tmp_path_factory, passages):
    stored = store_passages(ListCorpus(*passages), tmp_path_factory.mktemp("indexes"))
    assert list(stored) == passages
    assert [stored[index] for index in range(len(stored))] == passages


def test_places_outside_the_corpus_are_errors(tmp_path):
    stored = store_passages(texts_corpus("one"), tmp_path)
    for index in (-1, 1):
        with pytest.raises(IndexError, match="of 1 passages"):
            stored[index]


def test_a_corpus_is_stored_once_and_a_changed_one_beside_it(tmp_path):
    first = store_passages(texts_corpus("one", "two"), tmp_path)
    (folder,) = first.directory.glob("passages-*")
    before = folder.stat().st_mtime_ns
    assert store_passages(texts_corpus("one", "two"), tmp_path).directory == first.directory
    assert folder.stat().st_mtime_ns == before
    changed = store_passages(texts_corpus("one", "three"), tmp_path)
    assert changed.directory != first.directory
    assert [[passage.text for passage in stored] for stored in (first, changed)] == [["one", "two"], ["one", "three"]]


def test_where_one_text_ends_and_the_next_starts_counts(tmp_path):
    corpora = [
        ListCorpus(Passage("1", "a", "b")),
        ListCorpus(Passage("1", "", "ab")),
        ListCorpus(Passage("1", "a", "b", synonyms=("",))),
        ListCorpus(Passage("1", "a", "b", source="")),
    ]
    assert len({store_passages(corpus, tmp_path).directory for corpus in corpora}) == len(corpora)


def test_a_corpus_without_passages_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no passage"):
        store_passages(texts_corpus(), tmp_path)
    assert not any(tmp_path.iterdir())


class ChangingCorpus:
    def __init__(self) -> None:
        self._readings = 0

    def passages(self):
        self._readings += 1
        yield Passage("1", "", f"reading {self._readings}")


def test_a_corpus_that_changes_while_it_is_read_is_an_error(tmp_path):
    with pytest.raises(InputError, match="changed while"):
        store_passages(ChangingCorpus(), tmp_path)


def passages_file(stored: StoredPassages) -> Path:
    (folder,) = stored.directory.glob("passages-*")
    return folder / "passages.jsonl"


def test_a_damaged_file_is_made_anew(tmp_path, caplog):
    corpus = texts_corpus("one", "two")
    file = passages_file(store_passages(corpus, tmp_path))
    file.write_bytes(file.read_bytes().replace(b"one", b"1ne"))
    assert [passage.text for passage in store_passages(corpus, tmp_path)] == ["one", "two"]
    assert "damaged" in caplog.text
