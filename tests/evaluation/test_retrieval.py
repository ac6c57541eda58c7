from __future__ import annotations

import json
import math
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medssr.errors import InputError
from medssr.evaluation.retrieval import (
    RelevanceJudgement,
    RetrievalQuestion,
    judged_rate,
    mean_scores,
    ndcg,
    read_relevance_judgements,
    read_retrieval_questions,
    recall,
    reciprocal_rank,
    score_question,
)

DOCUMENTS = "abcdef"
GRADES = st.dictionaries(st.sampled_from(DOCUMENTS), st.integers(1, 4), min_size=1)
RANKED = st.lists(st.sampled_from(DOCUMENTS + "xyz"), unique=True)


def dcg(ranked, grades):
    """Computes the formula literally, rank by rank."""
    total = 0.0
    for rank in range(1, len(ranked) + 1):
        gain = {1: 0, 2: 1, 3: 3, 4: 7}[grades.get(ranked[rank - 1], 1)]
        total += gain * math.log(2) / math.log(rank + 1)
    return total


def test_ndcg_is_worked_by_hand():
    grades = {"a": 2, "b": 4, "c": 3, "d": 1}
    ideal = 7 + 3 / math.log2(3) + 1 / 2
    assert ndcg(["b", "c", "a"], grades, 10) == pytest.approx(1.0)
    assert ndcg(["x", "b", "d", "a"], grades, 10) == pytest.approx((7 / math.log2(3) + 1 / math.log2(5)) / ideal)
    assert ndcg(["b", "c", "a"], grades, 1) == pytest.approx(1.0)
    assert ndcg(["a", "b"], grades, 1) == pytest.approx(1 / 7)
    assert ndcg(["x", "d"], grades, 10) == 0.0
    assert ndcg([], grades, 10) == 0.0


def test_the_ideal_is_over_all_judged_documents_not_over_those_found():
    grades = dict.fromkeys("abcdefghijklmno", 4)
    assert ndcg(["a"], grades, 10) == pytest.approx(1 / sum(1 / math.log2(rank + 1) for rank in range(1, 11)))


@pytest.mark.slow
@given(GRADES, RANKED, st.integers(1, 8))
def test_ndcg_agrees_with_the_best_of_all_orders(grades, ranked, k):
    ideal = max(dcg(order[:k], grades) for order in permutations(grades))
    assert ndcg(ranked, grades, k) == pytest.approx(dcg(ranked[:k], grades) / ideal if ideal else 0.0)


@pytest.mark.slow
@given(GRADES, RANKED)
def test_every_metric_lies_between_0_and_1(grades, ranked):
    for value in score_question(ranked, grades).metrics.values():
        assert value is None or 0 <= value <= 1


def test_recall_looks_at_the_first_k():
    grades = {"a": 3, "b": 4, "c": 2, "d": 3}
    assert recall(["c", "a", "x", "b", "d"], grades, 3) == pytest.approx(1 / 3)
    assert recall(["c", "a", "x", "b", "d"], grades, 4) == pytest.approx(2 / 3)


def test_the_reciprocal_rank_is_that_of_the_first_relevant_document():
    grades = {"a": 2, "b": 3, "c": 4}
    assert reciprocal_rank(["x", "a", "b", "c"], grades, 10) == pytest.approx(1 / 3)
    assert reciprocal_rank(["x", "a", "b", "c"], grades, 2) == 0.0


def test_the_judged_rate_is_of_the_documents_that_were_found():
    grades = {"a": 1, "b": 4}
    assert judged_rate(["a", "x", "y", "b"], grades, 3) == pytest.approx(1 / 3)
    assert judged_rate(["a"], grades, 10) == 1.0
    assert judged_rate([], grades, 10) == 0.0


def test_a_question_without_a_relevant_document_only_says_what_was_judged():
    score = score_question(["a", "b"], {"a": 2})
    assert (score.num_judged, score.num_relevant) == (1, 0)
    assert score.metrics == {"ndcg@10": None, "recall@32": None, "mrr@10": None, "judged@10": 0.5}


