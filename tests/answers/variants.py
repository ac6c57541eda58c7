"""Ways to answer, to remark on an answer, to correct it and to go on behind it; `test_structure.py` combines them.

In every line {x} is the letter of the answer, {xt} its text, {y} and {yt} are those of another option.
"""

DRUGS = {"A": "Isoniazid", "B": "Rifampicin", "C": "Pyrazinamide", "D": "Ethambutol"}

# --- The next question: headings, separators, answers before, answers behind ---------------------------------------

HEADINGS = [
    "Question 2: ", "Question 2. ", "Question 2\n", "**Question 2**\n", "### Question 2\n", "## Question #2\n", "Question #2: ",
    "Question No. 2: ", "QUESTION 2\n", "[Question 2]\n", "(Question 2) ", "Question two: ", "Question: ", "**Question:** ", "Q: ",
    "Q2: ", "Q2. ", "Q2) ", "Q 2 - ", "Q.2) ", "Q. ", "Ques 2: ", "Qn 2. ", "### Next question\n", "Next question\n", "Next: ",
    "New question: ", "Another question: ", "Here is the next question.\n", "Here's another one:\n", "Let's try another question.\n",
    "Follow-up question: ", "Second question: ", "Practice question: ", "Sample question: ", "Bonus question: ",
    "Problem 2\n", "Problem 3. ", "**Problem 2.** ", "Exercise 3\n", "Exercise 3. ", "Exercise: ", "Task 2: ", "Task: ", "Example 2\n",
    "Example 2: ", "Example: ", "### Example 2\n", "Case 2: ", "Case 2\n", "Case: ", "Clinical case 2: ", "Clinical vignette: ", "Vignette 2: ", "Scenario 2: ", "Scenario: ",
    "Item 2. ", "Item 14\n", "MCQ 2\n", "MCQ: ", "Quiz 2: ", "Test 2: ", "Part 2: ", "Prompt: ", "Input: ", "Instruction: ",
    "### Instruction:\n", "### Input:\n", "### Human: ", "### User:\n", "Human: ", "User: ", "user\n", "Student: ", "<|im_start|>user\n",
    "<|user|>\n", "<|start_header_id|>user<|end_header_id|>\n\n", "[INST] ", "<start_of_turn>user\n", "<question> ", "Below is an instruction that describes a task.\n",
    "Answer the following question.\n", "Choose the correct option for the question below.\n", "The following is a multiple choice question.\n",
    "2. ", "2) ", "(2) ", "2: ", "#2 ", "37. ", "**2.** ", "### 2. ", "---\n", "***\n", "___\n", "=====\n",
    "问题：", "问题2：", "题目：", "第2题：", "下一题：", "例题2：", "問題：", "問2 ", "질문: ", "문제 2: ", "Frage 2: ", "Frage: ", "Aufgabe 2: ", "Question n° 2 : ",
    "Pregunta 2: ", "Pregunta: ", "Pergunta: ", "Questão 2: ", "Domanda: ", "Domanda 2: ", "Vraag 2: ", "Вопрос 2: ", "Вопрос: ", "Soru 2: ",
    "السؤال: ", "Pytanie: ", "Câu hỏi 2: ", "Câu 2: ", "प्रश्न: ", "Soal 2: ", "Fråga 2: ",
]  # fmt: skip
SEPARATORS = ["\n", "\n\n", "\n\n---\n\n", "\n\n\n\n"]
STEMS = [
    "Which drug colours tears and urine orange?",
    "A 40-year-old man on treatment for tuberculosis has orange urine. Which drug explains it?",
]
ANSWERS_BEFORE = [
    "{x}", "{x}.", "{x}. {xt}", "The answer is {x}.", "Answer: {x}", "**Answer: {x}. {xt}**", "\\boxed{{{x}}}", "<answer>{x}</answer>",
    "The correct option is ({x}) because it acts in acid.", "{xt}",
]  # fmt: skip
ANSWERS_BEHIND = [
    "Answer: {y}", "The answer is {y}.", "<answer>{y}</answer>", "\\boxed{{{y}}}", "{y}", "**{y}. {yt}**", "{y} is correct.",
    "Explanation: it induces enzymes. Therefore, the best answer is {y}.",
]  # fmt: skip
OPTION_LISTS = [
    "A. Isoniazid\nB. Rifampicin\nC. Pyrazinamide\nD. Ethambutol",
    "(A) Isoniazid\n(B) Rifampicin\n(C) Pyrazinamide\n(D) Ethambutol",
    "A) Streptomycin B) Rifampicin C) Dapsone D) Linezolid",
    "- a) Streptomycin\n- b) Rifampicin\n- c) Dapsone\n- d) Linezolid",
    "Options:\nA: Streptomycin\nB: Rifampicin\nC: Dapsone\nD: Linezolid",
]

# --- Remarks behind an answer, which leave it as it is --------------------------------------------------------------

