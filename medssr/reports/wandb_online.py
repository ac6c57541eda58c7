"""Runs of a project of W&B that hold results, as folders like those on disk."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from medssr.errors import InputError, first_line
from medssr.evaluation.results_io import RESULTS_FILE

_WANTED = re.compile(rf"{re.escape(RESULTS_FILE)}|metrics-[^/]+\.csv")
_TIMEOUT_S = 30


def download_runs(project: str, study: str | None, folder: Path) -> list[Path]:
    """Returns a folder for each run of a project that holds results, as `medssr.reports.step_runs` logged them.

    Args:
        project: ENTITY/PROJECT.
        study: The group of the runs; None for all.
        folder: Where to write them, each by its id.

    Raises:
        InputError: When W&B cannot be reached or read, or has no such run.
    """
    import wandb

    found = []
    try:
        runs: Any = wandb.Api(timeout=_TIMEOUT_S).runs(project, filters=None if study is None else {"group": study})
        for run in runs:
            files = [file for file in run.files() if _WANTED.fullmatch(file.name)]
            if any(file.name == RESULTS_FILE for file in files):
                for file in files:
                    file.download(root=str(folder / run.id), replace=True)
                found.append(folder / run.id)
    except (wandb.Error, ValueError, OSError) as error:
        raise InputError(
            f"wandb: {project} cannot be read ({first_line(error)}); see `wandb login`, or compare folders on disk."
        ) from error
    if not found:
        of_study = "" if study is None else f" of the study {study!r}"
        raise InputError(f"wandb: no run{of_study} in {project} holds {RESULTS_FILE}.")
    return found
