"""What each model of a run answers to the same question: before training and after each stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from medssr.evaluation.results_io import read_texts
from medssr.questions import Question
from medssr.reports.examples import Candidate, ShownAnswer, choose_examples, match_answers, typical_answer
from medssr.reports.paired_answers import Answers, UnpairedError, check_questions, evaluation_folder, read_answers
from medssr.reports.runs import Run


@dataclass(frozen=True, slots=True)
class Trajectory:
    """A question with the answers of a run's models in order of training.

    Attributes:
        benchmark: The benchmark that has the question.
        question: The question.
        is_won: Whether the last model has it right more often than the first, or less often.
        answers: A sample of each model, by the model's name.
    """

    benchmark: str
    question: Question
    is_won: bool
    answers: dict[str, ShownAnswer]


def trajectories(run: Run, num_examples: int) -> list[Trajectory]:
    """Returns questions that the training of a run won and lost, those with the largest change first.

    Args:
        run: The run; one whose answers are not on disk, or that has one model, has no trajectories.
        num_examples: The number of questions won, and of those lost.

    Raises:
        InputError: When a file of answers is broken.
    """
    names = [model.name for model in run.record.models]
    if len(names) < 2:
        return []
    candidates: list[Candidate] = []
    answers: dict[tuple[str, str], Answers] = {}
    for benchmark in run.record.models[0].benchmarks:
        try:
            folders = {name: evaluation_folder(run, name) for name in names}
            read = {name: read_answers(folder, benchmark) for name, folder in folders.items()}
            for name in names[1:]:
                check_questions(read[names[0]].questions, read[name].questions)
        except UnpairedError:  # there is nothing to show side by side; the scores are in the run's results
            continue
        answers |= {(benchmark, name): each for name, each in read.items()}
        candidates += match_answers(benchmark, read[names[0]], read[names[-1]])
    chosen = choose_examples(candidates, num_examples)
    shown = {name: _samples(run, name, chosen, answers) for name in names}
    return [
        Trajectory(each.benchmark, each.question, each.gain > 0, {name: shown[name][number] for name in names})
        for number, each in enumerate(chosen)
    ]


def _samples(
    run: Run, model: str, chosen: Sequence[Candidate], answers: dict[tuple[str, str], Answers]
) -> list[ShownAnswer]:
    """Returns a sample of a model for each of the questions."""
    indices: dict[str, dict[str, int]] = {
        benchmark: {prediction.question_id: index for index, prediction in enumerate(each.predictions)}
        for (benchmark, name), each in answers.items()
        if name == model
    }
    texts: dict[str, dict[int, list[str]]] = {}
    folder = evaluation_folder(run, model) if chosen else None
    for benchmark in dict.fromkeys(each.benchmark for each in chosen):
        assert folder is not None
        wanted = {indices[benchmark][each.question.id] for each in chosen if each.benchmark == benchmark}
        texts[benchmark] = read_texts(folder, benchmark, wanted)
    samples = []
    for each in chosen:
        index = indices[each.benchmark][each.question.id]
        prediction = answers[each.benchmark, model].predictions[index]
        samples.append(typical_answer(each.question, prediction, texts[each.benchmark][index]))
    return samples
