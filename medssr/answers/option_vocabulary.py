"""The words by which options speak about other options, in the languages of medical examinations.

A word stands in the set that says what it does, whatever its language; each language has at most a few lines in each.
All words are folded: lower case, no diacritics.
"""

from __future__ import annotations

import re
import unicodedata

_LATIN_MARKS = re.compile("[\u0300-\u036f]")  # those of other scripts make another letter
_BASE_LETTERS = str.maketrans("łıđø", "lido")


def fold(word: str) -> str:
    """Returns a word without case and diacritics.

    Example:
        >>> fold("Réponses")
        'reponses'
    """
    decomposed = unicodedata.normalize("NFD", word.casefold()).translate(_BASE_LETTERS)
    return unicodedata.normalize("NFC", _LATIN_MARKS.sub("", decomposed))


def _words(text: str) -> frozenset[str]:
    return frozenset(map(fold, text.split()))


# Between the names of options: "A and C". A single small letter joins in Spanish, Italian, Portuguese and Polish.
JOINING = _words(
    """
    and or nor & + / , ; plus with then well through
    und oder noch sowie
    y e o u ni ou et ni mit con avec com i
    en of och og eller
    и или ни
    和 与 與 及 或 跟 同 以及 和/或 、 と や または 및 또는 와 과 va ve hoac dan atau
    """
)
# Beside the name of an option: "A only", "all except C", "both (A) and (B)".
CHOOSING = _words(
    """
    only alone solely exclusively just not but except excluding all both either neither none together combined
    nur allein ausschliesslich ausser beide sowohl weder alle nicht
    solo solamente unicamente excepto salvo menos ambas ambos todas todos no
    seulement uniquement seul seule seuls seules sauf excepte soit toutes tous pas
    soltanto solamente unicamente eccetto tranne meno sia ne entrambe entrambi tutte tutti non
    somente apenas unicamente exceto nem nao
    alleen behalve zowel noch niet
    только кроме оба обе все не
    仅 僅 只 只有 只是 除 除了 以外 之外 都 均 皆 のみ だけ 以外
    chi hanya kecuali sadece yalniz
    """  # noqa: RUF001
)
# What is said of options: "A is correct", "all are true".
CLAIMING = _words(
    """
    correct incorrect true false right wrong apply applies applicable possible likely acceptable appropriate
    richtig falsch korrekt zutreffend zutreffen treffen trifft moglich
    correcta correctas correcto correctos incorrecta incorrectas cierta ciertas cierto ciertos verdadera verdaderas
    falsa falsas verdadero verdaderos falso falsos valida validas posibles
    correct correcte corrects correctes exact exacte exacts exactes juste justes vrai vraie vrais vraies faux fausse
    fausses
    corretta corrette corretto corretti esatta esatte esatto esatti vera vere vero veri false falsi giusta giuste
    correta corretas corretos correto certa certas verdadeira verdadeiras verdadeiro verdadeiros
    juist juiste waar onjuist
    верно верны верные правильно правильны правильные неверно
    prawidlowe prawidlowa poprawne poprawna ratt riktiga
    是 对 對 正确 正確 错 錯 错误 錯誤 不正确 可 可以 可能 有 成立 适用 正しい 誤り 誤っている
    dung benar salah dogru yanlis
    """
)
# What is spoken about.
NOUNS = _words(
    """
    option options choice choices answer answers statement statements item items alternatives proposition propositions
    assertions
    antwort antworten aussage aussagen antwortmoglichkeit antwortmoglichkeiten moglichkeiten optionen
    opcion opciones respuesta respuestas afirmacion afirmaciones enunciado enunciados alternativa alternativas
    reponse reponses affirmation affirmations propositions choix
    risposta risposte voce voci affermazione affermazioni opzione opzioni
    opcao opcoes resposta respostas afirmacao afirmacoes afirmativa afirmativas
    antwoord antwoorden stelling stellingen
    ответ ответы ответов утверждения утверждений варианты вариантов
    odpowiedzi odpowiedz alternativen svar svaren
    选项 選項 答案 说法 說法 选择 選擇 項 项 者 選択肢
    jawaban pilihan
    """
)
# Chooses among options that are not named: "none of these".
QUANTIFYING = _words(
    """
    all both none neither any either each every everything nothing anything no some most more
    alle allen alles samtliga keine keiner keines keins beide beides jede nichts samtliche
    todas todos todo ningun ninguna ningunas ninguno ningunos ambas ambos cualquiera nada
    toutes tous tout aucune aucun rien chacune chacun
    tutte tutti tutto nessuna nessuno entrambe entrambi ambedue niente qualsiasi
    nenhuma nenhum tudo quaisquer qualquer
    geen allemaal elk
    все всё ничего ни оба обе любой любое любая нет
    wszystkie zadna zadne zadnej alla inget ingen inga bada hepsi hicbiri tumu
    都 均 皆 全 全部 全都 所有 任何 任意 任一 一种 各 俱 没有 沒有 无 無 两者 兩者 二者 三者
    すべて 全て いずれ どれ ない semua hepsi
    """  # noqa: RUF001
)
# Points to options by their position, or by the page that they stand on.
POINTING = _words(
    """
    above abv below these those them following foregoing preceding previous aforementioned listed mentioned named stated
    given described enumerated others
    genannten genannte genanntes obigen obige oben obenstehenden obengenannten vorstehenden vorgenannten aufgefuhrten
    angefuhrten angegebenen erwahnten aufgezahlten davon dieser diesen diese folgenden vorherigen
    anterior anteriores arriba estas estos esas esos ellas ellos mencionadas mencionados citadas citados indicadas
    indicados senaladas precedentes listadas expuestas siguientes dichas
    ces celles-ci ceux-ci celles ceux precedentes precedents precedente precede ci-dessus susmentionnees mentionnees
    mentionnes citees cites enumerees elles eux cela suivantes proposees
    precedenti sopra suddette suddetti elencate elencati queste questi citate citati menzionate indicate esse essi
    sopracitate seguenti
    acima destas destes delas deles elas eles supracitadas
    bovenstaande genoemde deze hierboven vermelde voorgaande
    вышеперечисленное вышеперечисленного вышеперечисленные вышеперечисленных перечисленное перечисленного перечисленные
    перечисленных выше вышеуказанные вышеуказанного этого них
    powyzsze powyzszych wymienionych wymienione tych ovanstaende namnda dessa yukaridakilerin
    以上 上述 上列 前述 上面 下列 所列 所述 这些 這些 其余 其他 上記 これら
    """
)
FORMER = _words("former latter erstere ersteres letztere letzteres")
ORDINALS = _words("first last ersten letzten primeras primeros ultimas premieres premiers prime ultime primeiras 前 后")
# These need a word that chooses, or each other: "only the second", "first and third"; "one second" is a time.
COUNTING = ORDINALS | _words(
    "1st 2nd 3rd 4th second third fourth zweite zweiten dritte dritten deuxieme troisieme segunda tercera"
)
NUMBERS = _words(
    """
    one two three four five six zwei drei vier dos tres cuatro deux trois quatre due tre quattro dois duas quatro twee
    drie
    一 两 兩 二 三 四 五 几
    """
)
FILLING = _words(
    """
    a an and are as at be both by combination equally exactly from in is it least of only option than that the there
    well which
    als auch auf aus das dass dem den der die es ist kein sind von zu zum
    al de del el en entre es hay la las lo los que se ser son una uno
    ce ci d des deux du est l la le les n ne ni ou par parmi plus qu que qui sont un y
    che da degli dei del della delle di e gli i la le lo nessun quelle sono tra fra
    as da das do dos e entre estao nenhuma o os sao
    alles dat de een er het is ook van zijn
    в все из но один одно ни также что это
    av sa sao z jest sa są
    个 個 种 種 不 非 未 也 又 既 且 并 並 为 為 的 属于 屬於 包括 提及 列出 之 中 为 于 述 或者 情况 选 外
    の も でも は が て で である です する しない なし 該当
    di atas ada tidak
    """
)
# Alone they speak of other options; "none" alone does not, because it may mean no treatment, say.
LONE = _words(
    """
    all both neither either alle beide beides ambas ambos todas todos toutes tous tutte tutti entrambe entrambi hepsi
    两者 兩者 二者 三者 全部 すべて 全て semua
    """
)
ALL = JOINING | CHOOSING | CLAIMING | NOUNS | QUANTIFYING | POINTING | FORMER | COUNTING | NUMBERS | FILLING
BESIDE_NAMES = CHOOSING | CLAIMING | NOUNS

