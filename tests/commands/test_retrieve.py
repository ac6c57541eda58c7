from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from support.commands import run
from support.helpers import ListCorpus, typed

from medssr.commands.retrieve import retrieve, search_documents
from medssr.errors import InputError
from medssr.knowledge.corpora import Passage
from medssr.knowledge.retrieval import BM25Retriever, store_passages

pytestmark = pytest.mark.slow

DOCUMENTS = [
    {"doc_id": "gout-cause", "title": "What causes gout ?", "synonyms": "", "text": "Uric acid in the joints."},
    {"doc_id": "gout-care", "title": "How is gout treated ?", "synonyms": "Podagra", "text": "Rest and drugs."},
    {
        "doc_id": "fabry",
        "title": "What is Fabry disease ?",
        "synonyms": "GLA deficiency; FD",
        "text": "A storage disease.",
    },
    {"doc_id": "acid", "title": "What is acid reflux ?", "synonyms": None, "text": "Acid of the stomach."},
]
QUESTIONS = [
    {"question_id": 1, "summary": "What causes gout?"},
    {"question_id": 2, "summary": "Treatments for podagra"},
    {"question_id": 3, "summary": "Is Fabri disease inherited?"},
    {"question_id": 4, "summary": "Acid reflux"},
    {"question_id": 5, "summary": "Something that nobody judged"},
]
QRELS = [
    {"question_id": 1, "doc_id": "gout-care", "grade": 4},
    {"question_id": 1, "doc_id": "gout-cause", "grade": 3},
    {"question_id": 2, "doc_id": "gout-care", "grade": 3},
    {"question_id": 3, "doc_id": "fabry", "grade": 4},
    {"question_id": 3, "doc_id": "acid", "grade": 1},
    {"question_id": 4, "doc_id": "acid", "grade": 2},
]


def write(path: Path, rows: list) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def overrides(tmp_path: Path, documents=DOCUMENTS, questions=QUESTIONS, qrels=QRELS) -> list[str]:
    return [
        f"corpus.path={write(tmp_path / 'corpus.jsonl', documents)}",
        f"questions.path={write(tmp_path / 'questions.jsonl', questions)}",
        f"qrels.path={write(tmp_path / 'qrels.jsonl', qrels)}",
        f"paths.root_dir={tmp_path}",
        "extras.progress_bar=false",
    ]


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_metrics_questions_and_hits_agree_with_what_was_worked_by_hand(tmp_path, caplog):
    artifact = retrieve(typed("retrieve", *overrides(tmp_path)))
    metrics = json.loads(artifact.path("metrics.json").read_text())
    first = (3 + 7 / math.log2(3)) / (7 + 3 / math.log2(3))  # the better answer to the first question comes second
    assert {name: (metrics[name]["value"], metrics[name]["n"]) for name in metrics if "@" in name} == {
        "ndcg@10": (pytest.approx((first + 1 + 1) / 3, abs=1e-6), 3),
        "recall@32": (1.0, 3),
        "mrr@10": (1.0, 3),
        "judged@10": (pytest.approx((2 / 2 + 1 + 1 + 1 / 2) / 4, abs=1e-6), 4),
    }
    counts = {"num_passages": 4, "num_questions": 5, "num_judged_questions": 4, "num_answerable_questions": 3}
    assert {name: metrics[name] for name in counts} == counts == artifact.manifest["counts"]
    assert "1 of 5 questions have no judgement: ['5']" in caplog.text
    by_question = {row["question_id"]: row for row in rows(artifact.path("questions.jsonl"))}
    assert by_question["1"]["metrics"]["ndcg@10"] == pytest.approx(first)
    assert by_question["4"]["metrics"]["ndcg@10"] is None
    assert by_question["5"] == {"question_id": "5", "query": "Something that nobody judged", "num_judged": 0}
    hits = [row for row in rows(artifact.path("hits.jsonl")) if row["question_id"] == "1"]
    assert [(hit["rank"], hit["doc_id"], hit["grade"]) for hit in hits] == [(1, "gout-cause", 3), (2, "gout-care", 4)]
    assert metrics["retriever"]["names"]["corrections"] == {"fabri": "fabry"}


