import pytest

from medssr.benchmarks.rarity import RareDiseaseMatcher
from medssr.benchmarks.reader import load_benchmark
from medssr.config import RarityField
from medssr.knowledge.entities import OrphanetEntities
from medssr.knowledge.facts import Entity
from medssr.questions import Question

BOTH = [RarityField.stem, RarityField.gold_option]
FABRY = Entity("Fabry disease", is_rare=True, synonyms=("Anderson-Fabry disease", "GLA", "FD"))
POMPE = Entity("Glycogen storage disease type II", is_rare=True, synonyms=("Pompe disease",))


def question(stem="Which organ?", gold="liver", is_rare=None):
    return Question("q", stem, {"A": gold, "B": "heart"}, "A", "toy", is_rare=is_rare)


@pytest.mark.parametrize(
    ("stem", "disease"),
    [
        ("What causes Fabry's disease?", "Fabry disease"),
        ("A man with ANDERSON\u2013FABRY DISEASE has pain.", "Fabry disease"),
        ("Which enzyme is low in glycogen-storage disease type 2?", "Glycogen storage disease type II"),
        ("Fabry diseases are lysosomal.", "Fabry disease"),
        ("What did Fabry describe, and is the disease common?", None),
        ("A mutation of GLA, or FD, is found.", None),
        ("Glycogen storage disease type III?", None),
    ],
)
def test_names_are_found_whole_in_any_spelling_and_acronyms_are_not(stem, disease):
    assert RareDiseaseMatcher([FABRY, POMPE], BOTH, 6).disease(question(stem)) == disease


def test_the_first_name_of_the_longest_reading_wins():
    kinds = [Entity("Usher syndrome", is_rare=True), Entity("Usher syndrome type 1", is_rare=True)]
    matcher = RareDiseaseMatcher(kinds, BOTH, 6)
    assert matcher.disease(question("What is Usher syndrome type I?")) == "Usher syndrome type 1"


def test_only_the_chosen_fields_are_looked_at():
    asked = question(gold="Pompe disease")
    assert RareDiseaseMatcher([POMPE], [RarityField.stem], 6).disease(asked) is None
    assert RareDiseaseMatcher([POMPE], BOTH, 6).disease(asked) == POMPE.name


def test_short_names_and_common_diseases_do_not_count():
    matcher = RareDiseaseMatcher([Entity("Yaws", True), Entity("Influenza", False)], BOTH, 6)
    assert matcher.num_names == 0
    assert matcher.disease(question("Is it yaws or influenza?")) is None


def test_a_question_that_has_a_flag_keeps_it():
    matcher = RareDiseaseMatcher([FABRY], BOTH, 6)
    assert matcher.flagged(question("Fabry disease?", is_rare=False)).is_rare is False
    flagged = matcher.flagged(question("Fabry disease?"))
    assert (flagged.is_rare, flagged.entity) == (True, "Fabry disease")
    assert matcher.flagged(question()).is_rare is False


@pytest.mark.slow
def test_shares_of_the_released_files_are_near_those_of_another_count(shared_data):
    """An independent count of names without acronyms: medqa 3.7% in the stem, lancet 12.4% in the stem."""
    entities = OrphanetEntities(shared_data / "entities" / "orphanet.jsonl", False, False).entities()
    matcher = RareDiseaseMatcher(entities, [RarityField.stem], 6)
    for name, low, high in (("medqa", 0.02, 0.06), ("lancet", 0.08, 0.16), ("bioasq", 0.08, 0.16)):
        questions = load_benchmark(shared_data / "benchmarks" / f"{name}.json")
        share = sum(matcher.disease(item) is not None for item in questions) / len(questions)
        assert low <= share <= high, (name, share)
