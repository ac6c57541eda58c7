"""What a careful reader takes from a completion, and that the extractor takes the same."""

import itertools

import pytest

from medssr.answers import Choice, Reason, extract_choice

DRUGS = {"A": "Aspirin", "B": "Warfarin", "C": "Heparin", "D": "Clopidogrel"}
LOOKALIKES = {"A": "Hepatitis A", "B": "Hepatitis B", "C": "IgA nephropathy", "D": "Vitamin D deficiency"}
VERDICTS = {"A": "yes", "B": "no", "C": "maybe"}
TYPES = {"A": "Type 1", "B": "Type 10", "C": "Type 1 diabetes mellitus", "D": "Type 2"}
GERMS = {"A": "Escherichia coli", "B": "C. difficile", "C": "B. fragilis", "D": "Klebsiella"}
NUMBERS = {"A": "5", "B": "5.5", "C": "-5", "D": "10"}
TWINS = {"A": "Rest", "B": "Rest", "C": "Surgery", "D": "Ice"}
CELLS = {"A": "B cell lymphoma", "B": "T cell lymphoma", "C": "NK cell lymphoma", "D": "Mast cell disease"}
TEN = {letter: f"finding {number}" for number, letter in enumerate("ABCDEFGHIJ")}
GENES = {"A": "GLA", "B": "ATM", "C": "HBB", "D": "CFTR"}

OPTION_SETS = [DRUGS, LOOKALIKES, VERDICTS, TYPES, GERMS, NUMBERS, CELLS, TEN]
PHRASES = [
    "The answer is {}.",
    "**The answer is: {}**",
    "Final Answer: {}",
    "## Final Answer\n\n{}",
    "Answer: {}",
    "The correct answer is {}.",
    "The best answer is therefore {}.",
    "Therefore, the correct option is {}.",
    "Some thoughts on the matter.\n\nI would choose {}.",
    "The answer to this question is {}, because it fits.",
    "So the answer must be {}",
    "My final choice is {}.",
    "The clear winner is {}.",
    "It's clearly {}",
    "<think>The answer is A. Or B.</think>\n\nThe answer is {}.",
    "<answer>{}</answer>",
    "\\boxed{{{}}}",
    "$\\boxed{{\\text{{{}}}}}$",
    "答案是{}。",
    "Die richtige Antwort ist {}.",
    "La respuesta correcta es {}.",
    "La bonne réponse est {}.",
]
FORMS = [
    "{letter}",
    "({letter})",
    "**{letter}**",
    "[{letter}]",
    "option {letter}",
    "{letter}. {text}",
    "**{letter}) {text}**",
    "({letter}) {text}",
    "{letter}: {text}",
    "{letter} ({text})",
]


@pytest.mark.parametrize("form", FORMS)
def test_every_phrase_reads_every_way_to_name_an_option(form: str) -> None:
    misread = []
    for phrase, options in itertools.product(PHRASES, OPTION_SETS):
        for letter, text in options.items():
            completion = phrase.format(form.format(letter=letter, text=text))
            if extract_choice(completion, options).letter != letter:
                misread.append(completion)
    assert misread == []


@pytest.mark.slow
@pytest.mark.parametrize("options", OPTION_SETS)
@pytest.mark.parametrize("phrase", ["{}", "{}.", "**{}**", "The answer is {}.", "\\boxed{{{}}}", "Thoughts.\n\n{}"])
def test_the_full_text_of_an_option_names_it(options: dict[str, str], phrase: str) -> None:
    for letter, text in options.items():
        assert extract_choice(phrase.format(text), options).letter == letter
        assert extract_choice(phrase.format(text.upper()), options).letter == letter


@pytest.mark.parametrize(
    "field",
    ['"answer_choice": "{}"', "'answer': '{}'", '"final_answer": ["{}"]', '"answer": "Option {}"'],
)
def test_a_json_field_is_the_answer_whatever_the_other_fields_say(field: str) -> None:
    thoughts = '"step_by_step_thinking": "The answer is A. Option C is the correct answer."'
    for letter in DRUGS:
        value = field.format(letter)
        for completion in (f"{{{thoughts}, {value}}}", f"```json\n{{\n  {value},\n  {thoughts}\n}}\n```", f"{{{value}"):
            assert extract_choice(completion, DRUGS).letter == letter, completion


