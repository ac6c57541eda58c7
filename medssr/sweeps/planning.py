"""The jobs that a sweep would run, composed without running or writing anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from medssr.config.catalog import CONF_DIR
from medssr.errors import InputError
from medssr.sweeps.jobs import Job, JobState
from medssr.sweeps.running import configured_job


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """A job of a sweep before it runs.

    Attributes:
        job: Its name, folder and record.
        problem: Why it is refused.
    """

    job: Job
    problem: str | None

    @property
    def state(self) -> str:
        """How far it is: "done", "refused", or a state of its record; "done" only if it would not run again."""
        if self.problem is not None:
            return "refused"
        is_again = self.job.state is JobState.done and not self.job.is_finished
        return "done before, runs again" if is_again else self.job.state.value


@runtime_checkable
class PlannedSweeper(Protocol):
    """A sweeper that knows all its jobs before it starts one; Hydra loads the class under a module of its own."""

    def configurations(self, arguments: list[str]) -> list[tuple[list[str], Any]]:
        """Returns the overrides of each job with its configuration."""
        ...


def planned_jobs(name: str, overrides: Sequence[str], config_dir: str | None = None) -> list[PlannedJob]:
    """Returns the jobs that a sweep over these overrides would have.

    Args:
        name: The root configuration, whose schema is registered.
        overrides: What the command line sets.
        config_dir: A further folder of options.

    Raises:
        InputError: When the sweep draws its jobs one after the other, so that they are not known before.
        Exception: Hydra's, where a job cannot be composed.
    """
    from hydra._internal.callbacks import Callbacks
    from hydra._internal.hydra import Hydra
    from hydra._internal.utils import create_config_search_path
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.plugins import Plugins
    from hydra.types import HydraContext, RunMode

    searched = [] if config_dir is None else [f"hydra.searchpath=[file://{Path(config_dir).resolve()}]"]
    try:
        hydra = Hydra.create_main_hydra2(name, create_config_search_path(str(CONF_DIR)))
        given = [*overrides, *searched]
        config = hydra.compose_config(name, given, run_mode=RunMode.MULTIRUN, with_log_configuration=False)
        context = HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks())
        sweeper = Plugins.instance().instantiate_sweeper(
            hydra_context=context, task_function=lambda _: None, config=config
        )
        if not isinstance(sweeper, PlannedSweeper):
            raise InputError(
                "--info: a search draws its jobs one after the other, so they are not known before; "
                "leave -m out for the plan of one job."
            )
        items = sweeper.configurations(list(config.hydra.overrides.task))
        return [PlannedJob(*configured_job(tuple(overrides), item)) for overrides, item in items]
    finally:
        GlobalHydra.instance().clear()
