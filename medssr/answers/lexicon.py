"""The words that models use around an answer, in lower case. New phrasings are added here, not in the code."""

# ruff: noqa: RUF001  words of many scripts

import re
from collections.abc import Iterable
from typing import TypeAlias

# --- Cues: words that announce a decision ------------------------------------------------------------------------

NOUNS = (
    "answer", "ans", "winner", "exception", "antwort", "lösung", "respuesta", "réponse", "reponse", "risposta",
    "resposta", "antwoord", "ответ", "відповідь", "odpowiedź", "odpověď", "răspunsul", "svar", "svaret", "cevap",
    "jawaban", "الإجابة", "الجواب", "پاسخ", "התשובה", "उत्तर", "คำตอบ", "答案", "正解", "答え", "정답", "답", "đáp án",
    "sol", "soln", "gabarito", "soluzione", "solución", "solução", "lösung", "vastaus", "odpowiedzią", "răspuns",
    "válasz", "απάντηση", "ответом", "ответа", "yanıt", "جواب", "תשובה", "जवाब", "উত্তর", "ตอบ", "câu trả lời",
    "jawabannya", "解答", "回答", "答", "答复", "답변", "svaret", "řešení",
    "jawaban saya", "cevabım", "إجابتي", "vastaukseni", "odpovědí", "cevabim",
    "anwser", "awnser", "asnwer", "ansewr", "anser", "answe", "asnwe", "answr", "anwer",
)  # fmt: skip
NOUNS_OF_ANY_OPTION = (  # "option B is weak" decides nothing: these need a quality before them, "the best option is B"
    "option", "choice", "selection", "decision", "response", "verdict", "prediction", "solution", "guess", "final",
    "letter", "opción", "opcion", "opzione", "opção", "alternativa", "选项",
    "key", "result", "output", "opt", "pick", "vote", "optie", "opțiunea", "opcja", "вариант",
    "відповіді", "seçenek", "şık", "الخيار", "گزینه", "विकल्प", "選択肢", "ข้อ", "lựa chọn", "pilihan", "보기", "one",
    "fit",
)  # fmt: skip
PRAISE = (
    "drug of choice", "treatment of choice", "best fit", "correct", "right", "richtig",
    "correcta", "correcte", "corretta", "correta", "korrekt", "juist", "poprawna", "верно", "vera", "giusta",
    "certa", "exacte", "esatta", "rätt", "správná", "правильный",
    "likeliest", "最も適切", "適切",
)  # fmt: skip
VERBS_OF_PRAISE = (  # "only B fits"
    "fits best", "fits", "matches best", "matches", "wins", "explains everything", "looks right", "looks correct",
    "remains", "is in", "верный", "верна", "正确", "正しい",
    "最符合题意", "符合题意", "最合适", "最恰当", "最合理", "最为合适", "最有可能", "最佳",
)  # fmt: skip
CHOOSING = (
    "choose", "chose", "choosing", "pick", "select", "go with", "going with", "opt for", "stick with", "sticking with",
    "stand by", "true except", "correct except", "would answer", "will answer", "i'd answer",
    "i'll answer", "i answer", "故选", "应选",
    "go for", "going for", "settle on", "settle for", "leaning towards", "leaning toward", "i say", "i vote",
    "i vote for", "vote for", "vote goes to", "decide on", "decide for", "picking",
    "opting for", "elijo", "escojo", "escolho", "scelgo", "je choisis", "ich wähle", "ich entscheide mich für",
    "ik kies", "wybieram", "выбираю", "我选", "我选择", "chosen", "应选择", "故选择", "首选", "chọn",
    "mark", "tick", "circle", "je réponds", "tôi chọn",
    "ich würde", "je pencherais pour", "je dirais", "yo diría", "diría", "ich tippe auf", "ich nehme",
    "optaría por", "elegiría",
    "opterais pour", "sceglierei", "direi", "eu diria",
)  # fmt: skip
CORRECTING = (  # what takes an answer back, and is followed by another: "no, B", "scratch that: B", "I meant B"
    "no wait", "no no", "nope", "wait", "hold on", "hold up", "hang on",
    "go back", "hmm", "oops",
    "sorry", "apologies", "apologize", "apologise", "pardon", "excuse me", "my bad", "my mistake", "actually",
    "in fact",
    "rather", "or better", "or, better", "instead,", "instead:", "make it", "make that", "better:", "whoops",
    "or rather",
    # taking back
    "scratch", "scrap", "undo", "strike that", "cancel that", "delete that", "ignore", "forget", "disregard",
    "never mind", "nevermind",
    "retract", "take that back", "take it back", "taking that back",
    # an error
    "typo", "slip", "erratum", "errata", "recte", "read:", "mistyped", "misspoke", "misread", "miswrote", "i erred",
    "i was wrong", "i was mistaken", "i am wrong", "i'm wrong", "i am mistaken", "got that wrong", "got it wrong",
    "i made a", "i made an", "that's wrong", "that is wrong", "that was wrong", "this was wrong", "this is wrong",
    "that's not right", "that is not right", "that was not right", "that's incorrect", "that is incorrect",
    "this is incorrect", "that was incorrect", "answer is wrong", "answer is incorrect", "above is wrong",
    "that answer was", "that can't be right",
    "that cannot be right", "that's a mistake", "that is a mistake", "that was a mistake", "that's an error",
    "that is an error", "that was an error", "stand corrected",
    # another answer
    "correct myself", "let's correct", "correct that", "correct this", "correct my answer", "correcting",
    "correction", "corrected",
    "revise", "revised", "revising", "revision", "fix that", "amend", "amended", "amending", "restate", "rephrase",
    "update", "updated", "edit", "edited", "change", "changed", "changing", "switch", "switched", "switching",
    "i meant", "i mean", "meant to", "intended to", "should have said", "should have written", "should have been",
    "it should be", "that should be", "should read", "should have read",
    # other languages
    "nein", "vielmehr", "korrektur", "entschuldigung", "ich meinte", "doch nicht", "non,", "en fait", "plutôt",
    "je voulais dire", "espera",
    "mejor dicho", "en realidad", "corrección", "perdón", "quise decir", "anzi", "scusa", "volevo dire", "desculpe",
    "na verdade", "correção",
    "нет", "точнее", "извините", "поправка", "不对", "等等", "更正", "我是说", "抱歉", "いや", "訂正",
    # thinking again
    "reconsider", "reconsidered", "reconsidering", "rethink", "rethinking", "double-check",
    "double-checking", "double checking", "checking again", "rechecking", "recheck", "try again",
    "second thought", "second thoughts", "reflection", "thinking again", "think again", "thinking about",
    "come to think",
    "looking again", "looking at it again", "thinking more", "thinking further", "reread", "closer look",
    "closer inspection", "more thought", "further thought",
    "further consideration", "further review", "after review", "upon review", "on review", "reviewing", "rereading",
    "re-reading", "on balance", "now think", "now believe", "now say", "now lean",
)  # fmt: skip
CORRECTION_FILLERS = (
    "the", "a", "no", "wait", "so", "well", "hmm", "sorry", "it", "it's", "that", "that's", "this", "is", "be",
    "must", "should", "would", "has", "have", "been",
    "to", "read", "answer", "correct", "right", "best", "final", "new", "revised", "option", "choice", "letter",
    "my", "i", "i'd", "i'll", "would", "think", "believe", "mean", "meant",
    "choose", "pick", "say", "go", "with", "make", "for", "now", "rather", "actually", "instead", "only",
    "definitely", "myself", "of", "course", "write", "was", "were",
)  # fmt: skip
CONCLUDING = (
    "so", "thus", "therefore", "hence", "consequently", "i think", "i guess", "i believe", "i suppose", "i reckon",
    "i bet", "i'd say", "i would say",
    "it is", "it's", "it must be", "it has to be", "leaving", "leaves", "left with",
    "elimination", "in conclusion",
    "in summary", "to sum up", "in short", "overall", "conclusion", "summary",
    "tl;dr", "bottom line", "richtig ist", "korrekt ist", "选", "选择",
    "ergo", "definitely", "certainly", "obviously", "clearly", "probably", "by exclusion", "all things considered",
    "everything fits", "to conclude",
    "this would be", "that would be", "that makes it", "donc", "por tanto", "por lo tanto", "portanto", "quindi",
    "daher", "deshalb", "somit", "folglich", "dus",
    "zatem", "正确的是", "正しいのは", "správně je", "c'est", "il s'agit de",
    "la correcta es la", "la correcta es", "correct one is", "right one is", "∴", "=>", "->", "⇒", "→",
    "it would be", "without doubt", "without a doubt", "undoubtedly", "surely", "absolutely", "simply", "no doubt",
    "accordingly", "i conclude", "we conclude", "i'd guess", "richtig wäre", "am ehesten", "es ist", "es la",
    "è la", "الحل هو", "가장 적절한 것은", "confident in",
    "a correta é a", "la solution est", "that's option",
    "that's", "i.e.", "ist antwort", "ist option", "jest odpowiedź",
)  # fmt: skip
SUPERLATIVES = (
    "the correct", "most likely", "most appropriate", "most probable", "most consistent", "best", "next step",
    "diagnosis",
)  # fmt: skip
BOXES = (  # the last one is "\boxed" read as a string escape
    "boxed{", "boxed {", "boxed ", "fbox{", "framebox{", "\x08oxed{",
)  # fmt: skip
TAGS = (
    "<answer>", "<final_answer>", "<final>", "<choice>", "<option>", "[answer]", "<ans>", "<boxed>",
    "<final-answer>", "<finalanswer>", "<correct_answer>", "<correct>", "<selected>", "<selection>", "<letter>",
    "<answer_letter>", "<my_answer>", "<best_answer>", "[final answer]", "[final_answer]",
    "<prediction>", "<answer_choice>", "<selected_option>", "<selected_answer>",
)  # fmt: skip
TAGS_OF_PROSE = (
    "print(",
    "console.log(",
    "return ",
    "<solution>",
    "<result>",
    "<response>",
    "<output>",
)  # may hold a decision or anything else