FIRM = [
    "The answer is {x}.", "Answer: {x}.", "{x}.", "**{x}. {xt}**.", "The correct option is {x}) {xt}.", "\\boxed{{{x}}}.",
]  # fmt: skip
REMARKS = [
    "Exam tip: if they mention orange urine, go with {y}.", "High-yield: orange secretions, think {y}.", "Tip: when in doubt about colour, choose {y}.",
    "Note: for a patient with gout the answer is {y}.", "NB: in pregnancy the answer is {y}.", "Pearl: for optic neuritis, pick {y}.",
    "Remember that with optic neuritis the correct answer is {y}.", "Mnemonic: red is rifampicin, so red means {y}.",
    "Had she been pregnant, {y}.", "Had the patient had gout, the answer would have been {y}.", "Had this been HIV, we would have chosen {y}.",
    "Were he a child, {y} would be the answer.", "Were the liver failing, the correct answer would be {y}.", "If the patient were allergic, the answer would be {y}.",
    "If she had gout, {y}.", "If she had gout, choose {y}.", "If renal function were poor, the best answer would be {y}.", "If he were pregnant, then the answer is {y}.",
    "Should the urine turn orange, the answer is {y}.", "In a child, the answer would be {y}.", "In case of gout, {y} is the correct answer.",
    "For patients with HIV, the answer is {y}.", "With liver disease the answer would be {y}.", "Unless there is gout, in which case the answer is {y}.",
    "Without the gout, the answer would be {y}.", "Otherwise the answer would be {y}.", "In other settings {y} is the correct choice.",
    "In another scenario, the best answer is {y}.", "Under different circumstances, {y} would be right.", "Second-best answer: {y}.", "Second best answer: {y}", "The second-best option is {y}.",
    "The next best choice would be {y}.", "Runner-up: {y}.", "Runner up: {y}", "Second choice: {y}.", "My second choice is {y}.", "Backup answer: {y}.", "Alternative answer: {y}.",
    "An alternative answer is {y}.", "Alternative: {y}.", "The alternative is {y}.", "Avoid choosing {y}.", "Avoid {y}.", "Do not choose {y}.", "Don't go with {y}.", "Never choose {y}.",
    "Resist the temptation to pick {y}.", "Be careful not to pick {y}.", "You should not select {y}.", "There is no reason to choose {y}.", "It would be wrong to choose {y}.",
    "It would be a mistake to choose {y}.", "A common distractor is {y}.", "The distractor is {y}.", "The main distractor here is {y}.", "The trap answer is {y}.", "Common trap: {y}.",
    "Pitfall: choosing {y}.", "Most common wrong answer: {y}.", "The most common wrong answer is {y}.", "Incorrect answer: {y}.", "A frequent mistake is to answer {y}.",
    "A common error is to select {y}.", "Many students choose {y}.", "Students often answer {y}.", "Most people would pick {y}.", "Novices tend to go with {y}.", "Many would answer {y}.",
    "Some textbooks say the answer is {y}.", "Some sources list {y} as the answer.", "My colleague says the answer is {y}.", "My first thought was {y}.", "My initial answer was {y}.",
    "Initially I thought the answer was {y}.", "At first glance the answer seems to be {y}.", "One might think the answer is {y}.", "It is tempting to choose {y}.", "You may be tempted to select {y}.",
    "You might think {y} is the answer.", "Someone could argue that the answer is {y}.", "Your answer was {y}.", "You answered {y}.", "You chose {y}.", "Student's answer: {y}.",
    "Old answer: {y}.", "Previously: {y}.", "Closest competitor: {y}.", "The closest distractor is {y}.", "Least likely: {y}.", "The least likely option is {y}.", "Worst option: {y}.",
    "The worst choice is {y}.", "Ruled out: {y}.", "Excluded: {y}.", "Not {y}.", "{y} is wrong.", "{y} is incorrect.", "{y} is not the answer.", "{y} is the answer to a different question.",
    "{y} would be the answer in gout.", "{y} would be correct if there were gout.", "{y} would have been right in gout.", "{y} is the best answer only in children.", "{y} is the treatment of choice in leprosy.",
    "{y} is a common distractor.", "{y} is tempting.", "{y} was my second choice.", "Option {y} is the right answer for leprosy.", "Confidence: {y}.", "Grade: {y}.", "Vitamin {y} is unrelated.",
    "See also: {y}.", "Compare {y}.", "Related: {y}.", "Differential diagnosis: {y}.", "The other answer that could work is {y}.", "The answer to the previous question was {y}.",
    "By contrast, the answer for leprosy is {y}.", "In contrast, {y} is the answer for leprosy.", "On the other hand, {y} would be the answer for leprosy.", "Historically the answer was {y}.",
    "Years ago the answer would have been {y}.", "In the past, the correct answer was {y}.", "According to older guidelines, the answer is {y}.", "The key of the book says {y}.", "The official key says the answer is {y}.",
    "Why not {y}? It colours the urine.", "Is it {y}? No.", "What about {y}? It is bacteriostatic.", "Could the answer be {y}? No, it could not.", "So why would anyone choose {y}?",
    "For leprosy we would choose {y}.", "In leprosy I would go with {y}.", "I would choose {y} only in leprosy.", "I would pick {y} if there was gout.", "We go with {y} in leprosy.", "When the liver fails, select {y}.",
    "Whenever you see orange urine, answer {y}.", "Choose {y} when the urine is orange.", "Go with {y} for orange urine.", "Pick {y} if asked about urine.", "Had the question asked for the colour, {y} would be correct.",
    "If the question had asked about colour, the answer is {y}.", "If asked about urine colour, answer {y}.", "A question on urine would have the answer {y}.", "Only if there is gout is the answer {y}.",
    "Even though the answer key says {y}.", "although some would say {y}.", "Those who answered {y} overlooked the pH.", "Examiners expect weak candidates to choose {y}.", "The model answer of last year was {y}.",
]  # fmt: skip

