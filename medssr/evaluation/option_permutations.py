"""Asks questions with their options in several orders, and scores how much the order matters: pure functions."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from medssr.engines.sampled_answers import SampledAnswer
from medssr.evaluation.estimates import Rate
from medssr.labeling.votes import majority_vote
from medssr.questions import Question
from medssr.questions.option_order import refers_to_order, reorder_options
from medssr.utils.seeding import derive_seed


@dataclass(frozen=True, slots=True)
class OrderScore:
    """The effect of the order of the options.

    Attributes:
        num_orders: The number of orders in which each question was asked; the first is the released one.
        num_fixed: Questions whose options or stem refer to options by letter or position ("all of the above"), which
            are asked in the released order each time.
        accuracy_by_order: The accuracy in each order, over all questions.
        consistent: Questions with the same majority answer in every order, of those that are not fixed; a question
            without one in some order is not consistent.
    """

    num_orders: int
    num_fixed: int
    accuracy_by_order: list[float]
    consistent: Rate


def option_orders(question: Question, num_orders: int, seed: int) -> list[str]:
    """Returns the letters of the options in the orders in which a question is asked, the released order first.

    Orders differ as long as there are further ones; then they repeat. A question whose options or stem refer to options
    by letter or position keeps the released order.

    Example:
        >>> question = Question("1", "Which organ?", {"A": "liver", "B": "heart"}, "A", "toy")
        >>> option_orders(question, 3, seed=0)
        ['AB', 'BA', 'AB']
    """
    letters = list(question.options)
    orders = ["".join(letters)]
    if refers_to_order(question):
        return orders * num_orders
    generator = random.Random(derive_seed(seed, "option order", question.id))
    while len(orders) < min(num_orders, math.factorial(len(letters))):
        generator.shuffle(letters)
        order = "".join(letters)
        if order not in orders:
            orders.append(order)
    return [orders[number % len(orders)] for number in range(num_orders)]


def permuted_questions(question: Question, orders: Sequence[str]) -> list[Question]:
    """Returns the question in each order; all but the first have an id of their own, from which seeds derive."""
    return [
        replace(reorder_options(question, order), id=f"{question.id}#{number}" if number else question.id)
        for number, order in enumerate(orders)
    ]


def released_letters(answer: SampledAnswer, question: Question, order: str) -> SampledAnswer:
    """Returns an answer to a reordered question in the letters of the released one."""
    letter_of = dict(zip(question.options, order, strict=True))
    logps = answer.letter_logps
    return replace(
        answer,
        letter=None if answer.letter is None else letter_of[answer.letter],
        recovered=None if answer.recovered is None else letter_of[answer.recovered],
        letter_logps=None if logps is None else {letter_of[letter]: value for letter, value in logps.items()},
    )


def order_score(
    questions: Sequence[Question], answers: Sequence[Sequence[SampledAnswer]], num_orders: int
) -> OrderScore:
    """Returns the effect of the order of the options.

    Args:
        questions: The questions as released.
        answers: For each question its samples in released letters: all of the first order, then all of the next ...
        num_orders: The number of orders.
    """
    num_samples = len(answers[0]) // num_orders
    num_right = [0] * num_orders
    num_free, num_consistent = 0, 0
    for question, row in zip(questions, answers, strict=True):
        labels = []
        for number in range(num_orders):
            letters = [item.letter for item in row[number * num_samples : (number + 1) * num_samples]]
            num_right[number] += sum(letter == question.answer for letter in letters)
            labels.append(majority_vote(letters).label)
        if not refers_to_order(question):
            num_free += 1
            num_consistent += labels[0] is not None and len(set(labels)) == 1
    total = len(questions) * num_samples
    return OrderScore(
        num_orders=num_orders,
        num_fixed=len(questions) - num_free,
        accuracy_by_order=[round(count / total, 6) for count in num_right],
        consistent=Rate(round(num_consistent / num_free, 6) if num_free else 0.0, num_consistent, num_free),
    )