# Scripts that are written without blanks: the words there are the phrases of the sets, the longest first.
UNSPACED = "\u3001\u3040-\u30ff\u3400-\u9fff"
_PHRASES = {phrase for phrase in (unicodedata.normalize("NFKC", word) for word in ALL) if phrase[0] > "\u3000"}
UNSPACED_PHRASE = "|".join(sorted(_PHRASES, key=len, reverse=True))

# Whole options of languages with endings or word forms that a list of words does not hold, after folding.
_PHRASE = re.compile(
    "|".join(
        map(
            fold,
            (
                # English abbreviations of "all of the above" and "none of the above".
                r"[an][ .]?o[ .]?t[ .]?a",
                # Japanese
                r"(?:上記の|以上の)?(?:いずれ|どれ)(?:も|でも)(?:ない|なし|正しくない|誤り|該当しない|当てはまらない|正しい)",
                r"(?:none|neither|either|any|one|both|all) of the (?:two|three|four)",
                # A range; with figures it is an amount.
                r"[a-h] (?:to|bis|a) [a-h]",
                r"(?:tous |toutes )?les deux",
                # Korean
                r"(?:위의?|상기|이상|보기|이들).{0,12}(?:모두|전부|전체|없음|없다|아니다|아님|해당)",
                r"(?:모두|전부) (?:옳다|맞다|정답|정답이다|해당|해당한다|해당된다|아니다|틀리다)",
                # Arabic, Persian, Hebrew
                r"(?:كل|جميع|لا شيء|لا شئ|لا أحد)(?: .{1,8})?(?: .{0,3})?(?:سبق|ذكر|أعلاه|المذكورة).{0,10}",
                r"(?:كل|جميع) (?:ال)?(?:إجابات|اجابات|خيارات).{0,14}",
                r"(?:همه|تمام|هیچ ?کدام|هیچ ?یک).{0,12}(?:فوق|بالا|موارد)|هیچ ?کدام|همه موارد",
                r"כל התשובות.{0,14}|אף תשובה.{0,14}",
                # Hindi
                r"(?:उपरोक्त|उपर्युक्त|इनमें).{0,10}(?:सभी|कोई नहीं|दोनों)",
                # Vietnamese, Indonesian
                r"tat ca (?:cac )?(?:dap an |cau |y )?(?:tren|deu dung|deu sai)(?: deu dung| deu sai)?",
                r"khong (?:co )?(?:dap an|cau|y) nao.{0,12}",
                r"(?:semua|tidak ada)(?: jawaban| pilihan)?(?: yang)? (?:di atas|benar|salah)(?: benar| salah)?",
                # Turkish, Greek
                r"yukaridakilerin (?:hepsi|tumu|hicbiri|hic biri)|hicbiri",
                r"(?:ολα|κανενα|κανεν|καμια)(?: απο)? (?:τα|τισ|τους)? ?παραπανω",
            ),
        )
    )
)


def is_phrase(folded: str) -> bool:
    """Returns whether a folded text as a whole is a known phrase about other options."""
    return _PHRASE.fullmatch(folded) is not None
