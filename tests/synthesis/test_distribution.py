from __future__ import annotations

import json
from itertools import cycle, islice

import pytest
import yaml

from medssr.knowledge.facts import RESOURCES
from medssr.questions import Question
from medssr.questions.specialty import specialty
from medssr.synthesis.distribution import Distribution
from medssr.text.words import fold


def question(stem="Which organ is affected?", entity=None, is_rare=None, letters="ABCD", **provenance):
    options = {letter: f"the option {letter}" for letter in letters}
    return Question("q", stem, options, None, "synthetic", entity, is_rare, provenance)


def record(questions, rare_share=0.5):
    distribution = Distribution(rare_share)
    for item in questions:
        distribution.add(item)
    return distribution.record()


def test_shares_are_counted_over_all_questions():
    rare = [question(entity="X", is_rare=True, is_injected=True)] * 3
    common = [question(is_rare=False, is_injected=False)] * 4
    unknown = [question(is_injected=False)]
    shares = record([*rare, *common, *unknown], 0.4)["rare_share"]
    assert shares == {
        "asked": 0.4,
        "injected": 0.375,
        "is_rare": 0.375,
        "is_not_rare": 0.5,
        "is_rare_unknown": 0.125,
    }


def test_lengths_are_summed_up_by_hand_computed_values():
    stems = ["one two", "one two three", "one two three", "one two three four five six seven eight"]
    report = record([question(stem) for stem in stems])
    assert report["stem_words"] == {"mean": 4.0, "min": 2, "quartile_1": 2, "median": 3, "quartile_3": 3, "max": 8}
    assert report["option_words"]["mean"] == 3.0
    assert report["num_options"] == {"4": 4}


def test_equal_answer_positions_are_likely_and_lopsided_ones_are_not():
    even = record(question(truth=letter) for letter in islice(cycle("ABCD"), 400))["answer_position"]
    assert even == {"num_known": 400, "counts": {"A": 100, "B": 100, "C": 100, "D": 100}, "chi_square_p": 1.0}
    # Chi-square of (130, 90, 90, 90) for equal chances: (30^2 + 3 * 10^2) / 100 = 12, with 3 degrees of freedom.
    counts = {"A": 130, "B": 90, "C": 90, "D": 90}
    lopsided = record(question(truth=letter) for letter, count in counts.items() for _ in range(count))
    assert lopsided["answer_position"]["counts"] == counts
    assert lopsided["answer_position"]["chi_square_p"] == pytest.approx(0.0074, abs=5e-5)


def test_questions_with_fewer_options_expect_their_answers_at_fewer_positions():
    two = [question(letters="AB", truth=letter) for letter in "AB" * 20]
    four = [question(truth=letter) for letter in "ABCD" * 10]
    position = record([*two, *four])["answer_position"]
    assert position["counts"] == {"A": 30, "B": 30, "C": 10, "D": 10}
    assert position["chi_square_p"] == 1.0


def test_without_known_answers_nothing_is_tested():
    assert record([question()])["answer_position"] == {"num_known": 0, "counts": {}, "chi_square_p": None}
    assert record([question(truth="A")])["answer_position"]["chi_square_p"] is None


def test_entities_and_their_repeats_are_counted():
    names = ["X", "X", "X", "Y", "Z", None]
    assert record(question(entity=name) for name in names)["entities"] == {
        "num_questions": 5,
        "num_distinct": 3,
        "num_entities_by_questions": {"1": 2, "3": 1},
        "most_used": {"X": 3, "Y": 1, "Z": 1},
    }


@pytest.mark.parametrize(
    ("stem", "entity", "expected"),
    [
        ("A man has chest pain and a systolic murmur over the aortic valve. What is next?", None, "cardiology"),
        ("Which drug stops an epileptic seizure?", None, "neurology"),
        ("Which finding is typical of this disease?", "Psoriasis", "dermatology"),
        ("Which finding is typical of this disease?", None, "unknown"),
        ("Does the heart or the kidney fail first?", None, "unknown"),
    ],
)
def test_the_specialty_is_the_one_with_most_key_words(stem, entity, expected):
    assert specialty(question(stem, entity)) == expected


def test_the_key_words_are_folded_and_each_belongs_to_one_specialty():
    table = yaml.safe_load((RESOURCES / "specialties.yaml").read_text(encoding="utf-8"))
    words = [word for specialty_words in table.values() for word in specialty_words]
    assert len(set(words)) == len(words)
    assert [word for word in words if fold(word) != word] == []


def test_both_files_are_written(tmp_path):
    distribution = Distribution(0.25)
    for letter in "ABCD" * 10:
        distribution.add(question(entity="Wilson disease", is_rare=True, is_injected=True, truth=letter))
    distribution.write(tmp_path)
    assert json.loads((tmp_path / "distribution.json").read_text()) == distribution.record()
    table = (tmp_path / "distribution.md").read_text()
    assert "| knowledge injected | 25.0% | 100.0% |" in table
    assert "A: 10, B: 10, C: 10, D: 10 of 40 known, p = 1.0 for equal chances" in table


def test_no_question_makes_an_empty_report(tmp_path):
    distribution = Distribution(0.5)
    distribution.write(tmp_path)
    assert distribution.record()["num_questions"] == 0