# --- Corrections: the answer was {y} and becomes {x} ---------------------------------------------------------------

WITHDRAWN = ["The answer is {y}.", "Answer: {y}.", "I choose {y}.", "The correct option is {y}) {yt}."]
CORRECTIONS = [
    "Scratch that: {x}.", "Scratch that, {x}.", "Scratch that. {x}.", "Strike that: {x}.", "Strike that, the answer is {x}.", "I meant {x}.", "Sorry, I meant {x}.", "I mean {x}.", "I mean, {x}.",
    "Or rather {x}.", "Or rather, {x}.", "Rather, {x}.", "Rather {x}.", "No wait, {x}.", "No, wait: {x}.", "No, wait. It's {x}.", "Wait, no, {x}.", "Wait, {x}.", "Wait, it is {x}.", "Hmm, no. {x}.",
    "Hold on, {x}.", "Hold on: it's {x}.", "Hang on, {x}.", "Correction: {x}.", "Correction - {x}.", "Correction, it is {x}.", "Corrected answer: {x}.", "On second thoughts {x}.", "On second thought, {x}.",
    "On second thought: {x}", "On reflection, {x}.", "On reflection, it is {x}.", "Upon reflection, the answer is {x}.", "Thinking again, {x}.", "Thinking about it again, it must be {x}.", "After reconsidering, {x}.",
    "After review, {x}.", "Reconsidering, {x}.", "Let me correct myself: {x}.", "Let me correct myself. {x}.", "Let me correct that: {x}.", "Let me correct that. It is {x}.", "Let me revise that: {x}.",
    "Let me change my answer to {x}.", "I change my answer to {x}.", "I'm changing my answer to {x}.", "I'll change that to {x}.", "I have to correct myself: {x}.", "I need to correct that: {x}.",
    "I stand corrected: {x}.", "I was wrong, it is {x}.", "I was wrong: {x}.", "I made a mistake; it's {x}.", "I made an error. The answer is {x}.", "My mistake, {x}.", "My mistake: it is {x}.",
    "My bad, {x}.", "Oops, {x}.", "Oops, I meant {x}.", "Sorry, {x}.", "Sorry: {x}.", "Apologies, {x}.", "Apologies, the answer is {x}.", "Pardon, {x}.", "Actually, {x}.", "Actually {x}.", "Actually no, {x}.",
    "Actually, I think {x}.", "Actually, make that {x}.", "Make that {x}.", "No, make it {x}.", "No, {x}.", "No. {x}.", "No - {x}.", "Nope, {x}.", "That's wrong; {x}.", "That is wrong. It is {x}.",
    "That was wrong: {x}.", "That's not right. {x}.", "That is incorrect, it's {x}.", "This is incorrect; the answer is {x}.", "Revised answer: {x}.", "Revised: {x}.", "Updated: {x}.", "Amended answer: {x}.",
    "New answer: {x}.", "EDIT: {x}.", "Edit: it's {x}.", "Update: {x}.", "Erratum: {x}.", "Changed to {x}.", "Changed my mind: {x}.", "I changed my mind, {x}.", "I've changed my mind. {x}.", "Switching to {x}.",
    "I switch to {x}.", "I'll switch to {x}.", "Better: {x}.", "Instead, {x}.", "Instead: {x}.", "It should be {x} instead.", "It should have been {x}.", "That should be {x}.", "That should have read {x}.",
    "I should have said {x}.", "I intended to write {x}.", "Typo: {x}.", "Typo, I meant {x}.", "I misread the question. {x}.", "I misspoke: {x}.", "Ignore that: {x}.", "Ignore that. The answer is {x}.", "Forget that, {x}.",
    "Disregard that: {x}.", "But no, {x}.", "Hmm, actually it is {x}.", "Well, no: {x}.", "Let me reconsider: {x}.", "Let me rethink. It's {x}.", "Let me double-check. It is {x}.", "To correct myself: {x}.",
]  # fmt: skip

# --- A combination, named in other words than the option's -----------------------------------------------------------

COMBINATION_OPTIONS = [
    {"A": "Rifampicin", "B": "Dapsone", "C": "Rifampicin and dapsone", "D": "Clofazimine"},
    {"A": "Dapsone + rifampicin", "B": "Rifampicin", "C": "Clofazimine", "D": "Dapsone"},
    {"A": "Dapsone", "B": "Rifampicin", "C": "Clofazimine", "D": "Rifampicin plus dapsone"},
    {"A": "Dapsone", "B": "Combination of rifampicin and dapsone", "C": "Rifampicin", "D": "None"},
    {"A": "Dapsone", "B": "Rifampicin", "C": "Rifampicin with dapsone", "D": "Rifampicin, dapsone and clofazimine"},
]
COMBINED = [
    "rifampicin + dapsone", "rifampicin and dapsone", "rifampicin with dapsone", "rifampicin plus dapsone", "rifampicin & dapsone", "rifampicin, dapsone", "rifampicin/dapsone", "dapsone and rifampicin",
    "dapsone + rifampicin", "both rifampicin and dapsone", "both dapsone and rifampicin", "a combination of rifampicin and dapsone", "the combination of dapsone with rifampicin", "Rifampicin combined with dapsone",
    "rifampicin together with dapsone", "rifampicin as well as dapsone", "rifampicin along with dapsone", "rifampicin in combination with dapsone",
]  # fmt: skip
COMBINATION_LEADS = [
    "Answer: {}", "The answer is {}.", "The best answer is {}.", "{}", "**{}**", "The correct treatment is {}.", "I would choose {}.", "\\boxed{{{}}}", "<answer>{}</answer>", '{{"answer": "{}"}}',
]  # fmt: skip

