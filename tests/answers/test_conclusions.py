"""What the closing statement of a reply decides where it uses none of the usual words, and where it decides nothing."""

# ruff: noqa: RUF001  punctuation of other scripts

import pytest

from medssr.answers import extract_choice

DRUGS = {"A": "Isoniazid", "B": "Rifampicin", "C": "Pyrazinamide", "D": "Ethambutol"}
VITAMINS = {"A": "Vitamin A", "B": "Vitamin B12", "C": "Vitamin C", "D": "Vitamin D"}
STEPS = {
    "A": "Obtain a chest radiograph",
    "B": "Administer intravenous ceftriaxone",
    "C": "Perform a lumbar puncture",
    "D": "Reassurance and discharge",
}
GERMS = {"A": "Group A Streptococcus", "B": "Staphylococcus aureus", "C": "Group B Streptococcus", "D": "Moraxella"}
STATEMENTS = {"A": "I only", "B": "II only", "C": "I and III", "D": "I, II and III"}
DIAGNOSES = {"A": "La péricardite", "B": "Crohn's disease", "C": "L'embolie pulmonaire", "D": "Tumour lysis syndrome"}


@pytest.mark.parametrize(
    "ending",
    [
        "Taken together, these findings point to {x}.",
        "This makes {x} the correct choice.",
        "Everything is consistent with option {x}.",
        "I can't say for certain, but {x} would be my pick.",
        "It could be {y} or {x}, but the colour favours {x}.",
        "On balance {x} seems the better fit.",
        "Some would take {y}, yet {x} remains the best choice.",
        "Compared with {y}, option {x} is the stronger choice.",
        "As far as I can tell, {x}.",
        "{x} has the edge over {y}.",
        "{x} is more likely than the others.",
        "Nothing fits as well as {x}.",
        "I favour {x} over {y} in gout.",
        "Not so much {y} as {x}.",
        "{y} is fine, {x} is better.",
        "Most likely {x}, less likely {y}.",
        "That rules out everything except {x}.",
        "Only {x} colours tears.",
        "{x} gets my vote.",
        "Somit ist ({x}) die richtige Lösung.",
        "La opción {x} es la más adecuada.",
        "我认为{y}不对，应该是{x}。",
    ],
)
@pytest.mark.parametrize(("x", "y"), [("A", "C"), ("C", "A"), ("B", "D")])
def test_the_main_clause_of_the_last_statement_decides(ending: str, x: str, y: str) -> None:
    assert extract_choice(ending.format(x=x, y=y), DRUGS).letter == x


@pytest.mark.parametrize(
    "ending",
    [
        "The false statement is {x}.",
        "The least appropriate drug is {x}.",
        "The one that is NOT bactericidal is {x}.",
        "All of these drugs colour the urine except {x}.",
        "{x} is the odd one out.",
        "The contraindicated drug is {x}.",
        "{x} is the only one that is not bactericidal.",
        "{x} is contraindicated here, so it is the answer.",
        "Which is NOT recommended? {x}.",
    ],
)
def test_what_a_negated_question_asks_for_is_its_answer(ending: str) -> None:
    assert extract_choice(ending.format(x="D"), DRUGS).letter == "D"


@pytest.mark.parametrize(
    ("ending", "options", "letter"),
    [
        ("Scurvy is due to lack of vitamin C.", VITAMINS, "C"),
        ("The deficiency is of vitamin B12.", VITAMINS, "B"),
        ("The cause is group B strep.", GERMS, "C"),
        ("S. aureus is the most common cause.", GERMS, "B"),
        ("Answer: lumbar puncture", STEPS, "C"),
        ("The most appropriate next step is to administer IV ceftriaxone.", STEPS, "B"),
        ("He needs a chest radiograph.", STEPS, "A"),
        ("It is Crohn disease.", DIAGNOSES, "B"),
        ("This is tumor lysis syndrome.", DIAGNOSES, "D"),
        ("Il s'agit d'une embolie pulmonaire.", DIAGNOSES, "C"),
        ("Statements I and III are correct.", STATEMENTS, "C"),
        ("Only II is correct.", STATEMENTS, "B"),
        ("It is 50 %.", {"A": "25%", "B": "50%"}, "B"),
        ("You should obtain a chest radiograph next.", STEPS, "A"),
        ("All three statements (I, II, and III) are true.", STATEMENTS, "D"),
    ],
)
def test_an_option_is_known_by_its_text_under_other_names(ending: str, options: dict[str, str], letter: str) -> None:
    assert extract_choice(ending, options).letter == letter


@pytest.mark.parametrize(
    "ending",
    [
        "B is possible.",
        "B is a reasonable choice, but C is as well.",
        "B acts on the ribosome.",
        "The user says B.",
        "See part B.",
        "The blood type is B.",
        "The level of evidence is B.",
        "The patient should not get rifampicin.",
        "The question asks about rifampicin.",
        "Rifampicin and ethambutol.",
        "Falsch ist C.",
        "Is it rifampicin?",
        "I would need to see the X-ray before choosing B.",
        "Most likely B. But let me think again.",
        "So B is one of the drugs that cause",
        '{"reasoning": "It colours tears, so A is likely, but B',
    ],
)
def test_a_statement_that_decides_nothing_gives_no_letter(ending: str) -> None:
    assert extract_choice(ending, DRUGS).letter is None


def test_a_long_discussion_does_not_decide_by_what_it_names_last() -> None:
    discussion = "Tuberculosis is treated for six months, and resistance has to be excluded first. " * 6
    assert extract_choice(discussion + "Liver enzymes are checked under rifampicin.", DRUGS).letter is None
    assert extract_choice(discussion + "Hence the patient is treated with rifampicin.", DRUGS).letter == "B"


def test_names_that_two_options_share_name_neither() -> None:
    options = {"A": "Order a chest radiograph", "B": "Obtain a chest radiograph", "C": "Observe"}
    assert extract_choice("Answer: chest radiograph", options).letter is None


def test_a_numbered_stem_without_a_question_mark_begins_a_further_question() -> None:
    stem = "12. A boy with a barking cough has\nA. RSV\nB. Influenza\nC. Parainfluenza\nD. Adenovirus\nAnswer: C"
    assert extract_choice(f"Answer: B\n\n{stem}", DRUGS).letter == "B"
