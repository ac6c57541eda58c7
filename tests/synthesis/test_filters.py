from __future__ import annotations

import json

import pytest

from medssr.questions import Question, parse_lettered_text
from medssr.synthesis.filters import FILTERS, FilterLimits, SeenQuestions, check_draft
from medssr.synthesis.generators import Draft, Rejection

LIMITS = FilterLimits(num_options=4, min_stem_words=3, max_stem_words=60, max_option_words=12)
OPTIONS = {"A": "liver", "B": "heart", "C": "kidney", "D": "lung"}
STEM = "Which organ is mainly affected by Wilson disease?"


def draft(stem=STEM, **options):
    return Draft(stem, OPTIONS | options, None, None, None)


def reason(item):
    rejection = check_draft(item, LIMITS)
    return None if rejection is None else rejection.reason


def test_a_sound_question_passes_all_filters():
    assert check_draft(draft(), LIMITS) is None
    assert all(check(draft(), LIMITS) is None for check in FILTERS.values())


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (draft(stem="  "), "empty_text"),
        (draft(C=" "), "empty_text"),
        (Draft(STEM, {"A": "liver", "B": "heart"}, None, None, None), "number_of_options"),
        (draft(E="skin"), "number_of_options"),
        (draft(B=" Liver."), "distinct_options"),
        (draft(stem="Which organ?"), "length"),
        (draft(stem="word " * 60 + "what?"), "length"),
        (draft(A="word " * 13), "length"),
        (draft(stem="Wilson disease mainly damages one organ."), "stem_not_a_question"),
        (draft(stem="Which organ is affected? The answer is A."), "answer_leaked"),
        (draft(stem="Which organ is affected? Answer: liver"), "answer_leaked"),
        (draft(B="heart (correct)"), "answer_leaked"),
        (draft(stem="Which organ is the correct answer here?"), "answer_leaked"),
        (draft(stem="The radiograph is shown. What is the diagnosis?"), "missing_figure"),
        (draft(stem="Which organ is marked in Figure 2 of the text?"), "missing_figure"),
        (draft(stem="Which organ is seen in the image below?"), "missing_figure"),
        (draft(stem="See the attached table. Which organ is affected?"), "missing_figure"),
        (draft(D="All of the above"), "all_or_none_of_the_above"),
        (draft(D="None of the above."), "all_or_none_of_the_above"),
        (draft(D="None of these"), "all_or_none_of_the_above"),
        (draft(D="Both A and B"), "all_or_none_of_the_above"),
        (draft(D="A, B and C"), "all_or_none_of_the_above"),
    ],
)
def test_the_first_filter_that_fails_is_the_reason(item, expected):
    assert reason(item) == expected
    assert check_draft(item, LIMITS).detail


@pytest.mark.parametrize(
    "item",
    [
        draft(stem="A man has jaundice. The most likely diagnosis is:"),
        draft(stem="A man has jaundice. The most likely diagnosis is"),
        draft(stem="Wilson disease is caused by a defect of"),
        draft(stem="All of these organs are affected by Wilson disease EXCEPT"),
        draft(stem="A man has jaundice. Identify the organ that is affected."),
        draft(stem="Which drug was shown to lower the risk of stroke?"),
        draft(stem="An MRI image shows a mass. What is the diagnosis?"),
        draft(stem="Which patient exhibits a rash after treatment?"),
        draft(stem="A questionnaire asks for one answer. What is measured?"),
        draft(A="all of the small joints", B="vitamins A and D", C="hepatitis B", D="none"),
        draft(A="CD4+", B="CD4-", C="1+", D="1-"),
        draft(A="pulmonary artery (right)"),
    ],
)
def test_sound_wordings_are_not_taken_for_faults(item):
    assert check_draft(item, LIMITS) is None


def test_the_filters_have_the_names_that_reasons_are_counted_by():
    assert list(FILTERS) == [
        "empty_text",
        "number_of_options",
        "distinct_options",
        "length",
        "stem_not_a_question",
        "answer_leaked",
        "missing_figure",
        "all_or_none_of_the_above",
    ]


def test_questions_of_the_evaluation_and_repeated_ones_are_rejected():
    def question(name, stem, **options):
        return Question(name, stem, options, None, "synthetic")

    seen = SeenQuestions([question("eval-1", "Which organ?", A="liver", B="heart")])
    assert seen.check(question("new", "which organ", A="Heart", B="Liver.")) == Rejection("in_evaluation", "eval-1")
    first = question("first", "Which gene?", A="GLA", B="ATM")
    assert seen.check(first) is None
    seen.add(first)
    assert seen.check(question("second", "Which gene?", A="ATM", B="GLA")) == Rejection("duplicate", "first")
    assert seen.check(question("third", "Which gene?", A="ATM", B="CFTR")) is None


def test_questions_of_real_examinations_pass_unless_they_show_a_figure(shared_data):
    released = json.loads((shared_data / "benchmarks" / "medqa.json").read_text(encoding="utf-8"))
    records = next(iter(released.values())) if isinstance(released, dict) else released
    limits = FilterLimits(num_options=4, min_stem_words=3, max_stem_words=600, max_option_words=60)
    reasons = []
    for record in records:
        stem, options = parse_lettered_text(record["question"])
        rejection = check_draft(Draft(stem, options, None, None, None), limits)
        reasons.append(None if rejection is None else rejection.reason)
    others = [name for name in reasons if name not in (None, "missing_figure", "number_of_options")]
    assert len(others) <= len(reasons) / 100
    assert reasons.count("missing_figure") <= len(reasons) / 10