# --- Between a cue and its option --------------------------------------------------------------------------------

QUALITIES = (
    "correct", "right", "best", "better", "final", "remaining", "appropriate", "accurate", "suitable", "likely",
    "most",
    "probable", "single", "only", "my", "chosen", "selected", "preferred", "ultimate", "overall", "true", "valid",
    "logical", "richtige", "korrekte", "correcta", "correcte", "bonne", "corretta", "correta", "giusta", "juiste",
    "doğru", "正确", "正确的", "最佳", "最终", "合适", "合适的",
    "juiste", "korrekte", "exacte", "esatta", "certa", "helyes", "správná", "prawidłowa", "poprawna", "prawidłową",
    "poprawną", "правильный", "правильным", "верный", "правильна", "правильная", "σωστή", "oikea", "rätt", "riktig",
    "riktige", "rätta", "korrekta", "सही", "সঠিক", "benar",
    "tepat", "صحيح", "正しい", "適切な", "最も適切な", "올바른", "최종",
    "jadi", "final answer", "het", "så", "الصحيح",
    "juste", "la correcta", "plausible", "paling tepat",
    "chính xác", "נכונה",
    "является",
)  # fmt: skip
LINKS = (
    "]", ":", "|", "=", "👉", "➡", "->", "→", "⇒", "-", "is", "are", "was", "be", "remains", "becomes", "'s", "seems",
    "ist", "lautet",
    "wäre", "es", "sería", "est", "serait", "è", "é", "là", "هي", "هو", "은", "는", "は", "是", "为", "為", "选",
    "應為", "应该是", "应是", "应为", "adalah", "är", "je", "este", "คือ", "היא",
    ">>", "::", "είναι", "jest", "является", "er", "হল", "হলো", "है", "donc", "est donc",
    "nya adalah", "就是", "應是", "となる",
    "なのは", "➜", "▶", "➡️", "~", "是不是", "sarebbe",
)  # fmt: skip
NEGATIONS_BEFORE = (
    "no", "n'", "ne", "non", "não", "不", "并不", "并非",
)  # fmt: skip
NEGATIONS_AFTER = ("not", "n't", "nicht", "never", "niet", "不")
FILLERS = (
    "option", "options", "choice", "letter", "answer", "number", "the", "an", "therefore", "thus", "then", "hence",
    "indeed", "clearly", "almost", "definitely", "certainly", "simply", "likely", "probably", "most", "actually",
    "only", "also", "now",
    "still", "either", "both", "to", "be", "that", "is", "it", "give", "start", "administer", "perform", "obtain",
    "begin", "order", "initiate", "correct", "best", "opción", "opcion", "la", "letra", "lettre", "pas", "die",
    "alternativa", "buchstabe", "antwort", "respuesta", "réponse", "risposta", "resposta",
    "l'option", "选项", "选择", "选", "应该是", "应为", "应", "是", "项",
    "optie", "voor", "l'opzione", "opzione", "opção", "вариант", "ответ", "đáp án", "el", "le", "il", "een", "für",
    "η", "ο", "a letra", "lettera", "letter", "選択肢", "الخيار", "گزینه", "विकल्प", "option:", "proposition",
)  # fmt: skip
UNDECIDED = (
    "unclear", "unknown", "uncertain", "undetermined", "undecided", "not clear", "not known", "not certain",
    "not available", "not provided", "not given", "not listed", "not among", "none", "neither", "all of",
    "impossible",
    "cannot", "can't", "any of", "one of the other",
)  # fmt: skip

