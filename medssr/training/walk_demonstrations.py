"""Demonstrations of walks in a knowledge graph, labelled by the graph on the states that a policy visits itself."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from medssr.engines.sampled_answers import read_answers
from medssr.errors import InputError
from medssr.knowledge.graph.walks import WalkStep, WalkTask, correct_rests, read_walk
from medssr.questions import Question, read_labelled_questions
from medssr.training.demonstrations import Demonstration
from medssr.utils.seeding import derive_seed


class WalkDemonstrations:
    """For each state that sampled walks visit, one of the correct ways to go on from there, drawn by the seed.

    The states are the start of each walk and what its steps lead to, until one that the graph does not have; a state
    counts once for a question. The steps until the state are given and not trained. Of a state that the answer cannot
    be reached from any more, the demonstration is the step back alone.

    Args:
        path: The file of the questions, whose provenance has a walk.
        walks_path: The folder of the sampled walks.
    """

    def __init__(self, path: Path | str, walks_path: Path | str) -> None:
        self.source = str(path)
        self._walks_path = Path(walks_path)

    def draw(self, seed: int) -> list[Demonstration]:
        """Returns them question by question.

        Raises:
            InputError: When a question is no walk, or no state has a correct way to go on.
        """
        questions = {question.id: question for question in read_labelled_questions(self.source)}
        demonstrations: list[Demonstration] = []
        for question_id, answers in read_answers(self._walks_path):
            question = questions[question_id]
            task = walk_task(question, self.source)
            rng = random.Random(derive_seed(seed, "walks", question_id))
            states = visited_states(task, [answer.text for answer in answers])
            demonstrations += _demonstrations(question, task, states, rng)
        if not demonstrations:
            raise InputError.at(self.source, "no state of a walk has a correct way to go on; take other questions.")
        return demonstrations


def walk_task(question: Question, source: str) -> WalkTask:
    """Returns the walk that a question asks for.

    Raises:
        InputError: When it asks for none.
    """
    try:
        return WalkTask.from_record(question.provenance.get("walk", {}))
    except ValueError as error:
        raise InputError.at(source, f'question "{question.id}": {error}', field="provenance") from error


def visited_states(task: WalkTask, texts: list[str]) -> list[tuple[WalkStep, ...]]:
    """Returns the states that walks visit, each once, in the order in which they are first visited."""
    states: dict[tuple[WalkStep, ...], None] = {(): None}
    for text in texts:
        steps = read_walk(text, task).steps
        states |= dict.fromkeys(steps[:number] for number in range(1, len(steps) + 1))
    return list(states)


def _demonstrations(
    question: Question, task: WalkTask, states: list[tuple[WalkStep, ...]], rng: random.Random
) -> Iterator[Demonstration]:
    for state in states:
        rests = correct_rests(task, state)
        if not rests:
            continue
        rest = rng.choice(rests)
        ends = (rest or state)[-1].name == task.tail
        lines = [step.line for step in rest] + ([f"The answer is {question.answer}."] if ends else [])
        # Before a further step, a line ends as the lines before it do.
        completion = "\n".join(lines) if ends else f"{lines[0]}\n"
        prefix = "".join(f"{step.line}\n" for step in state)
        yield Demonstration(question, completion, prefix, is_open=not ends)
