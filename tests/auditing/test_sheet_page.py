"""Tests the page with an HTML parser and with its script run as in a browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from medssr.auditing.rubric import Verdict
from medssr.auditing.sheet import read_sheet, write_page
from medssr.knowledge.corpora import Passage
from medssr.questions import Question

HOSTILE = "</p><script>alert(1)</script><img src=x onerror=alert(2)> & \"a\" 'b' {{ 7*7 }}"
QUESTIONS = [
    Question("q<0>", HOSTILE, {"A": "liver", "B": HOSTILE}, "A", "toy", provenance={"truth": "B", "mark": "secret"}),
    Question("=q1", "Which organ?", {"A": "liver", "B": "heart", "C": "lung"}, None, "toy"),
    Question("q2", "Which gland?", {"A": "thyroid", "B": "liver"}, None, "toy"),
    Question("q3", "Which gland?", {"A": "thyroid", "B": "heart"}, None, "toy"),
]
# Fills in the form as an expert does, loads the page again, saves, and leaves the file's content in the page.
HARNESS = """
<script>
URL.createObjectURL = (blob) => { blob.text().then((text) => {
  const out = document.createElement("pre");
  out.id = "out";
  out.textContent = JSON.stringify({ text, message: document.getElementById("message").textContent });
  document.body.append(out);
}); return "#"; };
function choose(article, criterion, value) {
  const field = document.querySelectorAll("article")[article].querySelector(`[data-criterion=${criterion}]`);
  const input = field.querySelector("textarea") || field.querySelector(`input[value="${value}"]`);
  if (input.type === "radio") input.click();
  else { input.value = value; input.dispatchEvent(new Event("input", { bubbles: true })); }
}
function fill(article, answers) { for (const [name, value] of Object.entries(answers)) choose(article, name, value); }
if (sessionStorage.isFilled) document.getElementById("save").click();
else {
  ANSWERS.forEach((answers, place) => fill(place, answers));
  document.getElementById("name").value = "Ada L.";
  document.getElementById("name").dispatchEvent(new Event("input"));
  sessionStorage.isFilled = "yes";
  location.reload();
}
</script>
"""


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "sheet.html"
    write_page(path, [(question, [Passage("p", HOSTILE, HOSTILE)]) for question in QUESTIONS])
    return path


def dump(path) -> str:
    """Returns the page after its script has run, as in a browser."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("there is no Chromium")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000", "--dump-dom"]
    profile = f"--user-data-dir={path.parent / 'profile'}"
    done = subprocess.run([browser, *flags, profile, path.as_uri()], capture_output=True, text=True, check=True)
    return done.stdout


def test_text_of_models_is_text(page):
    found = Page(page.read_text())
    assert found.tags.count("script") == 1
    assert "img" not in found.tags
    assert found.texts.count(HOSTILE) == 2 + 2 * len(QUESTIONS)


def test_neither_answer_nor_provenance_is_in_the_page(page):
    text = page.read_text()
    assert "secret" not in text
    assert "truth" not in text
    assert "checked>" not in text


def test_the_page_needs_nothing_from_elsewhere(page):
    text = page.read_text()
    assert not re.search(r'(src|href)="|url\(|@import|https?://', text.replace("&lt;img src=x", ""))


@pytest.mark.slow
def test_the_browser_runs_the_page_s_own_script_alone(page):
    assert f"0 of {len(QUESTIONS)} rated" in dump(page)
    page.write_text(page.read_text().replace("</body>", "<script>document.title = 'taken over'</script></body>"))
    assert "<title>taken over" not in dump(page)


@pytest.mark.slow
def test_what_an_expert_enters_comes_back_as_verdicts(page, tmp_path):
    whole = {
        "is_answerable": "yes",
        "has_one_best_answer": "yes",
        "best_answer": "B",
        "is_factual": "no",
        "plausibility": "3",
        "difficulty": "5",
        "comment": '=1+1, "quoted";\nnext line',
    }
    answers = [whole, {**whole, "has_one_best_answer": "no"}, {"is_answerable": "no"}, {}]
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text())
    page.write_text(text.replace("</body>", HARNESS.replace("ANSWERS", json.dumps(answers)) + "</body>"))
    (found,) = re.findall(r'<pre id="out">(.*?)</pre>', dump(page), re.DOTALL)
    out = json.loads(Page(found).texts[0])
    assert out["message"].startswith("Saved 2 of 4 questions as verdicts-Ada_L_.csv. 1 that you have begun")
    (tmp_path / "ada.csv").write_text(out["text"], encoding="utf-8")
    comment = '=1+1, "quoted";\nnext line'
    assert read_sheet(tmp_path / "ada.csv", {question.id: question for question in QUESTIONS}) == {
        "q<0>": Verdict(True, True, "B", False, 3, 5, comment),
        "=q1": Verdict(True, False, None, False, 3, 5, comment),
    }
