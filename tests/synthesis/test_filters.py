from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medssr.benchmarks.reader import load_benchmark
from medssr.knowledge.corpora import Passage
from medssr.knowledge.facts import Entity
from medssr.knowledge.retrieval import Hit
from medssr.synthesis.filters import FILTERS, FilterLimits, check_draft, copied_words, mentions
from medssr.synthesis.generators import Draft
from medssr.synthesis.plan import Draw, SynthesisRequest

LIMITS = FilterLimits(num_options=4, min_stem_words=3, max_stem_words=60, max_option_words=12, max_copied_words=6)
OPTIONS = {"A": "liver", "B": "heart", "C": "kidney", "D": "lung"}
STEM = "Which organ is mainly affected by Wilson disease?"


def draft(stem=STEM, **options):
    return Draft(stem, OPTIONS | options, None, None, None)


def request(entity=None, *passages):
    hits = tuple(Hit(Passage(f"p{number}", "title", text), 1.0) for number, text in enumerate(passages))
    return SynthesisRequest(Draw(0, 0, 0.5, entity is not None, entity, 0, (), 0), hits, "prompt")


def reason(item, asked=None):
    rejection = check_draft(item, asked or request(), LIMITS)
    return None if rejection is None else rejection.reason


def test_a_sound_question_passes_all_filters():
    assert check_draft(draft(), request(), LIMITS) is None
    assert all(check(draft(), request(), LIMITS) is None for check in FILTERS.values())


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (draft(stem="  "), "empty_text"),
        (draft(C=" "), "empty_text"),
        (Draft(STEM, {"A": "liver", "B": "heart"}, None, None, None), "number_of_options"),
        (draft(E="skin"), "number_of_options"),
        (draft(B=" Liver."), "distinct_options"),
        (draft(A="Ataxia-telangiectasia", D="ataxia telangiectasia"), "distinct_options"),
        (draft(A="beta blockers", D="A beta-blocker"), "distinct_options"),
        (draft(A="li\ufffdver"), "garbage"),
        (draft(stem="Which organ does {entity} mainly affect?"), "garbage"),
        (draft(stem="Welche Ursache haben die Beschwerden dieser jungen Patientin wahrscheinlich?"), "not_english"),
        (draft(stem="Which organ?"), "length"),
        (draft(stem="the disease of an organ " * 12 + "is what?"), "length"),
        (draft(A="the left side of the organ " * 3), "length"),
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
    assert check_draft(item, request(), LIMITS).detail


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
    assert reason(item) is None


def test_the_filters_have_the_names_that_reasons_are_counted_by():
    assert list(FILTERS) == [
        "empty_text",
        "garbage",
        "number_of_options",
        "distinct_options",
        "length",
        "not_english",
        "stem_not_a_question",
        "answer_leaked",
        "missing_figure",
        "all_or_none_of_the_above",
        "entity_absent",
        "passage_copied",
    ]


WILSON = Entity("Wilson disease", True, synonyms=("Hepatolenticular degeneration",))


@pytest.mark.parametrize(
    "item",
    [
        draft(),
        draft(stem="Which organ is mainly affected by Wilson's disease?"),
        draft(stem="Which organ is mainly affected by hepatolenticular degeneration?"),
        draft(stem="A man has a tremor and brown rings of the cornea. What does he have?", C="Wilson disease"),
    ],
)
def test_the_entity_may_be_named_in_the_stem_or_an_option_by_any_of_its_names(item):
    assert reason(item, request(WILSON)) is None


def test_a_question_that_does_not_name_its_entity_is_rejected():
    item = draft(stem="Which organ is mainly affected by Menkes disease?")
    rejection = check_draft(item, request(WILSON), LIMITS)
    assert (rejection.reason, rejection.detail) == ("entity_absent", "Wilson disease")
    assert reason(item, request()) is None


