"""Completions in the manner of the models that this project meets, each judged by a careful reader."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medssr.answers import extract_choice

COMPLETIONS = [Path(__file__).parent / f"{name}.jsonl" for name in ("completions", "model_outputs", "adversarial")]
SHARED = Path(__file__).parents[3] / "shared" / "data" / "extraction"
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
    "germs": "Escherichia coli|C. difficile|B. fragilis|Klebsiella",
    "hepatitides": "Hepatitis A|Hepatitis B|Hepatitis C|Hepatitis D",
    "cells": "T cells|NK cells|B cells|Mast cells",
    "tests": "D-dimer|Electrocardiogram|CT pulmonary angiography|C-reactive protein",
    "roots": "C5|C6|C7|T1",
    "clotting": "Factor V Leiden|Protein C deficiency|Protein S deficiency|Antithrombin deficiency",
    "antibodies": "IgA|IgG|IgM|IgE",
    "stages": "Stage I|Stage II|Stage III|Stage IV",
    "risks": "10%|25%|50%|75%",
    "pairs": "1 and 2|1 and 3|2 only|1, 2 and 3",
    "habits": "Obesity|Smoking|Alcohol|All of the above",
    "marks": "A|B|C|D|E",
    "groups": "Type A|Type B|Type AB|Type O",
}
OPTIONS = {name: dict(zip("ABCDEFGHIJ", texts.split("|"), strict=False)) for name, texts in QUESTIONS.items()}
CASES_OF = {
    file.stem: [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]
    for file in COMPLETIONS
}
CASES = [case for cases in CASES_OF.values() for case in cases]
FINAL_LINES = [
    "The answer is {}.",
    "Therefore, the correct answer is option {}.",
    "**Final Answer: {}**",
    "### Final Answer\n\n{}",
    "\\boxed{{{}}}",
    "<answer>{}</answer>",
    '{{"answer": "{}"}}',
]
CUT_OFF = (  # the answer ends here
    *("<|im_end|>", "<|eot_id|>", "</s>", "<|endoftext|>"),
    *("\nQuestion:", "\nQ:", "\nQ2:", "\nUser:", "\nHuman:", "\n### Instruction:"),
)
THINKING = {"<think>": "</think>", "<thinking>": "</thinking>", "<|channel|>analysis": "<|channel|>final"}


@pytest.mark.parametrize("file", CASES_OF)
def test_completions_in_the_manner_of_models(file: str) -> None:
    read = [(case, extract_choice(case["completion"], OPTIONS[case["options"]]).letter) for case in CASES_OF[file]]
    assert [(case, letter) for case, letter in read if letter != case["expected"]] == []


@pytest.mark.slow
@pytest.mark.parametrize("line", FINAL_LINES)
def test_whatever_was_written_before_a_final_answer_line_does_not_change_it(line: str) -> None:
    wrong = []
    for case in CASES:
        text, options = case["completion"], OPTIONS[case["options"]]
        is_open = any(text.count(start) > text.count(end) for start, end in THINKING.items())
        if is_open or any(mark in text for mark in CUT_OFF):
            continue
        letter = "BCA"[len(text) % 3]
        completion = f"{text}\n\n{line.format(letter)}"
        if extract_choice(completion, options).letter != letter:
            wrong.append(completion)
    assert wrong == []


@pytest.mark.slow
@given(
    st.lists(st.sampled_from(CASES), min_size=1, max_size=4),
    st.integers(0, 400),
    st.integers(0, 400),
    st.sampled_from(sorted(OPTIONS)),
)
def test_pieces_of_completions_never_give_a_letter_that_is_no_option(
    cases: list[dict[str, str]], start: int, end: int, options: str
) -> None:
    text = " ".join(case["completion"] for case in cases)
    for piece in (text[start:], text[: len(text) - end], text[start:end]):
        choice = extract_choice(piece, OPTIONS[options])
        assert choice.letter is None or choice.letter in OPTIONS[options]


def shared_cases(name: str) -> list[dict[str, Any]]:
    file = SHARED / name
    if not file.exists():
        pytest.skip(f"{file} is absent")
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_shared_cases() -> None:
    cases = shared_cases("cases.jsonl")
    assert len(cases) >= 111
    wrong = [case for case in cases if extract_choice(case["completion"], case["options"]).letter != case["expected"]]
    assert wrong == []


def test_shared_endings() -> None:
    cases = shared_cases("endings.jsonl")
    assert len(cases) >= 286
    letters = [extract_choice(case["completion"], case["options"]).letter for case in cases]
    wrong = [case for case, letter in zip(cases, letters, strict=True) if letter not in (None, case["expected"])]
    num_right = sum(letter == case["expected"] for case, letter in zip(cases, letters, strict=True))
    assert len(wrong) <= 0.005 * len(cases), wrong  # a wrong letter is worse than none
    assert num_right >= 0.97 * len(cases)


ENDINGS = [
    json.loads(line) for line in (Path(__file__).parent / "endings.jsonl").read_text(encoding="utf-8").splitlines()
]


@pytest.mark.slow
@pytest.mark.parametrize("number", sorted({group["set"] for group in ENDINGS}))
def test_endings_of_other_writers(number: int) -> None:
    """Guards the rules, which were mended on these sets; each was written in another voice and is hard on purpose."""
    right, wrong, total = 0, [], 0
    for group in (group for group in ENDINGS if group["set"] == number):
        for _, expected, completion in group["endings"]:
            letter = extract_choice(completion, group["options"]).letter
            right += letter == expected
            total += 1
            if letter not in (None, expected):
                wrong.append(completion)
    assert len(wrong) <= 0.01 * total, wrong
    assert right >= 0.84 * total
