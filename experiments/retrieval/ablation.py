"""Measures what each design decision of the lexical retriever contributes on judged questions, and how stable that is.

python experiments/retrieval/ablation.py corpus.jsonl questions.jsonl qrels.jsonl
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from pathlib import Path

import bm25s
import numpy as np
from bm25s.stopwords import STOPWORDS_EN, STOPWORDS_EN_PLUS

from medssr.evaluation.retrieval import (
    QuestionScore,
    RetrievalQuestion,
    mean_scores,
    read_relevance_judgements,
    read_retrieval_questions,
    score_question,
)
from medssr.knowledge.corpora import JsonlCorpus, Passage
from medssr.knowledge.retrieval.bm25 import terms, tokenize
from medssr.knowledge.retrieval.combined import reciprocal_rank_fusion
from medssr.knowledge.retrieval.retriever import Ranking, best_ranking
from medssr.knowledge.retrieval.stored_passages import field_text
from medssr.statistics import paired_bootstrap_difference
from medssr.text.words import singular

Analysis = Callable[[str], list[str]]
# Fields, analysis, k1 and b of one BM25 ranking.
Part = tuple[tuple[str, ...], str, float, float]
DEPTH = 1000
NAMES = ("title", "synonyms")
EVERYTHING = ("title", "synonyms", "text")

ANALYSES: dict[str, Analysis] = {
    "default": terms,
    "no stop words": lambda text: [singular(word) for word in tokenize(text)],
    "33 stop words": lambda text: [singular(word) for word in tokenize(text) if word not in STOPWORDS_EN],
    "no singulars": lambda text: [word for word in tokenize(text) if len(word) == 1 or word not in STOPWORDS_EN_PLUS],
    "no one-letter words": lambda text: [word for word in terms(text) if len(word) > 1],
    "bm25s": lambda text: [w for w in re.findall(r"\b\w\w+\b", text.lower()) if w not in STOPWORDS_EN],
    "bm25s, NLTK stop words": lambda text: [
        word for word in re.findall(r"\b\w\w+\b", text.lower()) if word not in STOPWORDS_EN_PLUS
    ],
}


def default(analysis: str = "default", k1: float = 0.9, b: float = 0.4) -> list[Part]:
    """Returns the BM25 rankings of retriever=fused, or of a variant with other settings."""
    return [(NAMES, analysis, 1.5, 0.75), (EVERYTHING, analysis, k1, b)]


# BM25 rankings, k of the fusion, whether a repeated word of the query counts once.
VARIANTS: dict[str, tuple[list[Part], float, bool]] = {
    "reference: all text": ([(("title", "text"), "bm25s", 1.5, 0.75)], 60, False),
    "reference: titles": ([(("title",), "bm25s", 1.5, 0.75)], 60, False),
    "reference: fused": ([(("title", "text"), "bm25s", 1.5, 0.75), (("title",), "bm25s", 1.5, 0.75)], 60, False),
    "reference, NLTK stop words: all text": ([(("title", "text"), "bm25s, NLTK stop words", 1.5, 0.75)], 60, False),
    "reference, NLTK stop words: titles": ([(("title",), "bm25s, NLTK stop words", 1.5, 0.75)], 60, False),
    "reference, NLTK stop words: fused": (
        [(("title", "text"), "bm25s, NLTK stop words", 1.5, 0.75), (("title",), "bm25s, NLTK stop words", 1.5, 0.75)],
        60,
        False,
    ),
    "default": (default(), 60, True),
    "names alone": (default()[:1], 60, True),
    "everything alone": (default()[1:], 60, True),
    "everything alone, k1 1.5, b 0.75 (retriever=bm25)": ([(EVERYTHING, "default", 1.5, 0.75)], 60, True),
    "titles for names": ([(("title",), "default", 1.5, 0.75), default()[1]], 60, True),
    "title and text for everything": ([default()[0], (("title", "text"), "default", 0.9, 0.4)], 60, True),
    "text for everything": ([default()[0], (("text",), "default", 0.9, 0.4)], 60, True),
    "a repeated word counts again": (default(), 60, False),
    **{name: (default(name), 60, True) for name in ANALYSES if name != "default" and "bm25s" not in name},
    **{
        f"everything: k1 {k1}, b {b}": (default(k1=k1, b=b), 60, True)
        for k1, b in ((0.9, 0.2), (0.9, 0.6), (1.2, 0.4), (1.2, 0.75), (1.5, 0.4), (1.5, 0.75))
    },
    **{f"fusion: k {k}": (default(), k, True) for k in (10, 30, 100)},
}


class VariantRunner:
    """Runs variants; tokens and models that several of them use are computed once."""

    def __init__(self, passages: list[Passage], questions: list[RetrievalQuestion]) -> None:
        self.passages = passages
        self.questions = questions
        self.tokens = cache(self._tokens)
        self.model = cache(self._model)

    def rankings(self, part: Part, counts_once: bool) -> list[Ranking]:
        """Returns the ranking of each question by one BM25 model."""
        _, analysis, _, _ = part
        model = self.model(part)
        rankings = []
        for question in self.questions:
            words = ANALYSES[analysis](question.query)
            ids = model.get_tokens_ids(list(dict.fromkeys(words)) if counts_once else words)
            scores = model.get_scores_from_ids(ids) if ids else np.zeros(len(self.passages))
            rankings.append(best_ranking(scores, DEPTH, np.flatnonzero(scores > 0)))
        return rankings

    def run(self, variant: tuple[list[Part], float, bool]) -> list[list[str]]:
        """Returns the ids of the best documents of each question."""
        parts, k, counts_once = variant
        by_part = [self.rankings(part, counts_once) for part in parts]
        if len(by_part) == 1:
            fused = by_part[0]
        else:
            fused = [reciprocal_rank_fusion(rankings, k, DEPTH) for rankings in zip(*by_part, strict=True)]
        return [[self.passages[index].id for index in ranking.indices] for ranking in fused]

    def _tokens(self, fields: tuple[str, ...], analysis: str) -> tuple[list[list[int]], dict[str, int]]:
        words: dict[str, int] = {}
        split = ANALYSES[analysis]
        ids = [
            [words.setdefault(w, len(words)) for field in fields for w in split(field_text(passage, field))]
            for passage in self.passages
        ]
        return ids, words

    def _model(self, part: Part) -> bm25s.BM25:
        fields, analysis, k1, b = part
        ids, words = self.tokens(fields, analysis)
        model = bm25s.BM25(k1=k1, b=b)
        model.index((ids, dict(words)), show_progress=False)
        return model


def choice_on_halves(by_variant: dict[str, np.ndarray], num_splits: int = 1000) -> tuple[float, float, float]:
    """Chooses the best variant on random halves of the questions, and returns three means.

    They are the score of the chosen variant on the half that chose it, its score on the other half, and the default's
    score on that other half.
    """
    table = np.stack(list(by_variant.values()))  # [V, Q]
    generator = np.random.default_rng(0)
    rows = []
    for _ in range(num_splits):
        order = generator.permutation(table.shape[1])
        chosen_on, held_out = order[: len(order) // 2], order[len(order) // 2 :]
        best = table[:, chosen_on].mean(axis=1).argmax()
        default_score = by_variant["default"][held_out].mean()
        rows.append((table[best, chosen_on].mean(), table[best, held_out].mean(), default_score))
    chosen, transferred, default_score = np.mean(rows, axis=0)
    return chosen, transferred, default_score


def main() -> None:
    """Prints a table of all variants, and how well a choice on one half transfers to the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("corpus", "questions", "qrels"):
        parser.add_argument(name, type=Path)
    paths = parser.parse_args()
    corpus = JsonlCorpus(paths.corpus, "doc_id", "title", "text", None, None, "synonyms")
    questions = read_retrieval_questions(paths.questions, ["summary"])
    grades: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for judgement in read_relevance_judgements(paths.qrels):
        grades[judgement.question_id][judgement.document_id] = judgement.grade
    judged = [question for question in questions if question.id in grades]
    runner = VariantRunner(list(corpus.passages()), judged)
    scores: dict[str, list[QuestionScore]] = {
        name: [
            score_question(ranked, grades[question.id])
            for question, ranked in zip(judged, runner.run(variant), strict=True)
        ]
        for name, variant in VARIANTS.items()
    }
    gains = {
        name: np.array([value for row in rows if (value := row.metrics["ndcg@10"]) is not None])
        for name, rows in scores.items()
    }
    print("| variant | nDCG@10 | against the default | recall@32 | MRR@10 | judged@10 |\n|---|---|---|---|---|---|")
    for name, rows in scores.items():
        means = mean_scores(rows, seed=0)
        ndcg = means["ndcg@10"]
        change = paired_bootstrap_difference(gains["default"], gains[name], seed=0)
        others = " | ".join(f"{means[metric].value:.3f}" for metric in ("recall@32", "mrr@10", "judged@10"))
        print(
            f"| {name} | {ndcg.value:.3f} [{ndcg.low:.3f}, {ndcg.high:.3f}] "
            f"| {change.difference:+.3f} [{change.low:+.3f}, {change.high:+.3f}] | {others} |"
        )
    chosen, transferred, default_score = choice_on_halves(
        {name: row for name, row in gains.items() if "reference" not in name}
    )
    print(
        f"\nThe best variant of a random half scores {chosen:.3f} there and {transferred:.3f} on the other half, "
        f"where the default scores {default_score:.3f}."
    )


if __name__ == "__main__":
    main()
