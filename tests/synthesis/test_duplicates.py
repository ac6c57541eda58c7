from __future__ import annotations

import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medssr.questions import Question
from medssr.synthesis.duplicates import NearDuplicates, question_words, similarity

GENES = ("GLA", "GAA", "GBA1", "HEXA")
PATTERNS = ("autosomal recessive", "autosomal dominant", "X-linked", "mitochondrial")
VIGNETTE = (
    "A 34-year-old woman comes to the physician because of a 2-week history of burning pain in her hands and feet. "
    "Examination shows dark red papules around the umbilicus and opacities of both corneas. "
    "Which enzyme is most likely deficient?"
)


def question(stem, options=GENES, name="new", entity=None):
    return Question(name, stem, dict(zip(string.ascii_uppercase, options, strict=False)), None, "x", entity)


def is_duplicate(first, second):
    """Returns whether the second text is dropped after the first; the order of the two must not matter."""
    found = []
    for early, late in ((first, second), (second, first)):
        seen = NearDuplicates()
        seen.add(early)
        found.append(seen.find(late) is not None)
    assert found[0] == found[1]
    return found[0]


def weighed(first, second):
    return similarity(question_words(first), question_words(second))


def test_similarity_is_a_weighted_jaccard_of_words():
    first = question("Which gene causes Fabry?", ["one", "two"])
    second = question("Which enzyme causes Fabry?", ["one", "two"])
    # Function words weigh 0.1, words of examinations 0.3, others 1: which 0.1, cause 0.3, fabry 1 of these and 2 more.
    assert weighed(first, second) == pytest.approx(1.4 / 3.4)
    # The stems agree; of the options' words one of three is shared.
    third = question("Which gene causes Fabry?", ["one", "three"])
    assert weighed(first, third) == pytest.approx((2.4 + 1) / (2.4 + 3))


def test_a_shuffled_or_trivially_reworded_question_is_a_duplicate():
    first = question("Which gene is mutated in Fabry disease?")
    for stem in (
        "Which gene is mutated in Fabry disease?",
        "WHICH GENE IS MUTATED IN FABRY DISEASE",
        "In Fabry's disease, which gene is mutated?",
        "Which genes are mutated in the Fabry disease?",
    ):
        assert is_duplicate(first, question(stem, reversed(GENES))), stem


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Which gene is mutated in Fabry disease?", "Which gene is mutated in Pompe disease?"),
        ("How is Fabry disease inherited?", "How is Pompe disease inherited?"),
        ("Which gene is mutated in Fabry disease?", "Which protein is deficient in Fabry disease?"),
        ("Which finding is typical of Fabry disease?", "Which finding is not typical of Fabry disease?"),
        ("Which drug is given before surgery?", "Which drug is given after surgery?"),
        ("How is type 1 diabetes treated?", "How is type 2 diabetes treated?"),
    ],
)
@pytest.mark.parametrize("options", [GENES, PATTERNS])
def test_another_disease_or_fact_in_the_same_words_is_another_question(first, second, options):
    assert not is_duplicate(question(first, options), question(second, options))


def test_long_names_that_differ_in_a_number_are_other_diseases():
    stem = "A patient has {}. Which organ or tissue is mainly involved?"
    names = [f"Autosomal dominant spinocerebellar ataxia type {number}" for number in (13, 14)]
    first, second = (question(stem.format(name), entity=name) for name in names)
    assert weighed(first, second) > 0.8
    assert not is_duplicate(first, second)
    assert is_duplicate(first, question(first.stem.upper(), entity=names[0].lower()))


def test_the_same_text_is_a_duplicate_whatever_entity_it_was_asked_for():
    assert is_duplicate(question(VIGNETTE, entity="Fabry disease"), question(VIGNETTE, entity="Pompe disease"))


def test_short_stems_with_other_options_are_other_questions_and_long_stems_are_not():
    short = "Which gene is mutated in Fabry disease?"
    assert not is_duplicate(question(short), question(short, ("GLA", "ATM", "OTC", "HBB")))
    assert is_duplicate(question(VIGNETTE), question(VIGNETTE, ("GLA", "ATM", "OTC", "GAA")))
    assert is_duplicate(question(VIGNETTE), question(VIGNETTE.replace("34", "37").replace("burning", "stabbing")))


def test_the_first_question_that_is_repeated_is_named():
    seen = NearDuplicates()
    for name in ("first", "second"):
        seen.add(question(VIGNETTE, name=name))
    duplicate = seen.find(question(VIGNETTE))
    assert duplicate is not None
    assert (duplicate.id, duplicate.similarity) == ("first", 1.0)


def test_a_question_that_was_only_asked_about_is_not_kept():
    seen = NearDuplicates()
    assert seen.find(question(VIGNETTE)) is None
    assert seen.find(question(VIGNETTE)) is None


def test_of_a_set_of_copies_exactly_one_stays():
    rng = random.Random(0)
    words = VIGNETTE.split()
    seen, kept = NearDuplicates(), []
    for number in range(30):
        copy = list(words)
        copy[rng.randrange(len(copy))] = "perhaps"
        item = question(" ".join(copy), rng.sample(GENES, 4), name=str(number))
        if seen.find(item) is None:
            seen.add(item)
            kept.append(item.id)
    assert kept == ["0"]


@pytest.mark.slow
def test_similar_pairs_are_proposed_by_the_sketch():
    """Of the pairs with similarity 0.8 to 0.95, at least 98% are detected; of those below the threshold, none."""
    rng = random.Random(0)
    vocabulary = ["".join(rng.choices(string.ascii_lowercase, k=7)) for _ in range(5000)]
    seen, found = NearDuplicates(), 0
    stems = [rng.sample(vocabulary, 60) for _ in range(300)]
    for number, stem in enumerate(stems):
        seen.add(question(" ".join(stem), ("yes", "no"), name=str(number)))
    for number, stem in enumerate(stems):
        count = rng.randrange(2, 7)
        copy = question(" ".join([*rng.sample(vocabulary, count), *stem[count:]]), ("yes", "no"))
        duplicate = seen.find(copy)
        found += duplicate is not None and duplicate.id == str(number)
    assert found >= 0.98 * len(stems)
    assert all(seen.find(question(" ".join(rng.sample(vocabulary, 60)))) is None for _ in range(300))


def a_text(max_size: int) -> st.SearchStrategy[str]:
    """Any text that a question may have."""
    return st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=max_size
    ).filter(str.strip)


@pytest.mark.slow
@given(a_text(80), a_text(30))
def test_any_text_is_its_own_duplicate(stem, option):
    item = question(stem, (option, "other"))
    seen = NearDuplicates()
    seen.add(item)
    duplicate = seen.find(question(stem, ("other", option)))
    assert duplicate is not None
    assert duplicate.similarity == 1.0


@pytest.mark.slow
@given(*[st.lists(st.sampled_from(["gene", "not", "which", "fabry", "pain", "x"]), min_size=1) for _ in range(2)])
def test_similarity_is_symmetric_and_lies_between_zero_and_one(first, second):
    one, two = question(" ".join(first)), question(" ".join(second))
    assert weighed(one, two) == pytest.approx(weighed(two, one))
    assert 0 <= weighed(one, two) <= 1
    assert weighed(one, one) == 1
