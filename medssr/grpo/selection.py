"""Selection of the questions of a step that are trained, by what became of them and of others whenever they were asked.

The configuration names a selection by `grpo.selection._target_`. It sees the questions of all processes together, so
that each process comes to the same result, and the history of all questions (`rewards/history.py`), which is in the
checkpoint. Importing this module does not import torch, so that a selection is checked when the configuration is
composed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medssr.errors import InputError, require
from medssr.rewards.history import QuestionHistory, Visit
from medssr.utils.seeding import derive_seed

# As in the published code of TraPO.
_EPSILON = 1e-8


@dataclass(frozen=True, slots=True)
class Candidate:
    """A question of a step, once its completions have their rewards.

    Attributes:
        question_id: Its id.
        visit: Its answers in this step.
        reward_std: The deviation of the rewards of its scored completions, of all and not of a sample; 0 without any.
    """

    question_id: str
    visit: Visit
    reward_std: float


class QuestionSelection:
    """Keeps all questions; sub-classes leave some out.

    Attributes:
        has_rests: Whether questions may rest: another one is asked in their place.
    """

    has_rests = False

    def rests(self, question_id: str, history: QuestionHistory) -> bool:
        """Returns whether a question that is due is not asked.

        Args:
            question_id: Its id.
            history: The earlier visits of all questions.
        """
        return False

    def select(self, step: int, candidates: Sequence[Candidate], history: QuestionHistory) -> list[bool]:
        """Returns for each question of a step whether it is trained.

        Args:
            step: The index of the step.
            candidates: The questions of all processes, in an order that does not depend on the number of processes.
            history: The earlier visits of all questions.
        """
        return [True] * len(candidates)

    def record(self, candidates: Sequence[Candidate], rested: Sequence[str]) -> None:
        """Is told of a step once it is trained, in every process; until then, the step may be begun anew.

        Args:
            candidates: Its questions, as `select` saw them.
            rested: The ids of the questions in whose place others were asked.
        """

    def state_dict(self) -> dict[str, Any]:
        """Returns what a checkpoint keeps."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up the state of a checkpoint."""


class TrajectoryForm(Enum):
    """What a trajectory of pass rates is compared with.

    mean: With the mean of all references, by the cosine (the paper of TraPO).
    each: With each reference, by the correlation, and averaged (its published code).
    """

    mean = "mean"
    each = "each"


class TrajectorySelection(QuestionSelection):
    """Trains questions without labels whose pass rates went the way of those with labels (TraPO, arXiv 2512.13106).

    The trajectory of a question is its pass rate at each visit, that of a question without a label by its majority; a
    visit without a majority counts as 0. References are the questions with labels, and those without that were trained
    when they were asked last. All are cut to the length of the shortest. Of the questions of a step without labels,
    those are trained that are in the top share by similarity, at least one, or reach the threshold. In the first visits
    of a question it is only tracked.

    Args:
        form: See `TrajectoryForm`.
        num_warmup_visits: The number of visits in which questions without labels are not trained.
        top_share: The fraction of a step's questions without labels that are trained whatever their similarity.
        threshold: The similarity from which on a question is trained; None for no such bound.
        adds_selected: Whether questions without labels that are trained become references.
        is_random: Whether as many are drawn at random in their place: the control at equal budget.
        seed: Of the draw, and of the order of equal similarities.

    Raises:
        InputError: When a number is out of range.
    """

    def __init__(
        self,
        form: str,
        num_warmup_visits: int,
        top_share: float,
        threshold: float | None,
        adds_selected: bool,
        is_random: bool,
        seed: int,
    ) -> None:
        forms = [each.value for each in TrajectoryForm]
        require(form in forms, "TrajectorySelection.form", f"{form}; expected {' or '.join(forms)}.")
        is_count = isinstance(num_warmup_visits, int) and num_warmup_visits >= 0
        require(is_count, "TrajectorySelection.num_warmup_visits", f"{num_warmup_visits}; 0 or more.")
        require(0 <= top_share <= 1, "TrajectorySelection.top_share", f"{top_share}; 0 to 1.")
        is_similarity = threshold is None or -1 <= threshold <= 1
        require(is_similarity, "TrajectorySelection.threshold", f"{threshold}; -1 to 1, or null.")
        self._form = TrajectoryForm(form)
        self._num_warmup_visits = num_warmup_visits
        self._top_share, self._threshold = top_share, threshold
        self._adds_selected, self._is_random, self._seed = adds_selected, is_random, seed

    def select(self, step: int, candidates: Sequence[Candidate], history: QuestionHistory) -> list[bool]:
        """Returns True for questions with labels, and for those without that are like them."""
        trajectories = [pass_rates([*history[candidate.question_id], candidate.visit]) for candidate in candidates]
        pool = [
            index
            for index, candidate in enumerate(candidates)
            if not candidate.visit.is_labelled and len(trajectories[index]) > self._num_warmup_visits
        ]
        selected = {index for index, candidate in enumerate(candidates) if candidate.visit.is_labelled}
        if len(selected) < len(candidates):  # asked for also before the warm-up is over, so that a fault shows at once
            references = self._references(candidates, trajectories, history)
        if pool:
            scores = trajectory_similarities([trajectories[index] for index in pool], references, self._form)
            order = [derive_seed(self._seed, "selection", step, candidates[index].question_id) for index in pool]
            chosen = chosen_indices(scores, self._top_share, self._threshold, order)
            if self._is_random:
                chosen = sorted(range(len(pool)), key=order.__getitem__)[: len(chosen)]
            selected |= {pool[index] for index in chosen}
        return [index in selected for index in range(len(candidates))]

    def _references(
        self, candidates: Sequence[Candidate], trajectories: Sequence[list[float]], history: QuestionHistory
    ) -> list[list[float]]:
        """Returns the trajectories that those of the step are compared with."""
        asked = {candidate.question_id for candidate in candidates}
        references = [
            rates for candidate, rates in zip(candidates, trajectories, strict=True) if candidate.visit.is_labelled
        ]
        for question_id, visits in history.items():
            is_reliable = visits[-1].is_labelled or (self._adds_selected and visits[-1].is_trained)
            if is_reliable and question_id not in asked:
                references.append(pass_rates(visits))
        if not references:
            raise InputError(
                "grpo.selection: TrajectorySelection compares questions with those that have labels, and there are "
                "none; take experiment=trapo, with labelled questions in data.path and others in data.further."
            )
        return references