# --- Plain endings in other languages ---------------------------------------------------------------------------------

LANGUAGES = {
    "german": ["Die richtige Antwort ist {x}.", "Die Antwort lautet {x}.", "Antwort: {x}", "Richtige Antwort: {x}", "Richtig ist {x}.", "Korrekt ist Antwort {x}.", "Antwort {x} ist richtig.", "{x} ist richtig.", "{x} ist die richtige Antwort.",
        "Option {x} ist korrekt.", "Lösung: {x}", "Die Lösung ist {x}.", "Daher ist {x} die richtige Antwort.", "Somit ist die Antwort {x}.", "Ich wähle {x}.", "Ich entscheide mich für {x}.", "Die korrekte Option ist {x}) {xt}.", "Also {x}."],
    "french": ["La bonne réponse est {x}.", "La réponse correcte est la {x}.", "La réponse est {x}.", "La réponse est donc {x}.", "Réponse : {x}", "Réponse correcte : {x}", "La bonne réponse est la réponse {x}.", "C'est la réponse {x}.", "Il s'agit de la réponse {x}.",
        "La réponse exacte est {x}.", "Je choisis {x}.", "Je choisis la réponse {x}.", "L'option correcte est {x}.", "L'option {x} est correcte.", "La réponse {x} est correcte.", "Donc, {x}.", "Bonne réponse : {x}. {xt}", "Réponse finale : {x}"],
    "spanish": ["La respuesta correcta es {x}.", "La respuesta es la {x}.", "Respuesta: {x}", "Respuesta correcta: {x}", "Respuesta final: {x}", "La opción correcta es la {x}.", "La opción {x} es correcta.", "La opción {x} es la correcta.", "La correcta es la {x}.",
        "La alternativa correcta es {x}.", "Elijo la opción {x}.", "Elijo {x}.", "Por lo tanto, la respuesta es {x}.", "Por tanto, {x}.", "La respuesta correcta es la opción {x}: {xt}.", "Opción {x}", "Solución: {x}", "La mejor respuesta es {x}."],
    "italian": ["La risposta corretta è {x}.", "La risposta è la {x}.", "Risposta: {x}", "Risposta corretta: {x}", "Risposta esatta: {x}", "La risposta esatta è {x}.", "L'opzione corretta è la {x}.", "L'opzione {x} è corretta.", "Scelgo {x}.", "Scelgo l'opzione {x}.",
        "Quindi la risposta è {x}.", "La soluzione è {x}.", "La risposta giusta è la {x}.", "Quindi, {x}.", "Risposta finale: {x}"],
    "portuguese": ["A resposta correta é {x}.", "A resposta é a {x}.", "Resposta: {x}", "Resposta correta: {x}", "Resposta final: {x}", "A alternativa correta é a {x}.", "A alternativa correta é a letra {x}.", "A opção correta é {x}.", "Alternativa {x}", "Letra {x}",
        "Gabarito: {x}", "Gabarito: letra {x}", "A opção {x} está correta.", "Portanto, a resposta é {x}.", "Escolho {x}.", "A resposta certa é {x}."],
    "dutch": ["Het juiste antwoord is {x}.", "Het antwoord is {x}.", "Antwoord: {x}", "Juiste antwoord: {x}", "Optie {x} is correct.", "Ik kies {x}.", "Ik kies voor optie {x}.", "Het correcte antwoord is {x}.", "Dus het antwoord is {x}.", "{x} is juist.", "{x} is het juiste antwoord."],
    "swedish": ["Rätt svar är {x}.", "Svaret är {x}.", "Svar: {x}", "Rätt svar: {x}", "Det rätta svaret är {x}.", "Det korrekta svaret är {x}."],
    "norwegian": ["Riktig svar er {x}.", "Svaret er {x}.", "Riktig svar: {x}", "Det riktige svaret er {x}.", "Det korrekte svar er {x}."],
    "finnish": ["Oikea vastaus on {x}.", "Vastaus: {x}", "Vastaus on {x}."],
    "polish": ["Prawidłowa odpowiedź to {x}.", "Poprawna odpowiedź: {x}", "Odpowiedź: {x}", "Poprawną odpowiedzią jest {x}.", "Odpowiedź {x} jest poprawna."],
    "czech": ["Správná odpověď je {x}.", "Odpověď: {x}", "Správně je {x}."],
    "romanian": ["Răspunsul corect este {x}.", "Răspuns: {x}", "Răspunsul este {x}."],
    "hungarian": ["A helyes válasz: {x}", "A helyes válasz a {x}.", "Válasz: {x}"],
    "greek": ["Η σωστή απάντηση είναι {x}.", "Η σωστή απάντηση είναι η {x}.", "Απάντηση: {x}"],
    "russian": ["Правильный ответ: {x}", "Правильный ответ — {x}.", "Ответ: {x}", "Ответ {x}.", "Верный ответ: {x}.", "Верный ответ - {x}", "Правильным ответом является {x}.", "Правильный вариант: {x}", "Правильный вариант ответа — {x}.", "Я выбираю {x}.", "Таким образом, правильный ответ {x}.", "Вариант {x} верный."],
    "ukrainian": ["Правильна відповідь: {x}", "Відповідь: {x}", "Правильна відповідь — {x}."],
    "turkish": ["Doğru cevap: {x}", "Cevap: {x}", "Cevap {x}'dir.", "Doğru cevap {x} şıkkıdır.", "Doğru yanıt {x}.", "Yanıt: {x}", "Doğru seçenek {x}'dir.", "Doğru cevap {x}.", "Cevap {x} seçeneğidir."],
    "arabic": ["الإجابة الصحيحة هي {x}.", "الإجابة: {x}", "الجواب الصحيح هو {x}.", "الجواب: {x}", "الإجابة هي {x}", "الخيار الصحيح هو {x}.", "الإجابة النهائية: {x}", "إذن الإجابة هي {x}."],
    "persian": ["پاسخ صحیح {x} است.", "پاسخ: {x}", "پاسخ درست گزینه {x} است.", "گزینه صحیح {x} است."],
    "hebrew": ["התשובה הנכונה היא {x}.", "תשובה: {x}", "התשובה היא {x}."],
    "hindi": ["सही उत्तर {x} है।", "उत्तर: {x}", "सही उत्तर है {x}.", "सही विकल्प {x} है।", "सही जवाब {x} है।", "जवाब: {x}"],
    "bengali": ["সঠিক উত্তর হল {x}।", "উত্তর: {x}", "সঠিক উত্তর {x}"],
    "thai": ["คำตอบคือ {x}", "คำตอบที่ถูกต้องคือ {x}", "คำตอบ: {x}", "ข้อที่ถูกต้องคือ {x}", "ตอบ {x}"],
    "vietnamese": ["Đáp án đúng là {x}.", "Đáp án: {x}", "Đáp án {x}", "Câu trả lời đúng là {x}.", "Câu trả lời: {x}", "Chọn {x}.", "Chọn đáp án {x}."],
    "indonesian": ["Jawaban yang benar adalah {x}.", "Jawaban: {x}", "Jawabannya adalah {x}.", "Jawaban yang tepat adalah {x}.", "Jadi jawabannya {x}."],
    "chinese": ["答案：{x}", "答案是{x}。", "答案为{x}", "答案选{x}。", "正确答案是{x}。", "正确答案为：{x}", "正确答案：{x}. {xt}", "因此选{x}。", "所以选择{x}。", "故选{x}", "本题选{x}。", "应选{x}项。", "选项{x}正确。", "{x}选项正确。", "{x}项正确。", "{x}是正确的。", "最终答案：{x}", "我的答案是{x}。",
        "最佳答案是{x}。", "正确的是{x}。", "综上，答案为{x}。", "所以答案是（{x}）。", "参考答案：{x}", "【答案】{x}", "答：{x}", "本题答案为{x}。", "因此，正确选项是{x}。", "我会选{x}。", "答案應為{x}。", "正確答案是{x}。"],
    "japanese": ["正解はBではなく{x}です。", "正解：{x}", "答え：{x}", "答えは{x}です。", "答えは{x}。", "正しい答えは{x}です。", "正解は{x}。", "したがって、答えは{x}となります。", "よって正解は{x}である。", "最も適切な選択肢は{x}です。", "選択肢{x}が正解です。", "{x}が正解です。", "{x}が正しい。", "解答：{x}", "回答：{x}"],
    "korean": ["정답: {x}", "정답은 {x}입니다.", "정답은 {x}이다.", "답: {x}", "답은 {x}입니다.", "따라서 정답은 {x}입니다.", "올바른 답은 {x}입니다.", "{x}가 정답입니다.", "최종 답변: {x}", "정답은 {x}번입니다."],
}  # fmt: skip