def test_a_stem_that_copies_a_passage_of_its_prompt_is_rejected():
    passages = ("Nothing of interest.", "Copper collects in the liver, the brain, and the corneas of patients.")
    copied = draft(stem="In Wilson disease, copper collects in the liver, the brain and where else?")
    rejection = check_draft(copied, request(WILSON, *passages), LIMITS)
    assert rejection.reason == "passage_copied"
    assert rejection.detail == "p1: copper collects in the liver the brain"
    reworded = draft(stem="In Wilson disease, copper collects in the liver and where else?")
    assert reason(reworded, request(WILSON, *passages)) is None


def test_the_name_of_the_entity_is_no_copy_of_a_passage():
    name = "Autosomal recessive spastic ataxia of the Charlevoix Saguenay type"
    item = draft(stem=f"Which gene is mutated in {name}?")
    assert reason(item, request(Entity(name, True), f"The gene of {name} was found in 2000.")) is None


@pytest.mark.slow
@pytest.mark.parametrize("benchmark", ["medqa", "pubmedqa", "bioasq", "lancet"])
def test_questions_of_real_examinations_pass_unless_they_show_a_figure(shared_data, benchmark):
    questions = load_benchmark(shared_data / "benchmarks" / f"{benchmark}.json")
    limits = replace(LIMITS, num_options=len(questions[0].options), max_stem_words=600, max_option_words=100)
    reasons = Counter(
        reason.reason
        for question in questions
        if (reason := check_draft(Draft(question.stem, question.options, None, None, None), request(), limits))
    )
    figures, combined = reasons.pop("missing_figure", 0), reasons.pop("all_or_none_of_the_above", 0)
    assert reasons.total() <= 0.015 * len(questions), reasons
    assert combined <= 0.02 * len(questions)
    assert figures <= {"medqa": 120, "lancet": 70}.get(benchmark, 0)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("A man has Fabry's disease.", "Fabry disease"),
        ("A MAN HAS FABRY DISEASE", "Fabry disease"),
        ("ataxia telangiectasia (AT)", "Ataxia-telangiectasia"),
        ("A girl with Beh\u00e7et syndrome", "Behcet disease"),
        ("glycogen storage disease type 2", "Glycogen storage disease type II"),
        ("Duchenne muscular dystrophy", "Muscular dystrophy, Duchenne type"),
        ("vascular Ehlers-Danlos syndrome", "Ehlers-Danlos syndrome, vascular type"),
    ],
)
def test_names_are_found_in_other_forms(text, name):
    assert mentions(text, name)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("A man has Pompe disease.", "Fabry disease"),
        ("glycogen storage disease type 2", "Glycogen storage disease type III"),
        ("It affects the hand", "HAND syndrome of the foot"),
        ("The disease of this type", "Disease X"),
        ("", "Fabry disease"),
        ("anything", ""),
        ("anything", "???"),
    ],
)
def test_other_names_are_not_found(text, name):
    assert not mentions(text, name)


def test_a_name_of_generic_words_has_to_occur_whole():
    assert mentions("deficiency of the form", "Form deficiency")
    assert not mentions("deficiency of zinc", "Form deficiency")


def test_words_in_a_row_are_a_copy_from_the_least_number_on():
    source = "The disease is caused by mutations; of the GLA gene on the X chromosome."
    text = "A man has a disease caused by mutations of the GLA gene. What is it?"
    assert copied_words(text, source, 7) == "caused by mutations of the gla gene"
    assert copied_words(text, source, 8) is None
    assert copied_words("", source, 1) is None
    assert copied_words(text, "", 1) is None


@pytest.mark.slow
@given(st.lists(st.sampled_from("abc"), max_size=14), st.lists(st.sampled_from("abc"), max_size=14), st.integers(1, 6))
def test_a_copy_is_found_wherever_it_stands(text, source, least):
    runs = [text[start : start + least] for start in range(len(text) - least + 1)]
    others = [source[start : start + least] for start in range(len(source) - least + 1)]
    expected = next((" ".join(run) for run in runs if run in others), None)
    assert copied_words(" ".join(text), " ".join(source), least) == expected