class SpreadFilter(QuestionSelection):
    """Leaves out questions whose rewards differ little, against a moving average of all (RLPR, arXiv 2506.18254).

    m = decay m + (1 - decay) mean(s) at each step, where s is the deviation of the rewards of a question; the first
    mean is the first m. A question is trained if s >= factor m.

    Args:
        factor: The fraction of the average that a deviation has to reach, 0 or more.
        decay: The part of the average that a step keeps, 0 to 1.
        first_step: The index of the first step that leaves questions out; earlier ones only add to the average.

    Raises:
        InputError: When a number is out of range.
    """

    def __init__(self, factor: float, decay: float, first_step: int) -> None:
        require(factor >= 0, "SpreadFilter.factor", f"{factor}; 0 or more.")
        require(0 <= decay <= 1, "SpreadFilter.decay", f"{decay}; 0 to 1.")
        is_index = isinstance(first_step, int) and first_step >= 0
        require(is_index, "SpreadFilter.first_step", f"{first_step}; 0 or more.")
        self._factor, self._decay, self._first_step = factor, decay, first_step
        self._average: float | None = None

    def select(self, step: int, candidates: Sequence[Candidate], history: QuestionHistory) -> list[bool]:
        """Returns True for questions whose rewards differ enough."""
        bound = self._factor * self._average_with(candidates) if step >= self._first_step else 0.0
        return [candidate.reward_std >= bound for candidate in candidates]

    def record(self, candidates: Sequence[Candidate], rested: Sequence[str]) -> None:
        """Adds the step to the average."""
        self._average = self._average_with(candidates)

    def _average_with(self, candidates: Sequence[Candidate]) -> float:
        mean = fmean(candidate.reward_std for candidate in candidates)
        before = mean if self._average is None else self._average
        return self._decay * before + (1 - self._decay) * mean

    def state_dict(self) -> dict[str, Any]:
        """Returns the average."""
        return {"average": self._average}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up the average of a checkpoint."""
        self._average = state["average"]


class PassRateBand(QuestionSelection):
    """Lets a question rest that was answered rightly too often or too seldom when it was asked last.

    The next times that it is due, another one is asked in its place; then it is asked again.

    Args:
        min_rate: The least pass rate of a question that does not rest.
        max_rate: The greatest.
        num_rests: How many times it is not asked, at least 1.

    Raises:
        InputError: When a number is out of range.
    """

    has_rests = True

    def __init__(self, min_rate: float, max_rate: float, num_rests: int) -> None:
        is_band = 0 <= min_rate <= max_rate <= 1
        problem = f"{min_rate} to {max_rate}; expected 0 <= min <= max <= 1."
        require(is_band, "PassRateBand.min_rate, PassRateBand.max_rate", problem)
        require(isinstance(num_rests, int) and num_rests >= 1, "PassRateBand.num_rests", f"{num_rests}; at least 1.")
        self._min_rate, self._max_rate, self._num_rests = min_rate, max_rate, num_rests
        self._rested: dict[str, int] = {}

    def rests(self, question_id: str, history: QuestionHistory) -> bool:
        """Returns True for a question outside the band that has not rested often enough since."""
        visits = history[question_id]
        if not visits or self._rested.get(question_id, 0) >= self._num_rests:
            return False
        (rate,) = pass_rates(visits[-1:])
        return not self._min_rate <= rate <= self._max_rate

    def record(self, candidates: Sequence[Candidate], rested: Sequence[str]) -> None:
        """Counts the rests of questions, which begin anew for those that were asked."""
        for candidate in candidates:
            self._rested.pop(candidate.question_id, None)
        for question_id in rested:
            self._rested[question_id] = self._rested.get(question_id, 0) + 1

    def state_dict(self) -> dict[str, Any]:
        """Returns how often questions have rested since they were asked last."""
        return {"rested": dict(sorted(self._rested.items()))}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up the rests of a checkpoint."""
        self._rested = dict(state["rested"])


