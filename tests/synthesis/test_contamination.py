from __future__ import annotations

import random
import re
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medssr.benchmarks.reader import load_benchmark
from medssr.questions import read_questions
from medssr.synthesis.contamination import ContaminationIndex
from medssr.toy.builtin_questions import EVALUATION_FILE, HUMAN_FILE

pytestmark = pytest.mark.slow

VIGNETTE = (
    "A 34-year-old woman comes to the physician because of a 2-week history of burning pain in her hands and feet. "
    "Examination shows dark red papules around the umbilicus and opacities of both corneas. "
    "Which of the following is the most likely cause of this patient's symptoms?"
)
OTHER_VIGNETTE = (
    "A 61-year-old man comes to the physician because of a 3-month history of swelling of his ankles and frothy urine. "
    "Serum studies show low albumin and a kidney biopsy shows thickened basement membranes. "
    "Which of the following is the most likely cause of this patient's symptoms?"
)
SHORT = "Is amiodarone a class III antiarrhythmic drug?"
STEMS = [VIGNETTE, SHORT, "Gingivitis", "What is the most likely diagnosis?"]
INDEX = ContaminationIndex(STEMS)


def matched(question, index=INDEX):
    match = index.check(question)
    return None if match is None else match.stem


@pytest.mark.parametrize("stem", STEMS)
def test_every_copy_of_a_whole_stem_scores_one(stem):
    copies = [
        stem,
        stem.upper(),
        re.sub(r"[^\w\s]", "", stem),
        re.sub(r"[^\w\s]", " ", stem),
        f"  {stem.replace(' ', ',  ')} ...",
        re.sub(r"\d+", "57", stem),
    ]
    for copy in copies:
        match = INDEX.check(copy)
        assert match is not None
        assert (match.stem, match.score) == (stem, 1.0)


@pytest.mark.parametrize(
    ("stem", "copy"),
    [
        ("Is Behçet\u2019s disease a vasculitis?", "Is Behcet's disease a vasculitis"),
        ("Welche Ursache hat die Größenzunahme?", "WELCHE URSACHE HAT DIE GRÖSSENZUNAHME?"),
        ("以下哪项是最可能的诊断", "以下 哪项是 最可能的诊断."),
        ("Что вызывает болезнь Фабри?", "что вызывает болезнь фабри"),
        ("A dose of 2.5 mg (or 1,000 µg)?", "a dose of 7 mg or 12 μg"),
    ],
)
def test_copies_in_other_scripts_and_signs_are_found(stem, copy):
    assert matched(copy, ContaminationIndex([stem])) == stem


def test_a_copy_with_replaced_words_is_found_with_a_score_below_one():
    copy = VIGNETTE.replace("burning", "stabbing").replace("woman", "lady").replace("papules", "lesions")
    match = INDEX.check(copy)
    assert match is not None
    assert match.stem == VIGNETTE
    assert 0.8 < match.score < 1


def test_more_replaced_words_score_less():
    words = VIGNETTE.split()
    scores = []
    for count in (2, 5, 8):
        match = INDEX.check(" ".join(["another"] * count + words[count:]))
        assert match is not None
        scores.append(match.score)
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == 3


@pytest.mark.parametrize("size", [1, 50])
def test_standing_phrases_of_examinations_are_no_copies(size):
    """Holds for an index of any size."""
    index = ContaminationIndex(
        [VIGNETTE] * (size > 0) + [OTHER_VIGNETTE.replace("ankles", f"{i}") for i in range(size - 1)]
    )
    question = (
        "A 19-year-old man comes to the physician because of a 1-day history of yellow eyes after eating fava beans. "
        "Which of the following is the most likely cause of this patient's symptoms?"
    )
    assert matched(question, index) is None
    assert matched("Which of the following is the most likely cause of this patient's symptoms?", index) is None


def test_another_disease_in_the_words_of_many_stems_is_another_question():
    diseases = ("Rett syndrome", "Leber hereditary optic neuropathy", "Familial Mediterranean fever", "Gorlin syndrome")
    index = ContaminationIndex(f"Which gene is mutated in {name}?" for name in diseases)
    assert matched("Which gene is mutated in X-linked dominant chondrodysplasia punctata?", index) is None


def test_the_name_of_a_disease_alone_is_no_copy():
    index = ContaminationIndex(["Which mode of inheritance does Leber hereditary optic neuropathy follow?"])
    assert matched("Which treatment is used for Leber hereditary optic neuropathy?", index) is None


