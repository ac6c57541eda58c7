"""A resumable search over settings: Optuna draws trials, and each is a job of a sweep."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from medssr.errors import InputError, first_line
from medssr.utils.disk_faults import disk_fault
from medssr.utils.seeding import derive_seed

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from optuna import Study
    from optuna.distributions import BaseDistribution

log = logging.getLogger(__name__)

Direction = Literal["minimize", "maximize"]
Space = Mapping[str, "BaseDistribution"]


def search_space(overrides: Sequence[Override]) -> tuple[dict[str, BaseDistribution], list[str]]:
    """Returns what is searched, by key, and the overrides that are the same in every trial; the last of a key counts.

    Raises:
        InputError: When nothing is searched.
    """
    space: dict[str, BaseDistribution] = {}
    fixed: dict[str, str] = {}
    for override in overrides:
        key = override.get_key_element()
        space.pop(key, None)
        fixed.pop(key, None)
        if override.is_sweep_override():
            space[key] = _distribution(override)
        else:
            fixed[key] = f"{key}={override.get_value_element_as_str()}"
    if not space:
        raise InputError("hydra.sweeper.params: nothing is searched; give interval(a, b), range(a, b) or choice(a, b).")
    return space, list(fixed.values())


def _distribution(override: Override) -> BaseDistribution:
    from hydra.core.override_parser.types import IntervalSweep, RangeSweep, Transformer
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    sweep: Any = override.value()
    if isinstance(sweep, IntervalSweep):
        assert sweep.start is not None
        assert sweep.end is not None
        return FloatDistribution(sweep.start, sweep.end, log="log" in sweep.tags)
    if isinstance(sweep, RangeSweep) and all(isinstance(value, int) for value in (sweep.start, sweep.stop, sweep.step)):
        values: Any = range(sweep.start, sweep.stop, sweep.step)  # type: ignore[arg-type]
        return IntDistribution(values[0], values[-1], step=values.step)
    # As they would stand on a command line.
    return CategoricalDistribution([str(value) for value in override.sweep_iterator(transformer=Transformer.encode)])


def open_study(storage: str, name: str, direction: Direction) -> Study:
    """Returns the study of a name with the trials that it has; makes it where there is none.

    Raises:
        InputError: When its storage is damaged or cannot be reached.
    """
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if storage.startswith("sqlite:///"):
        database = Path(storage.removeprefix("sqlite:///"))
        database.parent.mkdir(parents=True, exist_ok=True)
        database.touch()  # with the permissions that the umask leaves; SQLite would give fewer
    try:
        return optuna.create_study(storage=storage, study_name=name, direction=direction, load_if_exists=True)
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        if disk_fault(error) is not None:
            raise
        problem = f"{storage} cannot be used ({first_line(error)}); move it away, and the search starts afresh."
        raise InputError.at("hydra.sweeper.storage", problem) from error


def run_trials(
    study: Study,
    space: Space,
    num_trials: int,
    num_parallel: int,
    seed: int,
    run: Callable[[list[list[str]]], list[float | None]],
) -> None:
    """Draws and runs trials until `num_trials` are complete, or as many as were missing have been tried.

    Trials that an earlier start left open come first, with the settings that they had; those that failed are tried
    again. A trial's draw depends on the seed, its number and the trials before it.

    Args:
        study: Keeps the trials.
        space: What is searched, by key.
        num_trials: Complete trials in the end.
        num_parallel: Trials that are drawn, and handed to `run`, at a time.
        seed: Of the draws.
        run: Takes the overrides of each trial and returns their values, None for a trial that failed.
    """
    from optuna.trial import TrialState

    by_state = {state: [trial for trial in study.trials if trial.state is state] for state in TrialState}
    opened = [(trial.number, trial.params) for trial in by_state[TrialState.RUNNING]]
    tried = [trial.params for trial in study.trials if trial.state is not TrialState.FAIL]
    for trial in by_state[TrialState.FAIL]:
        if trial.params not in tried:
            study.enqueue_trial(trial.params)
            tried.append(trial.params)
    left = num_trials - len(by_state[TrialState.COMPLETE])
    while left > 0:
        batch = []
        for _ in range(min(num_parallel, left)):
            batch.append(opened.pop(0) if opened else _drawn(study, space, seed))
        values = run([[f"{key}={value}" for key, value in params.items()] for _, params in batch])
        for (number, _), value in zip(batch, values, strict=True):
            if value is None:
                study.tell(number, state=TrialState.FAIL)
            else:
                study.tell(number, value)
        left -= len(batch)


def _drawn(study: Study, space: Space, seed: int) -> tuple[int, dict[str, Any]]:
    from optuna.samplers import TPESampler

    study.sampler = TPESampler(seed=derive_seed(seed, "trial", len(study.trials)) % 2**32)
    trial = study.ask(fixed_distributions=dict(space))
    return trial.number, trial.params