# --- Around an option --------------------------------------------------------------------------------------------

AFTER_LETTER = (  # what shows that a lone letter is not the start of something else: "B because", not "A patient"
    "because", "here", "now", "overall",
    "since", "as", "due", "for", "given", "based", "which", "where", "with", "in", "on", "by", "at",
    "from", "per", "over", "according", "rather", "not", "but", "and", "or", "instead", "if", "unless", "although",
    "though", "while", "whereas", "so", "it", "this", "these", "the", "that", "explanation", "reason", "reasoning",
    "rationale", "answer", "weil", "da", "denn", "porque", "ya", "pues", "car", "parce", "perché", "因为", "由于",
    "です", "입니다", "이다", "项", "选项", "和", "或", "与", "及", "y", "o", "et", "ou", "und", "oder", "है",
    "after", "upon", "しました", "となります", "となる", "である", "になります",
    "だ", "番", "번", "번입니다", "است", "dir", "dır", "dur", "'dir", "'dır", "'dur", "'dür",
    "şıkkıdır", "şıkkı", "seçeneğidir", "seçeneği", "হবে", "होगा",
    "हैं", "ではなく", "i.e.", "i.e", "namely", "正确", "で",
    "wählen", "sagen", "nehmen",
)  # fmt: skip
JOINING = (
    "and", "or", "and/or", "plus", "as well as", "together with", "along with", "alongside", "combined with", "und",
    "oder", "y", "o", "e", "et", "ou", "和", "或", "与", "及", "或者",
)  # fmt: skip
VERBS_OF_A_SUBJECT = (  # "B, C is wrong": the C has a verb of its own and is no second answer
    "is", "was", "has", "does", "would", "can", "cannot", "could", "may", "might", "will", "should",
)  # fmt: skip
SMALL_TEXTS = ("yes", "no", "maybe", "true", "false", "none", "all", "both", "other", "normal", "unknown")