def test_a_stem_within_a_longer_question_is_found():
    assert matched(f"{OTHER_VIGNETTE} {SHORT} Give one answer.") == SHORT
    assert matched(f"Read this first. {VIGNETTE} Give the single best answer.") == VIGNETTE


def test_short_and_empty_phrases_within_a_longer_question_are_no_copies():
    assert matched("A man with gingivitis has a fever. Which drug is best for him?") is None
    assert matched(f"{OTHER_VIGNETTE} What is the most likely diagnosis?") is None


def test_words_scattered_over_a_long_question_are_no_copy():
    question = (
        f"A man takes amiodarone. {OTHER_VIGNETTE} He is in class III heart failure. Is an antiarrhythmic drug right?"
    )
    assert matched(question) is None


def test_a_part_of_a_long_stem_is_found():
    words = VIGNETTE.split()
    assert matched(" ".join(words[:25])) == VIGNETTE
    assert matched(" ".join(words[10:35])) == VIGNETTE
    assert matched("Which of the following is the most likely cause of this patient's symptoms?") is None


def test_of_several_stems_the_most_similar_is_reported_and_of_equal_ones_the_first():
    near = VIGNETTE.replace("umbilicus", "navel").replace("opacities", "clouding")
    index = ContaminationIndex([near, VIGNETTE, VIGNETTE.upper()])
    assert len(index) == 2
    assert matched(VIGNETTE.replace("34", "35"), index) == VIGNETTE
    assert matched(f"{VIGNETTE} Answer now.", index) == VIGNETTE


@pytest.mark.parametrize("stems", [[], [""], ["", " ?! ", "\n"]])
def test_an_index_without_words_matches_nothing(stems):
    index = ContaminationIndex(stems)
    assert len(index) == 0
    for question in ("", "?", VIGNETTE):
        assert index.check(question) is None


def test_empty_questions_and_questions_of_unknown_words_match_nothing():
    for question in ("", "   ", "?!", "\U0001f600", "xyzzy plugh", "\ud800"):
        assert INDEX.check(question) is None


def test_stems_may_come_from_an_iterator():
    assert matched(SHORT, ContaminationIndex(stem for stem in STEMS)) == SHORT


GENERIC = "Which of the following is true?"
LIVER = ("The liver makes bile", "The spleen makes bile", "The kidney makes bile", "The heart makes bile")
RICKETS = ("Rickets is due to lack of vitamin D", "Scurvy is infectious", "Pellagra is inherited", "Beriberi is viral")


def of_options(*questions):
    """An index of (stem, options)."""
    return ContaminationIndex((stem for stem, _ in questions), options=[options for _, options in questions])


def test_stems_without_content_are_compared_by_their_options_in_any_order():
    index = of_options((GENERIC, LIVER), (GENERIC, RICKETS), (SHORT, ("yes", "no")))
    assert (len(index), index.num_without_content) == (3, 2)
    for order in permutations(RICKETS):
        match = index.check("Choose the correct statement", order)
        assert (match.stem, match.score, match.index) == (GENERIC, 1.0, 1)
    reworded = ("Rickets comes from lack of vitamin D", *RICKETS[1:])
    assert 0.58 < index.check(GENERIC, reworded).score < 1
    other = ("Gout is a tumor", "Measles is a virus", "Asthma is a fracture", "Lupus is fatal")
    assert index.check(GENERIC, other) is None
    assert index.check(GENERIC) is None
    assert index.check("Which of the following is true of the liver?", LIVER) is None


def test_options_do_not_count_where_the_stem_has_content():
    index = of_options((SHORT, ("yes", "no")), (GENERIC, LIVER))
    assert index.check(SHORT, ("never", "always")).score == 1
    assert index.check("Which organ makes bile?", LIVER) is None


@pytest.mark.parametrize("options", [("Yes", "No"), ("1", "2", "3", "4"), ("10 mg", "20 mg"), ()])
def test_a_question_without_any_content_is_not_compared(options):
    index = of_options((GENERIC, options))
    assert index.num_without_content == 1
    assert index.check(GENERIC, options) is None


def test_stems_of_numbers_match_the_same_numbers_only():
    index = ContaminationIndex(["5 + 7", "12"])
    assert [matched(stem, index) for stem in ("5+7 = ?", "12.", "5 + 8", "13")] == ["5 + 7", "12", None, None]


