"""The sweepers of medssr, where Hydra looks for plugins; `conf/hydra/sweeper/` has their settings."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class ResumableSweeper(BasicSweeper):
    """All combinations of the values, as Hydra's own sweeper, for jobs that go on where they were interrupted.

    Args:
        max_batch_size: Jobs that are handed to the launcher at a time; None for all.
        params: Overrides of every job, by key; several values are swept over.
        variants: Sets of overrides by name; every combination runs once with each of them. None for no variants.
    """

    def __init__(
        self,
        max_batch_size: int | None,
        params: dict[str, str] | None,
        variants: Mapping[str, Sequence[str]] | None,
    ) -> None:
        super().__init__(max_batch_size, params)
        self._variants = variants

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keeps what jobs are made from."""
        from medssr.sweeps.composing import composing_once

        super().setup(hydra_context=composing_once(hydra_context), task_function=task_function, config=config)

    def batch(self, arguments: list[str]) -> list[list[str]]:
        """Returns the overrides of each job of a sweep over the values of a command line."""
        from medssr.sweeps.running import combinations

        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        return combinations(parser, self._parse_config(), self._variants, arguments)

    def configurations(self, arguments: list[str]) -> list[tuple[list[str], DictConfig]]:
        """Returns the overrides of each job with its configuration; runs and writes nothing."""
        assert self.config is not None
        assert self.hydra_context is not None
        loader = self.hydra_context.config_loader
        return [(job, loader.load_sweep_config(self.config, job)) for job in self.batch(arguments)]

    def sweep(self, arguments: list[str]) -> None:
        """Runs what is not finished; the process ends with code 3 where a job is not done after that."""
        from medssr.sweeps.running import plan_jobs, run_jobs
        from medssr.sweeps.summary import summarised

        assert self.config is not None
        assert self.hydra_context is not None
        assert self.launcher is not None
        jobs = plan_jobs(self.config, self.hydra_context, self.batch(arguments))
        size = self.max_batch_size or len(jobs)
        with summarised(Path(self.config.hydra.sweep.dir), jobs):
            for first in range(0, len(jobs), size):
                run_jobs(self.launcher, jobs[first : first + size])


class SearchSweeper(Sweeper):
    """Trials that Optuna draws, each a job that goes on where it was interrupted.

    Args:
        storage: Where trials are kept, an address of SQLAlchemy.
        direction: "maximize" or "minimize" what the command returns.
        num_trials: Trials to finish.
        num_parallel: Trials drawn at a time.
        seed: Of the draws.
        params: What is searched, and overrides of every trial, by key; the command line's come after them.
    """

    def __init__(
        self,
        storage: str,
        direction: Literal["minimize", "maximize"],
        num_trials: int,
        num_parallel: int,
        seed: int,
        params: Mapping[str, str] | None,
    ) -> None:
        self._storage, self._direction, self._seed = storage, direction, seed
        self._num_trials, self._num_parallel = num_trials, num_parallel
        self._params = params or {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keeps what jobs are made from."""
        from medssr.sweeps.composing import composing_once

        self._config, self._context = config, composing_once(hydra_context)
        self._launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=self._context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Runs what is lacking of the trials; the process ends with code 3 where a job is not done after that."""
        from medssr.sweeps.jobs import Job
        from medssr.sweeps.running import plan_jobs, run_jobs
        from medssr.sweeps.search import open_study, run_trials, search_space
        from medssr.sweeps.summary import job_value, log_best, summarised

        parser = OverridesParser.create(config_loader=self._context.config_loader)
        given = [f"{key}={value}" for key, value in self._params.items()]
        jobs: list[Job] = []

        def run(trials: list[list[str]]) -> list[float | None]:
            planned = plan_jobs(self._config, self._context, [[*fixed, *trial] for trial in trials])
            jobs.extend(planned)
            run_jobs(self._launcher, planned)
            values = {job.overrides: job_value(job) for job in planned}
            return [values[*fixed, *trial] for trial in trials]

        with summarised(Path(self._config.hydra.sweep.dir), jobs):
            space, fixed = search_space(parser.parse_overrides([*given, *arguments]))
            # What is searched names the study: another space, or another model, is another search in the same file.
            name = hashlib.sha256(repr((sorted(space.items()), sorted(fixed))).encode()).hexdigest()[:8]
            study = open_study(self._storage, name, self._direction)
            run_trials(study, space, self._num_trials, self._num_parallel, self._seed, run)
            log_best(study)