# --- Plain forms --------------------------------------------------------------------------------------------------------

FORMS = [
    "{x}", "{x}.", "{x})", "({x})", "[{x}]", "{{{x}}}", "<{x}>", "{x}:", "'{x}'", '"{x}"', "`{x}`", "**{x}**", "*{x}*", "__{x}__", "**({x})**", "**{x})**", "**{x}.**", "$ {x} $", "${x}$", "\\({x}\\)", "\\[{x}\\]", "# {x}", "## {x}", "> {x}", "- {x}",
    "* {x}", "• {x}", "→ {x}", "-> {x}", "=> {x}", "👉 {x}", "✅ {x}", "✔ {x}", "☑ {x}", "[x] {x}", "- [x] {x}. {xt}", "✓ {x}) {xt}", "{x} ✅", "{x} ✔️", "{x}. {xt} ✅", "**{x}. {xt}** ✅", "✅ {x}. {xt} (correct)", "🅒", "Ⓒ", "ⓒ", "🄲", "Ｃ", "（{x}）", "【{x}】", "「{x}」", "𝐂", "𝗖",
    "{x}\n", "\n{x}\n", "{x}. {xt}", "{x}) {xt}", "({x}) {xt}", "{x}: {xt}", "{x} - {xt}", "{x} – {xt}", "{x} — {xt}", "{x}, {xt}", "{x} ({xt})", "{xt} ({x})", "{xt} [{x}]", "{xt}, {x}", "{xt}", "{xt}.", "**{xt}**", "_{xt}_", "\"{xt}\"", "{xt}!",
    "Option {x}", "Option {x}.", "Option {x} it is.", "Option {x} it is", "{x} it is.", "It is {x}.", "It's {x}.", "It's option {x}.", "Choice {x}", "Choice {x}.", "Letter {x}", "option ({x})", "Option {x}: {xt}", "Option: {x}", "Choice: {x}", "Letter: {x}", "Opt {x}",
    "Answer: {x}", "Answer : {x}", "Answer - {x}", "Answer-{x}", "Answer = {x}", "Answer={x}", "Answer >> {x}", "Answer:: {x}", "Answer; {x}", "ANSWER: {x}", "answer: {x}", "Answer:\t{x}", "Answer:\n{x}", "Answer\n{x}", "Answer\n\n**{x}**", "**Answer**\n\n{x}", "**Answer:**\n{x}", "### Answer\n{x}", "### Answer: {x}",
    "Answer\n------\n{x}", "*Answer:* {x}", "__Answer:__ {x}", "[Answer] {x}", "[Answer: {x}]", "(Answer: {x})", "<Answer: {x}>", "{{Answer: {x}}}", "Answer is {x}", "Answer {x}", "Answer ({x})", "Answer. {x}", "Answer.{x}", "Ans: {x}", "Ans. {x}", "Ans {x}", "Ans. ({x})", "Ans = {x}",
    "Sol: {x}", "Soln: ({x})", "Solution: ({x})", "Solution: {x}. {xt}", "Key: {x}", "Answer key: {x}", "Key answer: {x}", "Correct: {x}", "Correct answer: {x}", "Correct Answer - {x}", "Correct option: {x}", "Correct choice: ({x})", "Right answer: {x}", "Best answer: {x}", "Best option: {x}", "Final: {x}",
    "Final answer: {x}", "Final Answer {x}", "FINAL ANSWER: {x}", "Final answer → {x}", "Final choice: {x}", "Final verdict: {x}", "Verdict: {x}", "Conclusion: {x}", "Result: {x}", "Selection: {x}", "Selected: {x}", "Selected answer: {x}", "Chosen: {x}", "Chosen option: {x}", "My answer: {x}", "My choice: {x}", "My pick: {x}", "Pick: {x}",
    "Response: {x}", "Decision: {x}", "Prediction: {x}", "Output: {x}", "Diagnosis: {xt}", "Most likely: {x}", "Most likely answer: {x}", "Bottom line: {x}", "TL;DR: {x}", "In short: {x}", "Summary: {x}", "Ergo, {x}.", "Hence {x}.", "Thus: {x}", "Therefore: {x}", "So: {x}", "So {x}.", "∴ {x}",
    "\\boxed{{{x}}}", "$\\boxed{{{x}}}$", "$$\\boxed{{{x}}}$$", "\\boxed{{({x})}}", "\\boxed{{\\text{{{x}}}}}", "\\boxed{{\\textbf{{{x}}}}}", "\\boxed{{{x}. {xt}}}", "\\boxed{{\\text{{{xt}}}}}", "\\boxed{{\\text{{({x}) {xt}}}}}", "\\fbox{{{x}}}", "\\boxed {x}", "boxed{{{x}}}", "\\text{{{x}}}", "\\textbf{{Answer: {x}}}",
    "<answer>{x}</answer>", "<answer> {x} </answer>", "<answer>\n{x}. {xt}\n</answer>", "<ANSWER>{x}</ANSWER>", "<final_answer>{x}</final_answer>", "<FinalAnswer>{x}</FinalAnswer>", "<final-answer>{x}</final-answer>", "<choice>{x}</choice>", "<option>{x}</option>", "<letter>{x}</letter>", "<result>{x}</result>", "<response>{x}</response>",
    "<correct_answer>{x}</correct_answer>", "<answer>{xt}</answer>", "<answer>{x}", "<ans>{x}</ans>", "<output>{x}</output>", "<selected>{x}</selected>", "[ANSWER] {x} [/ANSWER]", "[[{x}]]", "<<{x}>>", "<b>{x}</b>", "<strong>{x}. {xt}</strong>", "<p>Answer: {x}</p>", "<answer letter=\"{x}\"/>", "<answer>Option {x}</answer>",
    '{{"answer": "{x}"}}', '{{"answer":"{x}"}}', '{{"Answer": "{x}"}}', '{{"ANSWER": "{x}"}}', '{{"final_answer": "{x}"}}', '{{"finalAnswer": "{x}"}}', '{{"answer_letter": "{x}"}}', '{{"correct_option": "{x}"}}', '{{"selected_answer": "{x}"}}', '{{"choice": "{x}"}}', '{{"choice": "({x})"}}', '{{"option": "{x}"}}', '{{"label": "{x}"}}',
    '{{"prediction": "{x}"}}', '{{"response": "{x}"}}', '{{"solution": "{x}"}}', '{{"output": "{x}"}}', '{{"answer": ["{x}"]}}', '{{"answer": {{"letter": "{x}", "text": "{xt}"}}}}', '{{"answer": "{x}. {xt}"}}', '{{"answer": "{xt}"}}', "{{'answer': '{x}'}}", '{{answer: "{x}"}}', '{{answer: {x}}}', '{{"reason": "acid pH", "answer": "{x}"}}', '{{"answer": "{x}", "reason": "not B"}}',
    '```json\n{{"answer": "{x}"}}\n```', '```\n{x}\n```', "```yaml\nanswer: {x}\n```", "answer: {x}", "answer: \"{x}\"", "answer: '{x}'\nconfidence: 0.9", "reasoning: acid pH\nanswer: {x}", "- answer: {x}", "final_answer: {x}", "answer_choice: {x}", "choice: {x}", "correct_option: {x}", "letter: {x}", "answer = \"{x}\"", "print(\"{x}\")", "return \"{x}\"",
    "| Answer |\n|---|\n| {x} |", "| Final answer | {x} |", "| Answer | {x} |", "| Option | Right? |\n|---|---|\n| A | No |\n| B | No |\n| C | Yes |\n| D | No |", "| Option | Text | OK |\n|:--|:--|:-:|\n| A | Isoniazid | ❌ |\n| B | Rifampicin | ❌ |\n| C | Pyrazinamide | ✅ |\n| D | Ethambutol | ❌ |",
    "A: ✗\nB: ✗\nC: ✓\nD: ✗", "A ❌\nB ❌\nC ✅\nD ❌", "❌ A. Isoniazid\n❌ B. Rifampicin\n✅ C. Pyrazinamide\n❌ D. Ethambutol", "[ ] A\n[ ] B\n[x] C\n[ ] D", "- [ ] A. Isoniazid\n- [ ] B. Rifampicin\n- [x] C. Pyrazinamide\n- [ ] D. Ethambutol", "☐ A\n☐ B\n☑ C\n☐ D", "( ) A\n( ) B\n(x) C\n( ) D", "A) F\nB) F\nC) T\nD) F", "A. False\nB. False\nC. True\nD. False",
    "A - incorrect\nB - incorrect\nC - correct\nD - incorrect", "A. Isoniazid - wrong\nB. Rifampicin - wrong\nC. Pyrazinamide - right\nD. Ethambutol - wrong", "A. Isoniazid\nB. Rifampicin\n**C. Pyrazinamide** ✅\nD. Ethambutol", "A. Isoniazid\nB. Rifampicin\nC. Pyrazinamide (correct)\nD. Ethambutol", "A. Isoniazid\nB. Rifampicin\nC. Pyrazinamide ← correct answer\nD. Ethambutol",
    "A) Isoniazid ✗\nB) Rifampicin ✗\nC) Pyrazinamide ✓\nD) Ethambutol ✗", "A. No, it works on mycolic acid.\nB. No, it inhibits RNA polymerase.\nC. Yes, it acts in acid.\nD. No, it blocks arabinosyl transferase.",
    "The answer is {x}", "the answer is {x}.", "The answer: {x}", "The answer is: {x}.", "The answer is option {x}.", "The answer is choice {x}.", "The answer is letter {x}.", "The answer is ({x}).", "The answer is **{x}**.", "The answer is {x}) {xt}.", "The answer is {xt}.", "The answer is {xt} ({x}).", "The answer is, {x}.", "The answer is indeed {x}.",
    "The answer would be {x}.", "The answer must be {x}.", "The answer has to be {x}.", "The answer should be {x}.", "The answer's {x}.", "The right answer is {x}.", "The correct answer is therefore {x}.", "The correct answer is clearly {x}.", "The correct answer to this question is {x}.", "The answer that fits best is {x}.", "The best option is {x}.", "The best choice is {x}.", "The best choice here is {x}.",
    "The correct one is {x}.", "The right one is {x}.", "The right choice is {x}.", "The correct letter is {x}.", "The correct statement is {x}.", "The correct response is {x}.", "The correct pick is {x}.", "The only correct option is {x}.", "The only option that fits is {x}.", "The option that fits is {x}.", "The most appropriate option is {x}.", "The drug is {xt}.",
    "The drug that acts in acid is {xt}.", "The drug responsible is {xt}.", "The correct drug is {xt}.", "The most likely drug is {xt}.", "This is {xt}.", "It must be {xt}.", "This points to {xt}.", "This is consistent with {xt}.", "The culprit is {xt}.", "Everything fits {x}.", "I choose {x}.", "I pick {x}.", "I select {x}.", "I'd say {x}.", "I say {x}.", "I'd choose {x}.", "I would go for {x}.", "I go with {x}.", "I'll go with {x}.", "I'm going with {x}.",
    "I vote {x}.", "I vote for {x}.", "I opt for {x}.", "I settle on {x}.", "I'd settle for {x}.", "I think it's {x}.", "I think {x}.", "I believe it is {x}.", "I believe the answer is {x}.", "I am going for {x}.", "My answer is {x}.", "My final answer is {x}.", "My choice would be {x}.", "My vote is {x}.", "My vote goes to {x}.", "Going with {x}.", "Let's go with {x}.", "Let's choose {x}.", "We choose {x}.", "We pick {x}.", "We can conclude it is {x}.", "I conclude that it is {x}.", "Definitely {x}.",
    "Clearly {x}.", "Probably {x}.", "Obviously, {x}.", "Must be {x}.", "Has to be {x}.", "Should be {x}.", "That makes it {x}.", "That leaves {x}.", "This leaves us with {x}.", "We are left with {x}.", "Which leaves {x}.", "By exclusion, {x}.", "By elimination, {x} remains.", "Only {x} fits.", "Only {x} is correct.", "Only option {x} remains.", "{x} is correct.", "{x} is right.", "{x} is the answer.", "{x} is the correct one.", "{x} is the best choice.", "{x} fits best.", "{x} is the best fit.", "{x} is the one.",
    "{x} would be correct.", "{x} must be the answer.", "{x} is my answer.", "{x} is my final answer.", "{x} has to be it.", "{x} because it acts in acid.", "{x}, because it acts in acid.", "{x}; it acts in acid.", "{x} since it acts in acid.", "Option {x} is correct.", "Option {x} is the answer.", "Option {x} is the best.", "Option {x} is the correct choice.", "Option {x} fits best.", "Choice {x} is right.", "Statement {x} is correct.", "{xt} is correct.", "{xt} is the answer.", "{xt} is the correct answer.",
    "{xt} is the drug of choice.", "{xt} ({x}) is correct.", "({x}) is correct.", "{x}) is correct.", "{x}. {xt} is correct.", "Hence option {x}.", "Hence the correct answer is option {x}.", "Therefore {x} is the answer.", "Therefore, option {x} is correct.", "Thus the correct choice is {x}.", "So the correct answer would be {x}.", "So we choose {x}.", "So it's {x}.", "So it must be {x}.", "So I'd answer {x}.", "To conclude, {x}.", "In conclusion, {x} is correct.", "In conclusion: {x}", "All things considered, {x}.",
    "<|begin_of_box|>{x}<|end_of_box|>", "#### {x}", "Answer: ####{x}", "Step 1: acid pH.\nStep 2: pyrazinamide.\nAnswer: {x}", "It acts in acid.\n\n{x}", "It acts in acid.\n\n**{x}**", "It acts in acid.\n\n**{x}. {xt}**", "It acts in acid. {x}.", "It acts in acid. Answer {x}.", "It acts in acid -> {x}", "It acts in acid => {x}.", "It acts in acid, so {x}.", "It acts in acid, hence {x}.", "It acts in acid, therefore {x}.", "It acts in acid ({x}).",
]  # fmt: skip