def test_a_stem_of_one_content_word_matches_exactly():
    index = ContaminationIndex(["Gingivitis", "Hypertrophic gingivitis of pregnancy"])
    assert index.check("GINGIVITIS.").score == 1
    assert matched("Which of the following is true of gingivitis?", index) is None
    assert matched("Stomatitis", index) is None


def test_a_match_rests_on_content_words():
    index = ContaminationIndex(["Which of the following is true about gout?"])
    assert matched("Which of the following is true about lupus?", index) is None
    assert matched("Which of the following is not true about gout?", index) is not None


def test_very_long_texts_are_compared():
    rng = random.Random(0)
    long = " ".join("".join(rng.choices("abcdefghij", k=6)) for _ in range(5000))
    index = ContaminationIndex([long, SHORT])
    assert matched(long.upper(), index) == long
    assert matched(long[: len(long) // 2], index) == long
    assert matched(f"{long} {SHORT}", index) == long


@given(st.lists(st.text(max_size=60), max_size=6), st.text(max_size=80))
def test_any_text_can_be_indexed_and_checked(stems, question):
    index = ContaminationIndex(stems)
    match = index.check(question)
    assert match is None or (match.stem in stems and 0 < match.score <= 1)
    for stem in stems:
        if re.search(r"[^\W_]", stem):
            found = index.check(stem)
            assert found is not None
            assert found.score == 1


def test_the_builtin_training_questions_do_not_repeat_the_evaluation():
    """The questions ask for the same facts in different words."""
    index = ContaminationIndex(question.stem for question in read_questions(EVALUATION_FILE))
    alarms = [question for question in read_questions(HUMAN_FILE) if index.check(question.stem)]
    assert len(alarms) <= 0.02 * 320


@pytest.fixture(scope="module")
def benchmarks(shared_data):
    names = ("medqa", "pubmedqa", "bioasq", "lancet")
    return {name: [q.stem for q in load_benchmark(shared_data / "benchmarks" / f"{name}.json")] for name in names}


def test_planted_copies_are_found_in_every_benchmark(benchmarks):
    vocabulary = sorted({word for stems in benchmarks.values() for stem in stems for word in stem.split()})
    for name, stems in benchmarks.items():
        index = ContaminationIndex(stems)
        rng = random.Random(name)
        assert all(index.check(stem) for stem in stems), name
        chosen = rng.sample(stems, 150)
        assert all(index.check(re.sub(r"[^\w\s]", "", stem).upper()) for stem in chosen), name
        assert all(index.check(re.sub(r"\d+", "57", stem)) for stem in chosen), name
        found = 0
        for stem in chosen:
            words = stem.split()
            for place in rng.sample(range(len(words)), max(1, round(len(words) / 5))):
                words[place] = rng.choice(vocabulary)
            found += index.check(" ".join(words)) is not None
        assert found >= 0.95 * len(chosen), name


def test_different_benchmarks_are_not_taken_for_copies(benchmarks):
    indexes = {name: ContaminationIndex(stems) for name, stems in benchmarks.items()}
    for asked, kept in permutations(benchmarks, 2):
        chosen = random.Random(asked).sample(benchmarks[asked], 250)
        alarms = [stem for stem in chosen if indexes[kept].check(stem)]
        assert len(alarms) <= 0.01 * len(chosen), (asked, kept, alarms)


@pytest.mark.parametrize(
    "form",
    ["Q12. {}", "Question 7: {}", "12) {}", "[3] {}", "{} (AIIMS 2010)", "{} [NEET PG 2019]", "Q.4: {} (May 2011)"],
)
@pytest.mark.parametrize("stem", ["Which of the following is true?", "What is the most likely diagnosis?"])
def test_a_number_or_an_examination_gives_a_stem_no_content(stem, form):
    options = ["Aspirin inhibits cyclooxygenase", "Heparin is given orally", "Warfarin needs no monitoring"]
    marked = form.format(stem)
    assert ContaminationIndex([stem], options=[options]).check(marked, options[::-1]).score == 1
    assert ContaminationIndex([marked], options=[options]).check(stem, options[::-1]).score == 1
    assert ContaminationIndex([marked], options=[options]).check(stem, ["gout", "measles", "mumps"]) is None
    assert ContaminationIndex([stem]).check(marked).score == 1