NAMING_BEFORE = (  # with a letter behind, a name: "vitamin C", "group A"
    "vitamin", "vitamins", "hepatitis", "group", "type", "class", "grade", "stage", "level", "influenza", "factor",
    "protein", "category", "child-pugh", "zone", "serotype", "figure", "table", "appendix", "section", "panel",
    "haemophilia", "hemophilia", "cyclosporin", "amphotericin", "immunoglobulin", "coenzyme", "troponin",
    "interleukin", "step", "phase", "part", "lobe", "segment", "patient", "drug", "strain", "stanford", "plan",
    "lp", "apolipoprotein", "cathepsin", "polymyxin", "botulinum toxin",
)  # fmt: skip
NAMED_BEHIND = (  # with a letter in front, a name: "B cells", "C peptide"
    "cell", "cells", "symptoms", "virus", "peptide", "dimer", "lymphocyte", "lymphocytes", "waves", "wave", "lines",
    "streptococcus", "streptococci", "strep", "antigen", "toxin", "blood", "personality", "vitamin", "vitamins",
    "antibodies", "surface", "fibers", "fibres", "reaction",
)  # fmt: skip

# --- Before a cue ------------------------------------------------------------------------------------------------

LEADING_WORDS = frozenset((*QUALITIES, "the", "a", "an", "that", "is", "or", "and", "answer", "la"))
NO_DECISION_BEFORE = (
    "if", "whether", "suppose", "assume", "assuming", "unless", "maybe", "perhaps", "possibly", "wrong", "incorrect",
    "other", "another", "second", "second-best", "second best", "next best", "next-best", "third-best", "runner-up",
    "backup", "alternative", "alternate",
    "draft", "preliminary", "tentative", "provisional", "working", "former", "outdated", "gut",
    "previous", "prior", "earlier", "old", "older", "original", "initial", "first", "common", "tempting", "possible",
    "plausible", "attractive",
    "trap", "distractor", "decoy", "worst", "poorest", "false", "bad", "textbook", "their", "his", "her",
    "student's", "students'", "user's", "patient's",
    "competing", "opposite", "rejected", "excluded", "discarded", "eliminated", "long", "doubt", "user says",
    "user said",
    "might say",
    "might think", "may think", "could argue", "could say", "think of",
    "don't think", "do not think", "not think", "doesn't mean", "cannot say", "can't say", "not believe", "of each",
)  # fmt: skip
NOT_MINE = ("your",)  # "Your answer: B" counts only where there is no other
UNSURE = ("not", "never", "hardly", "be", "make")  # before "sure that the ..."
LEAST = ("least", "less")
NOT_CHOSEN = (
    "almost", "nearly", "initially", "previously", "cannot", "not", "never", "might", "could", "may", "who",
    "before",
)  # fmt: skip
OTHERS = (
    "if", "when", "whenever", "you", "one", "people", "some", "many", "others", "experts", "doctors", "students",
    "clinicians",
    "beginners", "novices", "candidates", "examiners", "residents", "physicians", "most", "anyone", "everyone",
    "they", "he", "she", "reader", "readers",
)  # fmt: skip
WARNINGS = frozenset((  # what is said of the choice of a wrong answer
    "avoid", "avoids", "avoiding", "resist", "mistake", "mistaken", "mistakenly", "error", "errors", "pitfall",
    "trap", "wrong",
    "wrongly", "distractor", "tempting", "tempted", "temptation", "beware", "careful", "never",
))  # fmt: skip
OF_OTHERS_BEFORE = frozenset((  # "the crowd would go with B"
    "would", "will", "usually", "often", "generally", "frequently", "typically", "always", "sometimes", "commonly",
))  # fmt: skip
MYSELF = ("i", "we", "i'd", "we'd", "i'll", "we'll", "i'm", "let's", "us")