def test_a_second_run_makes_nothing_anew(tmp_path):
    config = typed("retrieve", *overrides(tmp_path))
    first = retrieve(config)
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*") if file.is_file()}
    assert retrieve(config).directory == first.directory
    assert {file: file.stat().st_mtime_ns for file in before} == before


def test_another_retriever_uses_the_stored_corpus(tmp_path):
    arguments = overrides(tmp_path)
    first = retrieve(typed("retrieve", *arguments))
    second = retrieve(typed("retrieve", *arguments, "retriever=bm25"))
    assert first.directory != second.directory
    assert len(list((tmp_path / "artifacts" / "indexes").iterdir())) == 1


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"questions": [QUESTIONS[0], "{broken"]}, ["questions.jsonl", "line 2"]),
        ({"qrels": [QRELS[0], QRELS[1] | {"doc_id": "gout"}]}, ["qrels.jsonl", "line 2", '"doc_id"', '"gout"']),
        ({"qrels": [QRELS[0], QRELS[1] | {"grade": 7}]}, ["qrels.jsonl", "line 2", '"grade"', "7"]),
        ({"qrels": [QRELS[5]]}, ["qrels.jsonl", "nothing to find"]),
        ({"qrels": [QRELS[0] | {"question_id": 77}]}, ["qrels.jsonl", "nothing to find"]),
        ({"documents": [*DOCUMENTS, DOCUMENTS[0]]}, ["corpus.jsonl", "line 5", '"doc_id"']),
        ({"documents": [DOCUMENTS[0] | {"synonyms": [1]}]}, ["corpus.jsonl", "line 1", '"synonyms"']),
    ],
)
def test_faults_are_named_and_leave_no_artifact(tmp_path, change, parts):
    with pytest.raises(InputError) as caught:
        retrieve(typed("retrieve", *overrides(tmp_path, **change)))
    for part in parts:
        assert part in str(caught.value)
    assert not list(tmp_path.glob("artifacts/retrieve/*/manifest.json"))


def test_too_few_hits_for_the_metrics_are_an_error():
    with pytest.raises(InputError, match="at least 32"):
        typed("retrieve", "num_hits=10")


def test_a_split_document_counts_once_at_the_rank_of_its_first_passage(tmp_path):
    passages = [
        *(Passage(f"long#{number}", "", "gout gout", document_id="long") for number in range(1, 60)),
        *(Passage(f"short-{number}", "", "gout and other words here") for number in range(3)),
    ]
    retriever = BM25Retriever(["text"], 1.2, 0.75, False)
    retriever.index(store_passages(ListCorpus(*passages), tmp_path))
    found = search_documents(retriever, "gout", 3)
    assert [hit.passage.id for hit in found] == ["long#1", "short-0", "short-1"]
    assert len(search_documents(retriever, "gout", 100)) == 4
    assert search_documents(retriever, "sevoflurane", 100) == []


def test_the_command_ends_with_a_table_and_where_the_metrics_are(tmp_path):
    output, log = run("retrieve", *overrides(tmp_path), folder=tmp_path)
    for part in ("ndcg@10", "recall@32", "mrr@10", "judged@10"):
        assert part in output
    assert "metrics.json" in log
    assert "5 questions, 4 of them judged, 3 with a relevant document" in log


@pytest.mark.slow
def test_the_default_finds_the_judged_answers_of_the_public_collection(shared_data, tmp_path):
    """Reproduces the report of experiments/retrieval on a collection of 17,877 documents."""
    folder = shared_data / "medquad" / "retrieval"
    arguments = [
        f"corpus.path={folder / 'corpus.jsonl'}",
        f"questions.path={folder / 'questions.dev.jsonl'}",
        f"qrels.path={folder / 'qrels.dev.jsonl'}",
        f"paths.root_dir={tmp_path}",
        "extras.progress_bar=false",
    ]
    metrics = json.loads(retrieve(typed("retrieve", *arguments)).path("metrics.json").read_text())
    assert metrics["ndcg@10"]["value"] == pytest.approx(0.686, abs=0.002)
    assert metrics["recall@32"]["value"] == pytest.approx(0.924, abs=0.002)
    assert (metrics["ndcg@10"]["n"], metrics["judged@10"]["n"]) == (39, 51)
