"""A grid of options that speak about other options, and of hard ones that do not."""

from __future__ import annotations

import pytest

from medssr.answers.options_about_options import names_option, option_about_options, speaks_about_options

POSITIVES = {
    "English letters": """
        A only | B alone | Only C | A and B | A & B | A/B | A, B | A+B | A or B | (a) and (b) | (A)(B) | A and C only
        Both A and C | Both (A) and (B) | Neither A nor B | Either A or C | All except B | All but D | Not A
        A, B and C | A, B, and D | (c) only | Option B | Options A and C | A is correct | Both A and B are correct
        A and B but not C | A is true, B is false | Everything except (d) | All of A, B and C | A as well as B
        A followed by B and C | A or B, depending on age | Combination of A and C | A and C, in that order
        A and D when severe | Answer B or C | Give A and B | both a and c | b & d | A then B
        """,
    "English positions": """
        All of the above | None of the above | None of these | Neither of these | both of these | either of the above
        any of the above | all of the listed | all of the listed drugs | none of the mentioned | all of them
        The former | the latter | Both the former and the latter | the former only | Two of the above
        one or more of the above | None of the options listed | All of the above options | All are correct
        None is true | Both are false | All statements are correct | Neither statement is true | None of the other options
        All the previous | none of the preceding | All answers are right | Both | Neither | Any one of these
        The first two | None of the above is correct | all of the aforementioned | All of these drugs | Nothing of the above
        Neither one of the above | each of the above | All of the above except C | none of the foregoing | NOTA
        All the drugs listed above | Any of these findings | Both of the statements above
        """,
    "figures": """
        (1) and (3) | 1, 2 and 4 only | 1 and 3 | 1,2,3 | (1)(3) | ①③ | ①、②和④ | i and iii | I, II | I and II only | II only
        Statement I only | Statements 1 and 2 are correct | i, ii and iv | Only 1 and 3 | 1 & 2 | III and IV are true
        Neither I nor II | 2 and 4 are false | All except 3 | Both 1 and 2 | 1), 2) and 3)
        """,
    "Chinese, Japanese and Korean": """
        以上都是 | 以上皆非 | 以上都不是 | 以上均是 | 以上选项均正确 | 上述都对 | 以上全部 | 都是 | 均不正确 | 全部正确 | 两者都是 | 以上皆是。
        A和B | A、C | A与B | A及C | A、B、C均正确 | 仅A | 只有B | Ａ和Ｂ | A和B都对 | 以上各项均是 | 没有正确答案 | 除A外都正确
        上記のすべて | 上記のいずれでもない | すべて正しい | AとB | 위의 모두 | 모두 옳다 | 보기 모두 해당 없음
        """,
    "German and Dutch": """
        alle genannten | keine der genannten | Alle oben genannten | keine der obigen Antworten | A und B sind richtig
        nur A | Sowohl A als auch B | Weder A noch B | Aussagen 1 und 3 sind richtig | Nur die Aussagen 1, 2 und 4 sind richtig
        Alle Aussagen sind richtig | Keine der Antworten ist richtig | Alle außer C | A oder B | Beide
        alle bovenstaande | geen van bovenstaande | Geen van de bovenstaande antwoorden | alle antwoorden zijn juist | A en B
        """,
    "Romance languages": """
        ninguna de las anteriores | Todas las anteriores | Ninguno de los anteriores | A y B son correctas | a y c
        Todas son correctas | Solo A | Ninguna es correcta | Ambas son correctas | Todas las respuestas anteriores son correctas
        toutes ces réponses | aucune de ces réponses | A et B | Toutes les réponses ci-dessus | aucune des réponses précédentes
        Tout ce qui précède | Aucune d’entre elles | A et B sont exactes | Les deux | Ni A ni B | Toutes les propositions sont exactes
        Tutte le precedenti | Nessuna delle precedenti | Tutte le risposte sono corrette | A e B | Nessuna di queste
        sia A che B | Entrambe | solo A | todas as anteriores | nenhuma das anteriores | A e C estão corretas
        Todas as alternativas anteriores | Nenhuma das alternativas | I e III | Apenas I e II | tutte le suddette
        """,
    "other languages": """
        все вышеперечисленное | ничего из вышеперечисленного | все ответы верны | все перечисленные
        wszystkie powyższe | żadne z powyższych | wszystkie odpowiedzi są prawidłowe | yukarıdakilerin hepsi | hiçbiri
        tất cả đều đúng | tất cả các đáp án trên | كل ما سبق | جميع ما ذكر | لا شيء مما سبق | उपरोक्त सभी | इनमें से कोई नहीं
        semua benar | alla ovanstående | inget av ovanstående | همه موارد فوق
        """,
}
NEGATIVES = {
    "variants with letters": """
        Hepatitis A and B vaccine | Vitamin A only | Group A and B streptococci | vitamins A and D | Vitamin A and C
        Hepatitis A or B | Hepatitis A, B and C | Type A and B | Type B only | Only type B | Factor H and factor B
        Both A and B blood group antigens | Anti-A, B, or O antibodies in the serum | HLA-A or B | HLA A and B
        Only B cells | A/B ratio | AB, A | AB | A | B | Influenza A and B | Influenza A/B | Apolipoprotein A and B
        Hemophilia A and B | Hemoglobin A and F | Hemoglobins A and F | Neither hepatitis B nor C | A and C fibers
        Botulinum toxin A and B | Both hepatitis A and B | Vitamins A, D, E and K | Immunoglobulins A and E | Class A or B
        Protein C and protein S | Coenzyme A | Only C fibers | Amphotericin B alone | Cyclosporin A only | Blood group A or B
        A patient with fever and B symptoms | Decreased A-a gradient | H&E staining | E. coli and C. difficile
        Subunits A and B of the toxin | Influenza A virus | Serotypes A, B and E | Vitamin B only | Plan B
        """,
    "variants with numbers": """
        Type I and II collagen | Factor II and X | Factors II, VII, IX and X | Factor V only | Cranial nerves III and IV
        Leads II, III and aVF | Grade I or II | Stage III only | NYHA class III or IV | Types I and III collagen
        Angiotensin I and II | HIV 1 and 2 | 2.5 and 3.5 | 1/2 | 1-3 | 1,000 | 10 and 20 mg | 1 and 2 % | 3 or 4 days | II/VI
        Type 1 and type 2 diabetes | S1 and S2 | 5 | 1 | 12 | Trisomy 21 only | 2 or 3 times daily | HSV 1 and 2 | 45 or 50
        """,
    "anatomy and amounts": """
        Neither eye | Both kidneys | All of the small joints | above the clavicle | Skin above the clavicle
        children below 18 years | One finger above the umbilicus | Two cm below the costal margin | Both eyes | All limbs
        All three layers of the wall | Either parent | Any age | None | none | Neither sensitive nor specific | All patients
        All those with fever | in the latter half of pregnancy | the following morning | previous chickenpox | Both lungs
        infection following surgery | None of the patients | Each kidney | all four limbs | Loss of all sensation below the lesion
        Both arteries and veins | All muscles below the knee | Below the diaphragm | The former smoker | Some of the islet cells
        All of those exposed | Both parents are carriers | One level above the lesion | Either right or left lung
        """,
    "words": """
        yes | no | maybe | True | False | Correct | Not applicable | No treatment | Nothing by mouth | Only surgery
        Not indicated | No response | Alone or with others | combined therapy | Just observation | other drugs | Another option for relief
        """,
    "Chinese and Japanese": """
        维生素A和D | A型和B型 | 膝盖以上 | 38℃以上 | 是 | 不是 | 无 | 全身 | 乙型肝炎 | 两侧肾脏 | 以上腹部为主 | 没有 | 血型A和B | 双侧都痛 | なし | 全身性
        """,
    "European languages": """
        Vitamina A e C | Hepatitis A und B | vitamine A et D | Hepatitis A y B | Beide Nieren | Keine Therapie | Pared anterior
        Todas las arterias | Ambos riñones | Les deux reins | Toutes les articulations | Entrambi i reni | Cara anterior
        columnas anteriores | Alle Gelenke | Ningún tratamiento | nur Vitamin A | Aucun traitement | Nessuna terapia
        Tout le côlon | Solo la vitamina A | Facteur II et X | Typ A und B | оба глаза | Hepatite A e B
        """,
}


