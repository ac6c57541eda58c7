import pytest

from medssr.benchmarks.defects import find_defects
from medssr.benchmarks.reader import load_benchmark
from medssr.config import Defect
from medssr.questions import Question


def question(number, stem="Which organ makes bile?", options=("liver", "heart"), answer="A"):
    return Question(f"q{number}", stem, dict(zip("ABCDE", options, strict=False)), answer, "toy")


def defects_of(*questions):
    return {defect.value: ids for defect, ids in find_defects(questions).items() if ids}


def test_a_sound_question_has_none():
    assert defects_of(question(1), question(2, "Which organ makes urine?")) == {}
    assert set(find_defects([question(1)])) == set(Defect)


def test_a_duplicate_is_the_second_one_whatever_its_case_and_order():
    again = question(2, "which organ  makes bile", ("Heart", "Liver"), "B")
    assert defects_of(question(1), again, question(3)) == {"duplicate": ["q2", "q3"]}


def test_the_same_stem_with_other_options_is_no_duplicate():
    assert defects_of(question(1), question(2, options=("liver", "lung"))) == {}


def test_conflicting_gold_names_both_questions():
    assert defects_of(question(1), question(2, options=("spleen", "heart"))) == {"conflicting_gold": ["q1", "q2"]}
    same = question(2, answer="B")
    assert defects_of(question(1), same) == {"duplicate": ["q2"], "conflicting_gold": ["q1", "q2"]}


@pytest.mark.parametrize("pair", [("liver", "Liver"), ("the liver", "liver"), ("T-cells", "t cell")])
def test_options_that_differ_in_spelling_alone_are_duplicates(pair):
    assert defects_of(question(1, options=(*pair, "heart"))) == {"duplicate_options": ["q1"]}


def test_figures_that_a_text_does_not_have():
    found = defects_of(question(1, "Which organ is shown in the figure?"), question(2, "Which one?", ("A", "B", "C")))
    assert found == {"missing_figure": ["q1"], "figure_letters": ["q2"]}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("bioasq", {"duplicate": 10}),
        ("lancet", {"duplicate_options": 3, "missing_figure": 66}),
        ("medqa", {"missing_figure": 118, "figure_letters": 2}),
        ("pubmedqa", {}),
    ],
)
def test_the_defects_of_the_released_files(shared_data, name, counts):
    found = defects_of(*load_benchmark(shared_data / "benchmarks" / f"{name}.json"))
    assert {defect: len(ids) for defect, ids in found.items()} == counts