COPULAS = (  # behind a letter: "सही उत्तर B है"
    "है", "हैं", "होगा", "است", "dir", "dır", "'dir", "'dır", "şıkkıdır", "şıkkı", "seçeneğidir", "seçeneği", "です",
    "である", "입니다", "이다", "번입니다", "হবে",
)  # fmt: skip
VERDICT_WORDS = frozenset((
    *QUALITIES, "die", "der", "das", "la", "le", "el", "il", "o", "het", "the", "a", "our", "indeed", "therefore",
    "thus", "also", "answer",
))  # fmt: skip
VERDICT_LINKS = (  # between a subject and its praise: "B would be the best choice"
    " is", " ist", " are", " was", " remains", " being", " as", " would be", " should be", " must be",
    " has to be", " seems",
    " appears", " appears to be", "'s", ":", "-", "(", "选项是",
    "选项", "项", "是", " est", " es", " es la", " è", " é",
    " está", " é a", " jest", " je", " er", " är", "が", "は", "가", "이", "도", "为", "就是",
)  # fmt: skip
SUBJECT_LEADS = (  # what may stand before a subject, apart from punctuation
    "option", "choice", "statement", "answer", "antwort", "letter", "l'option", "opción", "réponse", "l'opzione",
    "opzione", "opção", "optie", "odpowiedź", "вариант", "alternativa", "選択肢", "that", "think", "believe", "makes",
    "making",
    "only", "because", "since", "ist", "letra", "alternativ", "odpověď", "la",
    "as", "the", "conclude", "and", "or", "but", "with", "选项", *CONCLUDING,
)  # fmt: skip
PRONOUNS = ("this", "it", "which", "that", "correct")  # "B) Warfarin - correct, this is the answer"
EXCLUDING = frozenset((  # what a sentence that concludes with an option does not say
    "not", "cannot", "never", "no", "unlike", "except", "excludes", "excluding", "excluded", "incorrect", "wrong",
    "less", "least", "unlikely", "avoid", "instead", "than", "without", "neither", "nor", "against", "if", "unless",
    "may", "might", "could", "would", "whether", "maybe", "perhaps", "possibly", "possible", "alternatively",
    "another",
    "other", "others", "initially", "contraindicated", "rule", "rules", "ruled", "consider", "distractor",
    "look", "examine", "evaluate", "discuss", "analyze", "analyse", "mentions",
    "mentioned",
))  # fmt: skip


