"""A policy's own answers that agree with its majority as demonstrations: rejection sampling without true labels."""

from __future__ import annotations

import random
from pathlib import Path

from medssr.engines.sampled_answers import read_answers
from medssr.errors import InputError
from medssr.questions import read_labelled_questions
from medssr.training.demonstrations import Demonstration
from medssr.utils.seeding import derive_seed


class MajorityAnswers:
    """The answers of a vote that gave the label, of each question that got one.

    RFT (arXiv 2308.01825) and STaR (arXiv 2203.14465) keep the answers that reach the true one; here the majority
    stands for it. Equal answers count once, and truncated ones not at all.

    Args:
        path: The folder that medssr-pseudo-label made.
        max_per_question: The most answers of a question, drawn by the seed; None for all.

    Raises:
        InputError: When the number is below 1.
    """

    def __init__(self, path: Path | str, max_per_question: int | None) -> None:
        if max_per_question is not None and max_per_question < 1:
            raise InputError(f"demonstrations.max_per_question: {max_per_question}; at least 1, or null for all.")
        self.source = str(path)
        self._max_per_question = max_per_question

    def draw(self, seed: int) -> list[Demonstration]:
        """Returns the answers, question by question in the order of the votes.

        Raises:
            InputError: When the folder has no votes, or they are not as they were written.
        """
        folder = Path(self.source)
        labelled = {question.id: question for question in read_labelled_questions(folder / "questions.jsonl")}
        demonstrations = []
        for question_id, answers in read_answers(folder / "answers"):
            question = labelled.get(question_id)
            if question is None:
                continue
            agreeing = [each.text for each in answers if each.letter == question.answer and not each.is_truncated]
            texts = list(dict.fromkeys(agreeing))
            limit = self._max_per_question
            if limit is not None and len(texts) > limit:
                texts = random.Random(derive_seed(seed, "majority_answers", question_id)).sample(texts, limit)
            demonstrations += [Demonstration(question, text) for text in texts]
        if not demonstrations:
            raise InputError.at(folder, "no answer gave the label of its question, so that there is none to imitate.")
        return demonstrations