READ = {
    "as a conclusion": [
        ("The most likely diagnosis is **C. IgA nephropathy**.", LOOKALIKES, "C"),
        ("So, B.", DRUGS, "B"),
        ("I'd go with B", DRUGS, "B"),
        ("This leaves option B.", DRUGS, "B"),
        ("By elimination, leaving B as the answer.", DRUGS, "B"),
        ("Option B is correct.", DRUGS, "B"),
        ("B. is correct.", DRUGS, "B"),
        ("Choose D over B.", DRUGS, "D"),
        ("B is the correct answer.", DRUGS, "B"),
        ("Warfarin (Option B) is the most appropriate choice.", DRUGS, "B"),
        ("A) Aspirin - Incorrect.\nB) Warfarin - This is the correct answer.\nC) Heparin - No.", DRUGS, "B"),
        ("The patient needs anticoagulation.\n\n**B**", DRUGS, "B"),
        ("B. Warfarin\n\nWhy not the others?\n- A. Aspirin: antiplatelet\n- C. Heparin: parenteral", DRUGS, "B"),
        ("Yes, titin is the largest protein.", VERDICTS, "A"),
    ],
    "the last decision": [
        ("The answer is A, since it inhibits COX... no, it should be B.", DRUGS, "B"),
        ("The answer is not A, it is B.", DRUGS, "B"),
        ("So the answer is D? No. The best choice is B.", DRUGS, "B"),
        ("The answer is A or B. After more thought, the answer is B.", DRUGS, "B"),
        ("\\boxed{B}\n\nOn reflection the answer is C.", DRUGS, "C"),
        ("The answer is C. Wait, actually, it's B.", DRUGS, "B"),
        ("The answer is B.\n\nThe answer is not A.", DRUGS, "B"),
    ],
    "other options are discussed": [
        ("The answer is B, since all except B cause bleeding.", DRUGS, "B"),
        ("The answer is B. Option A is correct and option C is correct as statements.", DRUGS, "B"),
        ("Statement B is false, so the answer is B.", DRUGS, "B"),
        ("The answer is B rather than C.", DRUGS, "B"),
        ("The answer is B and C is incorrect", DRUGS, "B"),
        ("The answer is B. Heparin is not indicated because of bleeding.", DRUGS, "B"),
        ("The answer is B. If B is not available, choose C.", DRUGS, "B"),
        ("The answer is B. Some experts would choose C.", DRUGS, "B"),
        ("The answer is B. Thus A and C can be excluded.", DRUGS, "B"),
        ("The answer is B. Option C would be the answer if the patient were pregnant.", DRUGS, "B"),
    ],
    "names inside names": [
        ("The answer is B cell lymphoma", CELLS, "A"),
        ("The most likely organism is C. difficile.", GERMS, "B"),
        ("The answer is -5", NUMBERS, "C"),
        ("Hepatitis B is the correct answer.", LOOKALIKES, "B"),
        ("The answer is Rest (B).", TWINS, "B"),
        ("The correct answer is X.", {"A": "VII", "B": "VIIa", "C": "X"}, "C"),
    ],
    "marks around the text": [
        ("<|channel|>analysis<|message|>The answer is A.<|end|><|channel|>final<|message|>B", DRUGS, "B"),
        ("so the answer is A </think> The answer is B", DRUGS, "B"),
        ("The answer is B.<|im_end|>\n<|im_start|>user\nThe answer is C", DRUGS, "B"),
        ("The answer is \u200b\uff22\u200b", DRUGS, "B"),
        ("The answer is <b>B</b>.", DRUGS, "B"),
    ],
    "a label without a verb": [
        ("Correct: C", DRUGS, "C"),
        ("Correct option: C", DRUGS, "C"),
        ("Correct answer C", DRUGS, "C"),
        ("Answer (C) Heparin", DRUGS, "C"),
    ],
    "a last sentence without a cue": [
        ("The patient should get warfarin (B).", DRUGS, "B"),
        ("Aspirin (A) is too weak. The drug in question is **B. Warfarin**.", DRUGS, "B"),
        ("So the blood is thinned by warfarin, which is option B.", DRUGS, "B"),
    ],
    "a walk through the options": [
        ("A. GLA: no. B. ATM: yes. C. HBB: no. D. CFTR: no. The answer is B.", GENES, "B"),
        ("A. GLA: no. B. ATM: yes. C. HBB: no. D. CFTR: no.\n\nB", GENES, "B"),
        ("A. GLA: no. B. ATM: yes. C. HBB: no. D. CFTR: no. The answer is yes.", VERDICTS, "A"),
        ("A. yes: no trial shows it. B. no: all trials agree. The answer is B.", VERDICTS, "B"),
        ("The answer is A, as it fits best.\n\nOther options:\nB. Warfarin", DRUGS, "A"),
    ],
    "a base model writes the next question": [
        ("The answer is B.\n\nQuestion: Which drug?\nA. Aspirin\nAnswer: C", DRUGS, "B"),
        ("Question: Which drug?\nA. Aspirin\nB. Warfarin\nAnswer: B\n\nQuestion: And now?\nAnswer: D", DRUGS, "B"),
    ],
}  # fmt: skip
REFUSED = {
    Reason.EMPTY: ["", " \n", "<think>The answer is B.</think>", "\u200b"],
    Reason.UNFINISHED_THINKING: ["<think>The answer is B.", "The answer is B. <think> Wait", "[THINK] B"],
    Reason.SEVERAL_LETTERS: [
        "The answer is B or C.",
        "The answer is B, C, and D.",
        "The correct answers are B and D.",
        "A and B are the correct answers.",
        "The answer is Warfarin or Heparin.",
        "The answer is A. Aspirin or B. Warfarin.",
        "The answer is:\nA. Aspirin\nB. Warfarin",
        "\\boxed{B, C}",
        '{"answer_choice": "A/B"}',
        "A/B",
        "The answer is B. The answer is B or C.",
        "The answer is B and then C.",
        "The answer is: A. Aspirin\nB. Warfarin",
    ],
    Reason.NOT_AN_OPTION: ["The answer is E.", "\\boxed{42}", '{"answer": "Insufficient data"}', "E"],
    Reason.CONTRADICTION: ["The answer is B. Heparin", "The answer is Heparin (B)", "\\boxed{B. Heparin}"],
    Reason.RETRACTED: [
        "The answer is B. No, the answer is not B.",
        "The answer is B. Wait, that is wrong.",
        "The answer cannot be A.",
    ],
    Reason.NO_ANSWER: [
        "The answer is unclear.",
        "The answer is a beta blocker.",
        "If the answer is A, the patient would bleed.",
        "The answer could be B.",
        "The answer is B?",
        "I don't think the answer is B.",
        "You might choose A.",
        "The wrong answer is A.",
        "Vitamin D is the correct answer.",
        "The most likely organism is C. difficile.",
        "A 45-year-old man presents with pain.",
        "A. Aspirin\nB. Warfarin\nC. Heparin\nD. Clopidogrel",
        "Perhaps A. Aspirin is correct, but I should look again.",
        "As a language model, I cannot give medical advice.",
        "A. Aspirin: no. B. Warfarin: yes. C. Heparin: no. D. Clopidogrel: no.",
        "A. Aspirin - an antiplatelet drug that blocks",
        "A. Aspirin is weak.\nB. Warfarin is slow.\nC",
        "A is weak, so B is slower. I think C is the most plausible, but",
        "Maybe it's D, but",
        "Platelets are blocked by aspirin (A) and clopidogrel (D).",
        "The patient should not get warfarin (B).",
        "Unlike heparin, this is warfarin (B).",
        "B or C would be reasonable.",
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("completion", "options", "letter"), list(itertools.chain(*READ.values())), ids=lambda value: str(value)[:40]
)
def test_reads_what_a_careful_reader_reads(completion: str, options: dict[str, str], letter: str) -> None:
    assert extract_choice(completion, options).letter == letter


@pytest.mark.parametrize(
    ("reason", "completion"), [(reason, text) for reason, texts in REFUSED.items() for text in texts]
)
def test_says_why_there_is_no_letter(reason: Reason, completion: str) -> None:
    assert extract_choice(completion, DRUGS) == Choice(None, reason)


def test_text_that_two_options_share_names_neither() -> None:
    assert extract_choice("The answer is Rest.", TWINS) == Choice(None, Reason.SHARED_TEXT)


def test_the_pronoun_i_is_no_option() -> None:
    assert extract_choice("I would recommend rest.", TEN).letter is None
    assert extract_choice("The answer is I am not sure", TEN).letter is None
    assert extract_choice("The answer is I", TEN).letter == "I"


NEPHROTIC = "A child has nephrotic syndrome."
PAIRS = {
    "A": "Aspirin",
    "B": "Clopidogrel",
    "C": "Aspirin and clopidogrel",
    "D": "Warfarin",
    "E": "Warfarin and aspirin",
}
EPONYMS = {"A": "Multiple sclerosis", "B": "Guillain-Barré syndrome", "C": "Wilson disease", "D": "β-thalassemia"}


@pytest.mark.parametrize(
    ("completion", "options", "letter"),
    [
        # A heading begins another question, also one without a question mark.
        (f"The answer is C.\n\n### Related question\n{NEPHROTIC}\nAnswer: B", DRUGS, "C"),
        (f"Answer: C\n\n### Similar question for practice\n{NEPHROTIC} Answer: B", DRUGS, "C"),
        (f"The answer is C.\n\n## Test yourself\n{NEPHROTIC}\nAnswer: B", DRUGS, "C"),
        (f"The answer is C.\n\nVariation:\n{NEPHROTIC}\nAnswer: B", DRUGS, "C"),
        # What would be right in another case is no answer.
        ("Were she pregnant, B would be right.", DRUGS, None),
        ("If she were pregnant, B would be right; as she is not, C is.", DRUGS, "C"),
        # A later answer replaces an earlier one.
        ("The answer is C. Final: B", DRUGS, "B"),
        ("The answer is C. My final answer changes to B.", DRUGS, "B"),
        ("The answer is C. B, actually.", DRUGS, "B"),
        ("Answer: C\n\nAfter double-checking: B", DRUGS, "B"),
        ("Answer: C. A, actually, is an NSAID.", DRUGS, "C"),
        # A second choice is none.
        ("First choice: C. Second choice: B.", DRUGS, "C"),
        ("1st choice: C\n2nd choice: B", DRUGS, "C"),
        ("Best: C. Second best: B", DRUGS, "C"),
        ("Second best: B", DRUGS, None),
        ("Answer: C (should be B)", DRUGS, "B"),
        # What is ruled out, outranked or asked is no answer.
        ("Ruling in: B. Ruling out: A, C, D.", DRUGS, None),
        ("C < B", DRUGS, None),
        ("A or C? The answer is B.", DRUGS, "B"),
        ("A or B? B.", DRUGS, "B"),
        ("A, B, and D", DRUGS, None),
        # A verdict on each option, and an answer for each case.
        ("(A) Wrong. (B) Right. (C) Wrong. (D) Wrong.", DRUGS, "B"),
        ("C in the young, B in the elderly. She is 80: B.", DRUGS, "B"),
        # Three drugs are none of the options that have one or two of them.
        ("Answer: aspirin, clopidogrel and warfarin", PAIRS, None),
        ("Answer: Aspirin, clopidogrel", PAIRS, "C"),
        # Names without their accents, with an owner's 's, in letters of another script.
        ("Answer: Guillain-Barre syndrome", EPONYMS, "B"),
        ("Answer: Wilson's disease", EPONYMS, "C"),
        ("Answer: beta-thalassemia", EPONYMS, "D"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_endings_that_were_read_wrong(completion: str, options: dict[str, str], letter: str | None) -> None:
    assert extract_choice(completion, options).letter == letter