def pass_rates(visits: Sequence[Visit]) -> list[float]:
    """Returns the pass rate at each visit, 0 where no label was found.

    Example:
        >>> pass_rates([Visit(0, {"a": 2, "b": 2}, 4, None, None), Visit(1, {"a": 3}, 4, "a", 0.75)])
        [0.0, 0.75]
    """
    return [visit.pass_rate or 0.0 for visit in visits]


def trajectory_similarities(
    queries: Sequence[Sequence[float]], references: Sequence[Sequence[float]], form: TrajectoryForm
) -> list[float]:
    """Returns the similarity of each trajectory to the references, -1 to 1.

    mean: cos(T, mean_r T_r). each: the mean over r of the correlation of T and T_r, by trajectories less their mean
    and divided by their unbiased deviation. A trajectory without length, or which does not move, has similarity 0.

    Args:
        queries: The trajectories that are judged, at least one visit each; all are cut to the shortest of all.
        references: The trajectories that they are compared with.
        form: Which of the two.

    Example:
        >>> both = [[0.0, 0.5, 1.0], [0.5, 0.5]], [[0.0, 1.0], [0.5, 0.5]]
        >>> [round(value, 3) for value in trajectory_similarities(*both, TrajectoryForm.mean)]  # mean: 1/4, 3/4
        [0.949, 0.894]
        >>> [round(value, 3) for value in trajectory_similarities(*both, TrajectoryForm.each)]
        [0.5, 0.0]
    """
    length = min(map(len, [*queries, *references]))
    rows, others = (np.array([row[:length] for row in table]) for table in (queries, references))
    if form is TrajectoryForm.mean:
        similarities = _unit(rows) @ _unit(others.mean(axis=0, keepdims=True)).T
    else:
        similarities = (_unit(_standardised(rows)) @ _unit(_standardised(others)).T).mean(axis=1, keepdims=True)
    return [float(value) for value in similarities[:, 0]]


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the rows divided by their lengths; zeros stay zeros."""
    unit: NDArray[np.float64] = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), _EPSILON)
    return unit


def _standardised(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the rows less their means, divided by their unbiased deviations; zeros for a single column."""
    if rows.shape[1] < 2:
        return np.zeros_like(rows)
    deviations = rows.std(axis=1, ddof=1, keepdims=True)
    scaled: NDArray[np.float64] = (rows - rows.mean(axis=1, keepdims=True)) / (deviations + _EPSILON)
    return scaled


def chosen_indices(
    scores: Sequence[float], top_share: float, threshold: float | None, order: Sequence[int]
) -> list[int]:
    """Returns the sorted indices of the scores in the top share, at least one unless it is 0, or of the threshold on.

    Args:
        scores: The scores.
        top_share: The fraction of the scores, rounded down.
        threshold: The least score; None for no such bound.
        order: Which of equal scores comes first: the one with the smaller number.

    Example:
        >>> chosen_indices([0.9, 0.2, 0.6, 0.1], top_share=0.25, threshold=0.5, order=[0, 1, 2, 3])
        [0, 2]
    """
    number = max(1, int(top_share * len(scores))) if top_share > 0 else 0
    best = sorted(range(len(scores)), key=lambda index: (-scores[index], order[index]))[:number]
    above = [index for index, score in enumerate(scores) if threshold is not None and score >= threshold]
    return sorted({*best, *above})
