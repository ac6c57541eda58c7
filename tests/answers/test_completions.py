"""Completions in the manner of the models that this project meets, each judged by a careful reader."""

import json
from pathlib import Path

import pytest

from medssr.answers import extract_choice

COMPLETIONS = Path(__file__).parent / "completions.jsonl"
SHARED_CASES = Path(__file__).parents[3] / "shared" / "data" / "extraction" / "cases.jsonl"
QUESTIONS = {
    "drugs": "Aspirin|Warfarin|Heparin|Clopidogrel",
    "mechanisms": "Inhibition of cyclooxygenase|Inhibition of vitamin K epoxide reductase"
    "|Activation of antithrombin III|Blockade of the P2Y12 receptor",
    "steps": "Increase the dose of metoprolol|Intravenous amiodarone|Cardiac catheterization"
    "|Reassurance and discharge|CT scan of the chest",
    "plans": "Order an MRI of the brain|Start high-dose corticosteroids|Perform a temporal artery biopsy"
    "|Observe for two weeks",
    "diagnoses": "Acute pancreatitis|Peptic ulcer disease|Acute cholecystitis|Hepatitis A",
    "rashes": "Serum sickness|Kawasaki disease|Measles|Scarlet fever|Toxic shock syndrome|Rubella|Roseola|Dengue fever"
    "|Typhus|Stevens-Johnson syndrome",
    "genes": "GLA|ATM|HBB|CFTR",
    "vitamins": "Vitamin A|Vitamin B12|Vitamin C|Vitamin D",
    "doses": "0.5 mg/kg|1 mg/kg|2 mg/kg|5 mg/kg",
    "verdicts": "yes|no|maybe",
}
OPTIONS = {name: dict(zip("ABCDEFGHIJ", texts.split("|"), strict=False)) for name, texts in QUESTIONS.items()}
CASES = [json.loads(line) for line in COMPLETIONS.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['options']}: {case['completion'][-40:]}")
def test_completions_in_the_manner_of_models(case: dict[str, str]) -> None:
    assert extract_choice(case["completion"], OPTIONS[case["options"]]).letter == case["expected"]


def test_shared_cases() -> None:
    if not SHARED_CASES.exists():
        pytest.skip(f"{SHARED_CASES} is absent")
    cases = [json.loads(line) for line in SHARED_CASES.read_text(encoding="utf-8").splitlines()]
    assert len(cases) >= 111
    wrong = [case for case in cases if extract_choice(case["completion"], case["options"]).letter != case["expected"]]
    assert wrong == []
