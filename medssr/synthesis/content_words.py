"""The words of a question that say what it is about, as opposed to grammar and the standing phrases of examinations."""

from __future__ import annotations

import re
from functools import lru_cache

from medssr.text.words import EXAM_WORDS, FUNCTION_WORDS, fold, mask_numbers, singular, split_words

# What examinations ask about, and so content, although frequent.
_SUBJECTS = frozenset(["blood", "pain", "pressure", "pulse", "temperature"])
_STANDING_WORDS = frozenset(
    fold(word)
    for word in """
    above accounts accurate action advise advised agree alternative alternatives among another answer answers appears
    applies apply approach assertion assertions assessment attached based because below case cases choice choices choose
    chose claim claims combination comment complete concerning condition conditions confirm confirmed consider
    considered consistent course current decision define defined definition definitive describe described describes
    description detail develop diagnose diagnostic differential drug drugs either etiology evaluation except excluding
    expect expected explain explains explanation fact facts factor factors figure fill following follows form given
    gives gold happen identify image immediate important inappropriate incorrect indicate indicated initial
    investigation involved item items key known last late later least line link main major mark match matched mean means
    measure mechanism medication medications method modality mode needed never observed occur occurs one option options
    order part pathology pattern pick picture plan point points population possible preferred previous primary probable
    problem procedure process prognosis proper property question questions rank reason reasons recommended related
    relation respect responsible result right same scenario select selected sequence series set side single situation
    situations something specific standard state step steps suggest suggested suggestive suitable suspected
    table term terms thing things time total tool treat two underlying unlikely usual usually valid value warranted way
    whether word worst wrong yes odd out find done do doing useful outcome example belong belongs pair correctly
    accurately likeliest information help helpful evaluate inference infer conclude conclusion entity presentation
    consistent compatible arrive reach attempt put together identification interpretation opinion think know

    al ante antes aparece aplica asertos cada causa causas caso cierta ciertas cierto ciertos como con conducta cual
    cuales cualquiera correcta correctas correcto correctos cuando de del describe descripcion diagnostico donde e el
    ella en entre enunciado enunciados es esta estas este estos excepto falsa falsas falso falsos frecuente hay
    incorrecta incorrecto indicado inicial la las le lo los manejo mas mejor menos no o opcion opciones paciente
    pacientes para por posible primera principal probable pregunta que respecto respuesta respuestas se senale sera
    seria siguiente siguientes sin sobre son su sus tiene tratamiento un una uno verdadera verdaderas verdadero
    verdaderos y eleccion paso pasos debe medida actitud afirmacion afirmaciones relacion inicialmente adecuado adecuada

    als am antwort antworten auf aus aussage aussagen bei beim besten das dem den der des die diagnose diese diesem
    diesen dieser dieses durch ein eine einem einen einer eines falsch falsche folgende folgenden folgender fur gilt
    haufigste haufigsten hat ist kann kein keine korrekt krankheit man mit nach nachste nachsten nicht nur oder patient
    patienten patientin richtig richtige sich sie sind therapie trifft uber um und ursache vom von was wahl
    wahrscheinlichste wahrscheinlichsten welche welchem welchen welcher welches werden wird wie zu zum zur zutreffend
    erkrankung schritt massnahme behandlung tun was nun kreuzen an sinnvoll ehesten

    affirmation affirmations au aucune aux avec ce cette ces chez conduite concernant d dans des du est et etes
    correcte correctes exacte
    exactes fausse fausses faux il ils indiquez inexacte juste justes l laquelle le lequel lesquelles les leur ou par
    parmi pas patiente plus pour proposition propositions quel quelle quelles quels qui reponse reponses sauf sont sous
    suivant suivante suivantes suivants sur traitement tous toutes un une vous vrai vraie vraies cochez choisissez
    maladie probable bonne bon bonnes mauvaise meilleure meilleur plupart faut faire prise charge

    a affermazione affermazioni ai alla alle alternativa alternativas che ci come con correta corretas corretta corrette
    corretto da dalla das dei del della delle di diagnosi do dos e em errata errato esatta esta falsa false falso fra
    gli i il in incorreta indicare indique malattia mais na nas nel nella no nos o opcao opcoes os paciente paziente per
    piu probabile probabili provavel qual quale quali quais quanto quella questa questo risposta risposte seguente
    seguenti seguinte seguintes sobre sono su terapia tra tratamento tutte un una vera vere verdadeira assinale resposta
    afirmativa afirmacoes

    bewering beweringen bij de deze een en geldt het juist juiste meest onjuist onjuiste op stelling stellingen te van
    volgende voor waar waarschijnlijke wat welk welke wordt zijn

    из какое какая какой какие каких следующих следующее следующий следующие утверждений утверждение утверждения верно
    верным верный верная неверно неверным неправильно правильно правильный является являются что это при наиболее
    вероятный вероятная вероятное вероятен вероятна диагноз лечение у в на о и не для перечисленных выберите ответ
    ответы все кроме

    다음 중 옳은 것은 것을 틀린 옳지 않은 아닌 맞는 고르시오 설명으로 설명
    가장 적절한 진단은 진단명은 치료는 원인은 환자의 이 대한 무엇인가 다음의
    """.split()  # noqa: SIM905, RUF001
)
_STANDING = (FUNCTION_WORDS | EXAM_WORDS | _STANDING_WORDS) - _SUBJECTS
# Chinese and Japanese are compared by the character. Hiragana is grammar; the Chinese characters are those of phrases
# like "which of the following is correct", "the most likely diagnosis is", "treatment of choice for this patient".
_STANDING_CHARACTER = re.compile(
    "[\u3040-\u309f下列以上述关關于於有该該哪那一二项項个個种種些者组組是的之为為说說法叙敘描述正确確错錯误誤不非最可能诊診断斷"
    "此患者疾病人应應首选選治疗療处處理措施常见見原因属屬除外都均皆包括何与與和及或对對其中题題答案选項择擇合适適当當次记記佳步面出请請先考虑慮价值價切检檢查理优優判问問]"
)


@lru_cache(maxsize=2**16)
def is_content_word(word: str) -> bool:
    """Returns whether a folded word, its numbers masked, says what a question is about.

    Example:
        >>> [is_content_word(word) for word in ("gingivitis", "following", "diagnosis", "0", "病", "肝")]
        [True, False, False, False, False, True]
    """
    return _STANDING.isdisjoint((word, singular(word))) and not _STANDING_CHARACTER.fullmatch(word)


def has_content(text: str) -> bool:
    """Returns whether a text says what it is about.

    Example:
        >>> has_content("Which of the following is true?"), has_content("Gingivitis"), has_content("下列哪项正确")
        (False, True, False)
    """
    return any(is_content_word(word) for word in split_words(mask_numbers(text)))
