"""medssr-retrieve: score a retriever on questions with judged documents."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medssr.artifacts import Step
from medssr.cli.entry import run_command
from medssr.config import RetrieveConfig
from medssr.errors import InputError
from medssr.manifests import Artifact
from medssr.models.device import prepared_for

if TYPE_CHECKING:
    from medssr.evaluation.retrieval import Grades, QuestionScore, RetrievalQuestion
    from medssr.knowledge.retrieval import Hit, Retriever, StoredPassages

log = logging.getLogger(__name__)


def retrieve(config: RetrieveConfig) -> Artifact:
    """Returns the artefact of scores: `metrics.json`, `questions.jsonl` with each question's, `hits.jsonl`."""
    return Step.of("retrieve", config).run(lambda directory: _run(config, directory))


def _run(config: RetrieveConfig, directory: Path) -> dict[str, Any]:
    with prepared_for(config.extras, config.seed, retriever=config.retriever):
        return _score_retriever(config, directory)


def _score_retriever(config: RetrieveConfig, directory: Path) -> dict[str, Any]:
    from medssr.evaluation.retrieval import mean_scores, read_retrieval_questions, score_question
    from medssr.knowledge.retrieval import store_passages
    from medssr.utils.files import write_json_atomically, write_lines_atomically
    from medssr.utils.instantiate import instantiate
    from medssr.utils.progress import Progress

    questions = read_retrieval_questions(config.questions.path, config.questions.query_fields)
    passages = store_passages(instantiate(config.corpus, "corpus"), Path(config.paths.index_dir))
    grades = _read_grades(config.qrels.path, questions, passages)
    retriever = instantiate(config.retriever, "retriever")
    retriever.index(passages)
    hits: dict[str, list[Hit]] = {}
    scores: dict[str, QuestionScore] = {}
    with Progress("retrieve", len(questions), "questions") as progress:
        for question in questions:
            hits[question.id] = search_documents(retriever, question.query, config.num_hits)
            if question.id in grades:
                ranked = [document_id(hit) for hit in hits[question.id]]
                scores[question.id] = score_question(ranked, grades[question.id])
            progress.advance()
    metrics = {name: asdict(estimate) for name, estimate in mean_scores(scores.values(), seed=config.seed).items()}
    counts = {
        "num_passages": len(passages),
        "num_questions": len(questions),
        "num_judged_questions": len(scores),
        "num_answerable_questions": sum(score.num_relevant > 0 for score in scores.values()),
    }
    write_lines_atomically(directory / "questions.jsonl", _question_lines(questions, scores))
    write_lines_atomically(directory / "hits.jsonl", _hit_lines(hits, grades))
    write_json_atomically(directory / "metrics.json", metrics | counts | {"retriever": retriever.report()})
    return counts


def search_documents(retriever: Retriever, query: str, num_documents: int) -> list[Hit]:
    """Returns the best documents, each as the hit of its best passage, at most `num_documents`."""
    top_k = num_documents
    while True:
        hits = retriever.search(query, top_k)
        best = {document_id(hit): hit for hit in reversed(hits)}  # keeps the first hit of each document
        documents = [hit for hit in hits if best[document_id(hit)] is hit]
        if len(documents) >= num_documents or len(hits) < top_k:
            return documents[:num_documents]
        top_k *= 4  # several hits are passages of the same document


def document_id(hit: Hit) -> str:
    """Returns the id of the document that a passage belongs to."""
    return hit.passage.id if hit.passage.document_id is None else hit.passage.document_id


def _read_grades(path: str, questions: list[RetrievalQuestion], passages: StoredPassages) -> dict[str, Grades]:
    """Returns the relevance grades of each question's documents.

    Raises:
        InputError: When a judgement names a document that the corpus lacks, or no question has a relevant document.
    """
    from medssr.evaluation.retrieval import is_relevant, read_relevance_judgements

    asked = {question.id for question in questions}
    document_ids = {passage.document_id or passage.id for passage in passages}
    grades: defaultdict[str, dict[str, int]] = defaultdict(dict)
    num_unused = 0
    for judgement in read_relevance_judgements(path):
        if judgement.document_id not in document_ids:
            problem = f'the corpus has no document "{judgement.document_id}"; give the corpus that was judged, whole.'
            raise InputError.at(path, problem, line=judgement.line, field="doc_id")
        if judgement.question_id in asked:
            grades[judgement.question_id][judgement.document_id] = judgement.grade
        else:
            num_unused += 1
    if num_unused:
        log.warning("%s: %d judgements are about questions that are not asked", path, num_unused)
    unjudged = sorted(asked - grades.keys())
    if unjudged:
        log.warning("%s: %d of %d questions have no judgement: %s", path, len(unjudged), len(asked), unjudged)
    if not any(is_relevant(grade) for judged in grades.values() for grade in judged.values()):
        raise InputError.at(path, "no question has a relevant document (grade 3 or 4); there is nothing to find.")
    return dict(grades)


def _question_lines(questions: list[RetrievalQuestion], scores: dict[str, QuestionScore]) -> list[str]:
    return [
        json.dumps(
            {"question_id": question.id, "query": question.query}
            | (asdict(scores[question.id]) if question.id in scores else {"num_judged": 0}),
            ensure_ascii=False,
        )
        for question in questions
    ]


def _hit_lines(hits: dict[str, list[Hit]], grades: dict[str, Grades]) -> list[str]:
    return [
        json.dumps(
            {
                "question_id": question_id,
                "rank": rank,
                "doc_id": document_id(hit),
                "passage_id": hit.passage.id,
                "score": hit.score,
                "grade": grades.get(question_id, {}).get(document_id(hit)),
            }
        )
        for question_id, ranked in hits.items()
        for rank, hit in enumerate(ranked, start=1)
    ]


def main() -> None:
    """Console entry point."""
    run_command("retrieve", _main)


def _main(config: RetrieveConfig) -> None:
    from medssr.reports.render import print_ranking_scores

    artifact = retrieve(config)
    metrics = json.loads(artifact.path("metrics.json").read_text(encoding="utf-8"))
    print_ranking_scores(metrics)
    log.info(
        "%d questions, %d of them judged, %d with a relevant document",
        *(metrics[name] for name in ("num_questions", "num_judged_questions", "num_answerable_questions")),
    )
    log.info("made %s\nnext: medssr-synthesize with the same corpus and retriever", artifact.path("metrics.json"))


if __name__ == "__main__":
    main()