_Trie: TypeAlias = "dict[str, _Trie]"


def any_of(words: Iterable[str]) -> str:
    """Returns a pattern for any of the words, as whole words where they are spelled in Latin letters."""
    longest_first = sorted(words, key=len, reverse=True)
    whole = [re.escape(word) for word in longest_first if word.isascii() and word[0].isalnum() and word[-1].isalnum()]
    others = [_guarded(word) for word in longest_first if re.escape(word) not in whole]
    return "(?:" + "|".join([rf"(?<![a-z0-9])(?:{'|'.join(whole)})(?![a-z0-9])", *others]) + ")"


def longest_of(words: Iterable[str]) -> str:
    """Returns a pattern for the longest of the words, written as a trie: a text is read once for all."""
    trie: _Trie = {}
    for word in words:
        node = trie
        for char in word:
            node = node.setdefault(char, {})
        node[""] = {}
    return _pattern_of(trie)


def _pattern_of(node: _Trie) -> str:
    branches = [re.escape(char) + _pattern_of(child) for char, child in node.items() if char]
    if not branches:
        return ""
    return ("(?:" + "|".join(branches) + ")") + ("?" if "" in node else "")


def _guarded(word: str) -> str:
    start = r"(?<![a-z0-9])" if word[0].isascii() and word[0].isalnum() else ""
    end = r"(?![a-z0-9])" if word[-1].isascii() and word[-1].isalnum() else ""
    return start + re.escape(word) + end


# --- A further question ----------------------------------------------------------------------------------------------

QUESTION_NOUNS = (  # "Question 2: ..." begins a question
    "question", "questions", "ques", "qn", "qns", "mcq", "problem", "exercise", "quiz", "instruction", "instructions",
    "frage", "aufgabe", "pregunta", "pergunta", "questão", "domanda", "quesito", "vraag", "вопрос", "питання",
    "задача", "задание", "soru",
    "السؤال", "سؤال", "سوال", "שאלה", "pytanie", "otázka", "întrebare", "întrebarea", "kérdés", "ερώτηση", "câu hỏi",
    "câu", "प्रश्न", "सवाल", "প্রশ্ন", "คำถาม", "คําถาม",
    "soal", "pertanyaan", "fråga", "spørsmål", "spørgsmål", "kysymys", "问题",
    "题目", "例题", "試題", "试题", "问", "題目", "問題",
    "質問", "질문", "문제", "문항",
)  # fmt: skip
QUESTION_NOUNS_IF_ASKED = (  # "Case 2: ..." may also head a part of an explanation, "Q." an option
    "q", "case", "case study", "clinical case", "vignette", "clinical vignette", "scenario", "clinical scenario",
    "example", "item", "task",
    "part", "test", "test yourself", "check yourself", "challenge yourself", "variation", "variant",
    "prompt", "input", "stem", "student", "assignment", "challenge", "fall", "beispiel", "caso",
    "ejemplo", "esempio", "exemplo",
    "cas clinique", "exemple", "пример", "example question", "案例", "例", "病例", "題",
    "patient", "quest", "no", "nr", "exercice", "ejercicio", "esercizio", "exercício", "oefening", "bài",
    "zadanie", "übung", "fragestellung", "次の問題", "设问", "exam question",
)  # fmt: skip
