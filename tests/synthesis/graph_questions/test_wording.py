from __future__ import annotations

import random
import re

import pytest

from medssr.knowledge.facts import builtin_common_diseases, builtin_rare_diseases
from medssr.synthesis.graph_questions.wording import Told, can_be_denied, first_years, sex_of, told, vignette, wordings
from medssr.text import faults

PATIENT = Told(
    years=4.2,
    sex="male",
    present=("seizures", "ataxia", "a cleft palate", "neutropenia", "neonatal hypotonia"),
    absent=("an inguinal hernia", "ptosis"),
    when="in infancy",
    pattern="X-linked",
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Intellectual disability, mild", "mild intellectual disability"),
        ("Hearing impairment", "hearing impairment"),
        ("EEG with burst suppression", "EEG with burst suppression"),
        ("Hirschsprung disease", "Hirschsprung disease"),
        ("Death in infancy", None),
        ("Autosomal recessive inheritance", None),
        ("Abnormal facial shape", None),
        ("Intrauterine growth retardation", None),
        ("numb, tingling thumb and fingers", "numb, tingling thumb and fingers"),
    ],
)
def test_how_a_finding_is_told(name, expected):
    assert told(name) == expected


def test_all_findings_of_the_built_in_world_can_be_told_as_they_are():
    facts = [fact for entity in [*builtin_rare_diseases(), *builtin_common_diseases()] for fact in entity.facts]
    values = {value for fact in facts if fact.relation == "finding" for value in (fact.value, *fact.also_true)}
    assert {value for value in values if told(value) != value} == set()


@pytest.mark.parametrize(
    ("name", "sex", "years", "is_deniable"),
    [
        ("Micropenis", "male", 0, True),
        ("Bicornuate uterus", "female", 0, True),
        ("Delayed puberty", None, 14, False),
        ("Dementia", None, 30, True),
        ("Intellectual disability", None, 6, True),
        ("Osteopenia", None, 0, True),
        ("Hypoglycemia", None, 0, True),
        ("Hypoplasia of the corpus callosum", None, 0, False),
    ],
)
def test_whom_and_when_a_finding_suits(name, sex, years, is_deniable):
    assert (sex_of(name), first_years(name), can_be_denied(name)) == (sex, years, is_deniable)


def test_a_vignette_tells_all_that_is_known_once():
    for seed in range(50):
        text = vignette(PATIENT, "ask_diagnosis", random.Random(seed))
        assert text.startswith("A 4-year-old boy ")
        assert text.endswith("?")
        for part in ("seizures", "ataxia", "a cleft palate", "neutropenia", "neonatal hypotonia", "in infancy"):
            assert text.count(part) == 1
        assert "inguinal hernia or ptosis" in text
        assert "no an " not in text
        assert "X-linked inheritance" in text or "to be X-linked" in text
        sentences = text.split(". ")
        lab = next(sentence for sentence in sentences if "neutropenia" in sentence)
        assert "test" in lab or "stud" in lab
        assert "ataxia" not in lab
        assert "history" in next(sentence for sentence in sentences if "neonatal" in sentence)


def test_what_is_unknown_is_not_told():
    unknown = Told(None, None, ("wheezing", "ascites", "jaundice"), (), None, None)
    texts = {vignette(unknown, "ask_gene", random.Random(seed)) for seed in range(100)}
    assert len(texts) > 5
    for text in texts:
        assert re.fullmatch(r"A patient [^.]*wheezing, ascites, and jaundice\. [^.]*\?", text)


def test_every_sentence_passes_the_filters():
    sentences = wordings().sentences
    for purpose, templates in sentences.items():
        for template in templates:
            assert faults.missing_figure(template) is None, template
            assert faults.leaked_answer(template) is None, template
            if purpose.startswith("ask_"):
                assert faults.asks_nothing(template) is None, template