# --- No answer ------------------------------------------------------------------------------------------------------------

NO_ANSWER = [
    "{x} or {y}", "{x}/{y}", "{x}, {y}", "{x} and {y}", "Answer: {x} or {y}", "Answer: {x} / {y}", "Answer: {x} and {y}", "Answer: {x} & {y}", "The answer is {x} or {y}.", "The answer is either {x} or {y}.", "The answer could be {x} or {y}.", "Both {x} and {y} are correct.", "{x} and {y} are both correct.", "It could be {x} or {y}.",
    "Either {x} or {y}.", "I am torn between {x} and {y}.", "I hesitate between {x} and {y}.", "\\boxed{{{x}, {y}}}", "\\boxed{{{x} \\text{{ or }} {y}}}", "<answer>{x} or {y}</answer>", '{{"answer": "{x} or {y}"}}', '{{"answer": null}}', '{{"answer": ""}}', "Answer: E", "The answer is E.", "\\boxed{{F}}", "<answer>G</answer>", "Answer: none",
    "None of these.", "None of the options is right.", "There is no correct answer.", "No option is correct.", "I don't know.", "I do not know the answer.", "I'm not sure.", "I cannot tell.", "Cannot be determined.", "The answer is unclear.", "It is impossible to say.", "Insufficient information.", "I can't give medical advice.",
    "The answer is not {x}.", "It is not {x}.", "Not {x}.", "{x} is wrong.", "{x} is not correct.", "{x} is incorrect.", "Option {x} is wrong.", "The wrong answer is {x}.", "Is it {x}?", "Is the answer {x}?", "Could it be {x}?", "Maybe {x}?", "What about {x}?", "If the patient were pregnant, the answer would be {x}.", "If there were gout, {x}.",
    "The answer is {x} if it is acute and {y} if it is chronic.", "If acute, the answer is {x}; if chronic, the answer is {y}.", "", " ", "Answer:", "Answer: ?", "The answer is", "The answer is ...", "The answer is the drug that", "Let me think.", "First, consider each option.", "Option {x} is a drug that", "A. Isoniazid\nB. Rifampicin\nC. Pyrazinamide\nD. Ethambutol",
    "Isoniazid, rifampicin, pyrazinamide and ethambutol are all used.", "Options A, B, C and D are all plausible.", "All of the above.", "All of them.", "Any of these.", "Let us look at {x} first.", "We should consider {x} and {y}.", "Consider {x}.", "Consider option {x}.", "Some would say {x}.", "Students often choose {x}.", "A common distractor is {x}.",
    "Avoid {x}.", "Do not choose {x}.", "The least likely is {x}.", "Hepatitis {x} is viral.", "Vitamin {x} deficiency.", "Grade {x} evidence.", "The patient belongs to Child-Pugh class {x}.", "Group {x} streptococcus.", "We need more data to decide between {x} and {y}.", "I refuse to answer.", "As an AI, I cannot choose.", "A patient with tuberculosis needs four drugs.",
    "I think the patient has tuberculosis.", "Answer: A, B, C, D", "Answer: ABCD", "Answer: BC", "Answer (A-D):", "Please choose A, B, C or D.", "The answer is {x}. No, that's wrong.", "The answer is {x}. Wait, that cannot be right.", "The answer is {x} or maybe {y}.", "{x}? {y}?", "Not {x}, not {y}.", "Neither {x} nor {y}.",
]  # fmt: skip
