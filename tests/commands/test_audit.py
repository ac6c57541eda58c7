"""Tests the command: it first writes sheets and judgements, then estimates from the filled sheets."""

from __future__ import annotations

import csv
import json

import pytest
from support.chat_server import ServerReply, running_server
from support.commands import run
from support.helpers import typed

from medssr.commands.audit import audit, report_audit
from medssr.errors import InputError
from medssr.questions import Question, read_questions, write_questions

pytestmark = pytest.mark.slow

VERDICT = {
    "comment": "",
    "is_answerable": True,
    "has_one_best_answer": True,
    "best_answer": "A",
    "is_factual": True,
    "plausibility": 4,
    "difficulty": 2,
}


@pytest.fixture
def server():
    def answer(prompt, _):
        is_wrong = "number 7" in prompt
        return ServerReply(json.dumps(VERDICT | {"is_factual": not is_wrong}))

    with running_server() as server:
        server.answer = answer
        yield server


@pytest.fixture
def settings(tmp_path, server):
    questions = [
        Question(
            f"q{n}",
            f"Which organ is number {n}?",
            {"A": "liver", "B": "heart"},
            None,
            "toy",
            is_rare=n % 4 == 0,
            provenance={"truth": "A", "passages": ["builtin:Wagner disease"]},
        )
        for n in range(40)
    ]
    write_questions(tmp_path / "questions.jsonl", questions)
    base = [f"paths.root_dir={tmp_path}", f"data.path={tmp_path}/questions.jsonl", "extras.progress_bar=false"]
    judge = ["judge=openai", f"judge.base_url={server.url}", "judge.model=tiny", "judge.api_key_env=null"]

    def compose(*overrides, has_judge=True):
        return typed("audit", *base, *(judge if has_judge else []), *overrides)

    return compose


def fill(sheet, path, wrong=(), rated=None):
    """Fills in a sheet like an expert in a spreadsheet."""
    with sheet.open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows if rated is None else rows[:rated]:
        row |= dict.fromkeys(("is_answerable", "has_one_best_answer", "is_factual"), "yes")
        row |= {"best_answer": "A", "plausibility": "5", "difficulty": "1"}
        if row["id"] in wrong:
            row["is_factual"] = "no"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0], delimiter=";")
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_sheets_first_then_figures(settings, server, tmp_path):
    made = audit(settings())
    assert {file.name for file in made.directory.iterdir()} == {
        "sample.jsonl",
        "checks.jsonl",
        "judgements.jsonl",
        "sheet.csv",
        "sheet.html",
        "manifest.json",
    }
    assert made.manifest["counts"]["judgements"] == {"judged": 40}
    assert "Wagner disease mainly affects" in server.calls[0]["messages"][0]["content"]
    sheets = [
        fill(made.path("sheet.csv"), tmp_path / "ada.csv", wrong=["q7", "q8"]),
        fill(made.path("sheet.csv"), tmp_path / "ben.csv", wrong=["q7"], rated=25),
    ]
    config = settings(f"audit.verdicts=[{sheets[0]},{sheets[1]}]")
    again = audit(config)
    assert again.directory == made.directory
    assert len(server.calls) == 40
    report = json.loads(report_audit(config, again).path("report.json").read_text())
    assert {rater["rater"]: rater["num_rated"] for rater in report["raters"]} == {
        "judge": 40,
        "ada": 40,
        "ben": 25,
        "experts": 40,
    }
    (judge, ada, *_) = report["raters"]
    assert judge["rates"]["is_error"]["count"] == 1
    assert ada["rates"]["is_error"]["count"] == 2
    assert judge["right"]["truth"]["count"] == 40
    pair = report["pairs"][0]
    assert (pair["first"], pair["second"]) == ("judge", "ada")
    assert pair["agreement"]["is_error"]["table"] == [[1, 0], [1, 38]]
    assert {item["id"] for item in report["flagged"]} == {"q7", "q8"}


def test_a_second_judge_chooses_what_experts_see_first(settings, server):
    def answer(prompt, before):  # asked before: by the first judge
        return ServerReply(json.dumps(VERDICT | {"best_answer": "B" if before and "number 3?" in prompt else "A"}))

    server.answer = answer
    second = ["judge@second_judge=openai", f"second_judge.base_url={server.url}", "second_judge.model=other"]
    config = settings(*second, "second_judge.api_key_env=null")
    made = audit(config)
    assert made.manifest["counts"]["second_judgements"] == {"judged": 40}
    assert made.manifest["counts"]["num_with_problem"] == 0
    reported = report_audit(config, made)
    assert [question.id for question in read_questions(reported.path("for_experts.jsonl"))] == ["q3"]
    with pytest.raises(InputError, match="second_judge: a second judge without a first one"):
        settings("judge@second_judge=openai", "second_judge.model=other", has_judge=False)


def test_nothing_that_experts_get_tells_the_truth(settings):
    made = audit(settings())
    for name in ("sheet.csv", "sheet.html"):
        assert "truth" not in made.path(name).read_text()


def test_a_changed_sheet_makes_another_report(settings, tmp_path):
    made = audit(settings(has_judge=False))
    assert not made.path("judgements.jsonl").exists()
    fill(made.path("sheet.csv"), tmp_path / "ada.csv")
    config = settings(f"audit.verdicts=[{tmp_path}/ada.csv]", has_judge=False)
    first = report_audit(config, made)
    assert report_audit(config, made).directory == first.directory
    fill(made.path("sheet.csv"), tmp_path / "ada.csv", wrong=["q1"])
    assert report_audit(config, made).directory != first.directory


def test_a_sample_of_other_questions_takes_no_verdicts(settings, tmp_path):
    made = audit(settings("audit.num_questions=10", has_judge=False))
    other = audit(settings("audit.num_questions=10", "seed=1", has_judge=False))
    fill(other.path("sheet.csv"), tmp_path / "ada.csv")
    with pytest.raises(InputError, match='field "id"'):
        report_audit(settings(f"audit.verdicts=[{tmp_path}/ada.csv]", has_judge=False), made)


def test_a_passage_that_the_corpus_lacks_stops_unless_the_audit_goes_without(settings, tmp_path):
    (tmp_path / "other.jsonl").write_text('{"id": "x", "title": "t", "text": "t"}\n')
    other = ["corpus=jsonl", f"corpus.path={tmp_path}/other.jsonl"]
    with pytest.raises(InputError, match="Wagner disease"):
        audit(settings(*other, has_judge=False))
    made = audit(settings("~corpus", has_judge=False))
    assert "Wagner" not in made.path("sheet.html").read_text()


@pytest.mark.parametrize("files", ["a/ada.csv,b/ada.csv", "judge.csv", "experts.csv"])
def test_sheets_name_their_raters(settings, files):
    with pytest.raises(InputError, match=r"audit.verdicts: .* distinct"):
        settings(f"audit.verdicts=[{files}]")


def test_the_command_prints_the_figures_and_a_broken_sheet_ends_it_with_code_2(settings, server, tmp_path):
    arguments = [f"data.path={tmp_path}/questions.jsonl", "judge=openai", f"judge.base_url={server.url}"]
    arguments += ["judge.model=tiny", "judge.api_key_env=null", "extras.progress_bar=false"]

    output, log = run("audit", *arguments, folder=tmp_path)
    assert "1 of 40" in output
    assert "audit.verdicts=" in log
    (tmp_path / "ada.csv").write_text("id,text_key\n")
    _, log = run("audit", *arguments, f"audit.verdicts=[{tmp_path}/ada.csv]", folder=tmp_path, code=2)
    assert "ada.csv, line 1" in log
