from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medssr.errors import InputError
from medssr.knowledge.corpora import Cleaning, DocumentCorpus, Passage, Removal
from medssr.knowledge.corpora.cleaning import find_repeats, without_repeats

PARAGRAPH = "Rest a lot. Drink water. See a doctor."


class Texts(DocumentCorpus):
    """Returns a corpus of the given texts."""

    def __init__(self, texts, max_chars=1000, cleaning=None):
        super().__init__(max_chars, cleaning)
        self.texts = texts
        self.num_reads = 0

    def documents(self):
        self.num_reads += 1
        for number, text in enumerate(self.texts):
            yield Passage(str(number), "Title", text, "source", ("other name",))


def cleaned(texts, patterns=None, min_repeats=None):
    corpus = Texts(texts, cleaning=Cleaning(patterns or {}, min_repeats))
    return corpus, [passage.text for passage in corpus.passages()]


def test_patterns_are_removed_and_counted_by_name():
    patterns = {"links": r"See also:.*?\.", "note": r"\(note\)"}
    texts = ["Fever.  See also:\n a, b. Rash (note) too.", "Only (note)", "(note)", "Plain."]
    corpus, kept = cleaned(texts, patterns)
    assert kept == ["Fever. Rash too.", "Only", "Plain."]
    assert corpus.counts.boilerplate == {
        "links": Removal(1, len(" See also: a, b.")),
        "note": Removal(3, len(" (note)") * 2 + len("(note)")),
    }
    assert corpus.counts.num_only_boilerplate == 1


def test_a_paragraph_that_enough_documents_hold_is_removed_wherever_it_stands():
    texts = [f"Disease {name} is rare. {PARAGRAPH} It is like {name}." for name in "abc"]
    corpus, kept = cleaned(texts, min_repeats=3)
    assert kept == [f"Disease {name} is rare. It is like {name}." for name in "abc"]
    assert corpus.counts.boilerplate == {"repeated_paragraph": Removal(3, 3 * (len(PARAGRAPH) + 1))}
    assert cleaned(texts, min_repeats=4)[1] == texts


def test_fewer_than_three_sentences_are_no_paragraph_unless_they_are_the_whole_text():
    texts = [f"Disease {name} is rare. Rest a lot. Drink water." for name in "abc"]
    assert cleaned(texts, min_repeats=3)[1] == texts
    corpus, kept = cleaned(["Rest a lot."] * 3 + ["Rest a lot. Drink."], min_repeats=3)
    assert kept == ["Rest a lot. Drink."]
    assert corpus.counts.num_only_boilerplate == 3


def test_repetition_within_one_document_does_not_count():
    texts = [f"Start. {PARAGRAPH} {PARAGRAPH} {PARAGRAPH}", f"Begin. {PARAGRAPH}", "Other."]
    assert cleaned(texts, min_repeats=3)[1] == texts


def test_the_first_sentence_stays():
    texts = [f"{PARAGRAPH} It is like {name}." for name in "abc"]
    assert cleaned(texts, min_repeats=3)[1] == [f"Rest a lot. It is like {name}." for name in "abc"]


def test_repeats_are_looked_for_behind_the_patterns():
    texts = [f"{name} is rare. Rest a lot. (see {name}) Drink water. See a doctor. End of {name}." for name in "abc"]
    kept = cleaned(texts, {"see": r"\(see .\)"}, 3)[1]
    assert kept == [f"{name} is rare. End of {name}." for name in "abc"]


def test_exact_duplicates_are_dropped_once_blanks_are_made_alike():
    corpus, kept = cleaned(["A fever.", "A  fever.\n", "a fever.", "Other.", "Other."])
    assert kept == ["A fever.", "a fever.", "Other."]
    assert corpus.counts.num_duplicates == 2


def test_the_corpus_is_read_twice_only_to_find_repeats():
    for min_repeats, num_reads in ((None, 1), (2, 2)):
        corpus, _ = cleaned(["One.", "Two."], min_repeats=min_repeats)
        assert corpus.num_reads == num_reads


def test_passages_keep_title_source_and_names_of_their_document():
    corpus = Texts(["First one. Second one."], max_chars=12)
    whole = Passage("0", "Title", "", "source", ("other name",), "0")
    assert list(corpus.passages()) == [
        replace(whole, id="0#1", text="First one."),
        replace(whole, id="0#2", text="Second one."),
    ]


def test_counts_are_there_once_the_passages_were_read():
    corpus = Texts(["One.", "Two."])
    assert corpus.counts is None
    passages = corpus.passages()
    next(passages)
    assert corpus.counts is None
    assert len(list(passages)) == 1
    assert corpus.counts.num_passages == 2


WORDS = st.sampled_from(["Rest a lot.", "Drink water.", "See a doctor.", "Fever.", "Rash.", "(note)", " "])


@pytest.mark.slow
@given(st.lists(st.lists(WORDS, max_size=8).map(" ".join), min_size=1, max_size=12), st.integers(2, 4))
def test_counts_add_up(texts, min_repeats):
    corpus = Texts([*texts, "The last one is unlike the others."], 15, Cleaning({"note": r"\(note\)"}, min_repeats))
    passages = list(corpus.passages())
    counts = corpus.counts
    assert counts.num_documents == len(texts) + 1
    assert counts.num_documents == (
        counts.num_empty + counts.num_only_boilerplate + counts.num_duplicates + counts.num_kept
    )
    assert counts.num_passages == len(passages)
    assert counts.num_kept == len({passage.document_id or passage.id for passage in passages})


@pytest.mark.slow
@given(st.lists(st.lists(WORDS, min_size=1, max_size=8).map(" ".join), max_size=12), st.integers(2, 4))
def test_what_is_kept_of_a_text_is_sentences_of_it_in_order(texts, min_repeats):
    repeats = find_repeats(texts, min_repeats)
    for text in texts:
        rest = iter(text.split())
        assert all(word in rest for word in without_repeats(text, repeats).split())


@pytest.mark.parametrize(
    ("patterns", "min_repeats", "part"),
    [({"bad": "("}, None, "patterns.bad"), ({}, 1, "min_repeats"), ({}, 0, "at least 2")],
)
def test_a_wrong_setting_is_named(patterns, min_repeats, part):
    with pytest.raises(InputError, match=part):
        Cleaning(patterns, min_repeats)


def test_a_wrong_length_is_named():
    with pytest.raises(InputError, match="max_chars"):
        Texts([], max_chars=0)


def test_counts_can_be_written_as_json():
    corpus, _ = cleaned(["A. (note)"], {"note": r"\(note\)"})
    assert json.loads(json.dumps(asdict(corpus.counts)))["boilerplate"] == {
        "note": {"num_documents": 1, "num_chars": 7}
    }