def test_means_are_over_the_questions_that_have_the_metric():
    grades = [{"a": 4}, {"a": 3, "b": 3}, {"a": 2}]
    means = mean_scores([score_question(["b", "a"], row) for row in grades], seed=0)
    assert list(means) == ["ndcg@10", "recall@32", "mrr@10", "judged@10"]
    assert {name: (mean.value, mean.n) for name, mean in means.items()} == {
        "ndcg@10": (pytest.approx((1 / math.log2(3) + 1) / 2, abs=1e-6), 2),
        "recall@32": (1.0, 2),
        "mrr@10": (0.75, 2),
        "judged@10": (pytest.approx(2 / 3, abs=1e-6), 3),
    }
    for mean in means.values():
        assert mean.low <= mean.value <= mean.high


def test_nothing_to_find_is_an_error():
    with pytest.raises(ValueError, match="n > 0"):
        mean_scores([score_question(["a"], {"a": 2})], seed=0)


def write(path: Path, *lines: object) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


QUESTION = {"question_id": 1, "subject": "Gout", "message": " ", "summary": "What causes gout?"}
JUDGEMENT = {"question_id": 1, "doc_id": "d1", "grade": 3}


@pytest.mark.parametrize(
    ("fields", "query"),
    [
        (["summary"], "What causes gout?"),
        (["subject", "summary"], "Gout What causes gout?"),
        (["subject", "message", "summary"], "Gout What causes gout?"),
    ],
)
def test_the_query_is_made_of_the_named_fields(tmp_path, fields, query):
    path = write(tmp_path / "q.jsonl", QUESTION)
    assert read_retrieval_questions(path, fields) == [RetrievalQuestion("1", query)]


def test_judgements_have_their_line(tmp_path):
    path = write(tmp_path / "j.jsonl", JUDGEMENT, JUDGEMENT | {"question_id": "2"})
    assert list(read_relevance_judgements(path)) == [
        RelevanceJudgement("1", "d1", 3, 1),
        RelevanceJudgement("2", "d1", 3, 2),
    ]


@pytest.mark.parametrize(
    ("lines", "parts"),
    [
        ([], ["holds no question"]),
        (["{broken"], ["line 1", "not valid JSON"]),
        ([QUESTION, "3"], ["line 2", "expected an object"]),
        ([QUESTION, QUESTION], ["line 2", 'field "question_id"', "twice"]),
        ([QUESTION, QUESTION | {"question_id": "1"}], ["line 2", "twice"]),
        ([{"summary": "x"}], ["line 1", 'field "question_id"', "missing"]),
        ([QUESTION | {"question_id": None}], ["line 1", 'field "question_id"', "None"]),
        ([QUESTION | {"question_id": True}], ["line 1", "True"]),
        ([QUESTION | {"summary": " "}], ["line 1", 'field "summary"', "empty"]),
        ([QUESTION | {"summary": ["x"]}], ["line 1", 'field "summary"', "['x']"]),
        ([{"question_id": 1, "subject": "x"}], ["line 1", 'field "summary"', "missing", "question_id, subject"]),
    ],
)
def test_faults_of_questions_name_file_line_and_field(tmp_path, lines, parts):
    path = write(tmp_path / "q.jsonl", *lines)
    with pytest.raises(InputError) as caught:
        read_retrieval_questions(path, ["summary"])
    for part in [str(path), *parts]:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "parts"),
    [
        ([], ["holds no judgement"]),
        (["{broken"], ["line 1", "not valid JSON"]),
        ([JUDGEMENT, JUDGEMENT | {"grade": 1}], ["line 2", 'field "doc_id"', '"d1"', "line 1 already"]),
        ([JUDGEMENT | {"grade": 0}], ["line 1", 'field "grade"', "from 1 to 4", "0"]),
        ([JUDGEMENT | {"grade": 5}], ["line 1", "5"]),
        ([JUDGEMENT | {"grade": "3"}], ["line 1", "'3'"]),
        ([JUDGEMENT | {"grade": 2.5}], ["line 1", "2.5"]),
        ([JUDGEMENT | {"grade": True}], ["line 1", "True"]),
        ([JUDGEMENT, {"question_id": 1, "grade": 3}], ["line 2", 'field "doc_id"', "missing"]),
    ],
)
def test_faults_of_judgements_name_file_line_and_field(tmp_path, lines, parts):
    path = write(tmp_path / "j.jsonl", *lines)
    with pytest.raises(InputError) as caught:
        list(read_relevance_judgements(path))
    for part in [str(path), *parts]:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    "read", [lambda path: read_retrieval_questions(path, ["x"]), lambda p: list(read_relevance_judgements(p))]
)
def test_an_absent_file_is_named(tmp_path, read):
    with pytest.raises(InputError, match="no such file"):
        read(tmp_path / "none.jsonl")
