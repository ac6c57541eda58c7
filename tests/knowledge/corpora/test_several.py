from __future__ import annotations

import json

import pytest
from support.helpers import compose

from medssr.errors import InputError
from medssr.knowledge.corpora import Cleaning, JsonlCorpus, Passage, Removal, SeveralCorpora
from medssr.utils.instantiate import instantiate


def member(path, *texts, cleaning=None):
    rows = [{"id": str(number), "title": "T", "text": text} for number, text in enumerate(texts)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return JsonlCorpus(path, "id", "title", "text", None, 12, cleaning=cleaning)


def test_ids_are_unique_sources_are_kept_and_common_texts_come_once(tmp_path):
    first = member(tmp_path / "a.jsonl", "First one. Second one.", "Same.", "", cleaning=Cleaning({}, None))
    second = member(tmp_path / "b.jsonl", "Same.", "Other. (note)", cleaning=Cleaning({"note": r"\(note\)"}, None))
    corpora = SeveralCorpora({"a": first, "b": second})
    assert list(corpora.passages()) == [
        Passage("a:0#1", "T", "First one.", "a", (), "a:0"),
        Passage("a:0#2", "T", "Second one.", "a", (), "a:0"),
        Passage("a:1", "T", "Same.", "a"),
        Passage("b:1", "T", "Other.", "b"),
    ]
    counts = corpora.counts
    assert (counts.num_documents, counts.num_empty, counts.num_kept) == (5, 1, 4)
    assert (counts.num_passages, counts.num_duplicate_passages) == (4, 1)
    assert counts.parts == {"a": first.counts, "b": second.counts}
    assert counts.boilerplate == {"note": Removal(1, 7)}


def test_a_source_that_a_passage_has_is_kept(tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_text(json.dumps({"id": "1", "title": "T", "text": "x", "from": "GARD"}) + "\n")
    corpus = JsonlCorpus(path, "id", "title", "text", "from", None)
    assert [passage.source for passage in SeveralCorpora({"notes": corpus}).passages()] == ["GARD"]


def test_no_corpus_is_a_fault():
    with pytest.raises(InputError, match="at least one"):
        SeveralCorpora({})


@pytest.mark.slow
def test_a_corpus_is_added_on_the_command_line(tmp_path):
    (tmp_path / "m.jsonl").write_text(
        json.dumps({"doc_id": "d", "focus": "F", "synonyms": [], "answer": "x", "source": "GHR"}) + "\n"
    )
    for name, field in (("textbook", "content"), ("notes", "text")):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"id": "d", "title": "F", field: name}) + "\n")
    node = compose(
        "synthesize",
        "corpus=several",
        f"corpus.corpora.medquad.path={tmp_path}/m.jsonl",
        f"corpus.corpora.medrag.path={tmp_path}/textbook.jsonl",
        "+corpus@corpus.corpora.notes=jsonl",
        f"corpus.corpora.notes.path={tmp_path}/notes.jsonl",
    ).corpus
    names = [passage.id for passage in instantiate(node, "corpus").passages()]
    assert names == ["medquad:d", "medrag:d", "notes:d"]