def cells(grid):
    return [
        pytest.param(text.strip(), id=f"{name}: {text.strip()}")
        for name, texts in grid.items()
        for line in texts.strip().splitlines()
        for text in line.split("|")
        if text.strip()
    ]


def test_the_grid_is_large_enough():
    assert len(cells(POSITIVES)) >= 80
    assert len(cells(NEGATIVES)) >= 80


@pytest.mark.parametrize("text", cells(POSITIVES))
def test_an_option_about_options_is_found(text):
    assert speaks_about_options(text)
    assert option_about_options({"A": "liver", "B": "heart", "C": text}) == text


@pytest.mark.parametrize("text", cells(NEGATIVES))
def test_an_ordinary_option_is_none(text):
    assert not speaks_about_options(text)
    assert option_about_options({"A": "liver", "B": "heart", "C": text}) is None


def test_the_ninth_option_has_a_letter_too():
    assert option_about_options({letter: "x" for letter in "ABCDEFGH"} | {"I": "G and J"}) is None
    assert option_about_options({letter: "x" for letter in "ABCDEFGHI"} | {"J": "G and J"}) == "G and J"


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("Why is option B wrong?", True),
        ("Which of the choices (a) or (b) is better?", True),
        ("What do options for group B have in common?", False),
        ("Is answer C right?", True),
    ],
)
def test_a_stem_names_an_option(stem, expected):
    assert names_option(stem, {"A": "liver", "B": "heart"}) is expected
