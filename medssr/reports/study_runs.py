"""The runs of a study, found below the folder of logs; and the folders of runs below any folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from medssr.artifacts import pointed_to
from medssr.errors import InputError
from medssr.evaluation.results_io import RESULTS_FILE
from medssr.reports.paired_runs import LeftOut
from medssr.reports.runs import Run, read_hydra_file, read_run
from medssr.reports.settings import name_runs
from medssr.utils.naming import job_name

# The commands that a study consists of, and why one has no results.
_UNFINISHED = "it has not finished; the same command goes on with it"
_WITHOUT_RESULTS = {"pipeline": _UNFINISHED, "evaluate": _UNFINISHED, "train": "it trains only; evaluate its model"}


def run_folders(places: Sequence[str]) -> list[Path]:
    """Returns the folders at or below some places that hold results.

    W&B's folder of a run holds a copy of them, which counts only where the run itself is not there.
    """
    found = dict.fromkeys(file.parent for place in places for file in sorted(Path(place).glob(f"**/{RESULTS_FILE}")))
    return [folder for folder in found if not _is_copy(folder)]


def read_runs(folders: Iterable[Path]) -> list[Run]:
    """Returns the runs of several folders, no two of one name.

    Raises:
        InputError: As `read_run`.
    """
    return name_runs(map(read_run, folders))


def find_runs(places: Sequence[str]) -> tuple[list[Run], list[LeftOut]]:
    """Returns the runs at or below some places, and what is there but is none that can be compared, with the reason.

    Raises:
        InputError: When there is no run; where one is broken, with its fault.
    """
    runs: list[Run] = []
    left_out: list[LeftOut] = []
    fault: InputError | None = None
    for place in places:
        folders = run_folders([place])
        if not folders:
            has_metrics = next(Path(place).glob("**/metrics.csv"), None) is not None
            reason = (
                "metrics of training, but no scores; evaluate its model" if has_metrics else "no run has ended there"
            )
            left_out.append(LeftOut(place, None, f"no {RESULTS_FILE} at or below it: {reason}"))
        for folder in folders:
            if any(folder == run.folder for run in runs):
                continue
            try:
                runs.append(read_run(folder))
            except InputError as error:
                fault = fault or error
                left_out.append(LeftOut(str(folder), None, str(error)))
    if not runs:
        if fault is not None:
            raise fault
        raise InputError(f"runs: no {RESULTS_FILE} at or below {list(places)}; give folders of finished runs.")
    return name_runs(runs), left_out


def find_study(study: str, log_dir: Path) -> tuple[list[Run], list[LeftOut]]:
    """Returns the runs of a study, oldest first, and the jobs of it that are no finished run, with the reason.

    Raises:
        InputError: When no job below the folder belongs to the study; the message names those that there are.
    """
    runs: list[Run] = []
    left_out: list[LeftOut] = []
    others: set[str] = set()
    jobs = sorted(log_dir.glob("**/.hydra/config.yaml"), key=lambda file: file.stat().st_mtime)
    for file in jobs:
        folder = file.parents[1]
        config = read_hydra_file(folder, "config")
        found = config.get("study") if isinstance(config, dict) else None
        if found is None or config["task_name"] not in _WITHOUT_RESULTS:
            continue
        if str(found) != study:
            others.add(str(found))
            continue
        overrides = read_hydra_file(folder, "overrides") or []
        name = f"{job_name(overrides)} ({folder})"
        try:
            run = _read_job(folder, str(config["task_name"]), overrides)
        except InputError as reason:
            left_out.append(LeftOut(name, None, str(reason)))
            continue
        same = [each for each in runs if _identity(each) == _identity(run)]
        for each in same:
            left_out.append(LeftOut(f"{job_name(overrides)} ({each.folder})", None, f"the same run again: {folder}"))
            runs.remove(each)
        runs.append(run)
    if not runs and not left_out:
        known = f"there are runs of {', '.join(sorted(others))}" if others else "no run there belongs to any study"
        raise InputError(f"study: no run of {study!r} below {log_dir}; {known}. Runs join a study by study={study}.")
    return name_runs(runs), left_out


def _read_job(folder: Path, task: str, overrides: list[str]) -> Run:
    """Returns the run of a job.

    Raises:
        InputError: When it has no results, or they are broken.
    """
    if (folder / RESULTS_FILE).is_file():
        return read_run(folder)
    made = pointed_to(folder)
    if task == "evaluate" and made is not None:
        run = read_run(made)
        return replace(run, record=replace(run.record, run=job_name(overrides), overrides=overrides))
    raise InputError(f"no results of medssr-{task}: {_WITHOUT_RESULTS[task]}.")


def _identity(run: Run) -> tuple[Any, ...]:
    return (sorted(run.record.overrides), sorted(run.record.artifacts.items()))


def _is_copy(folder: Path) -> bool:
    above = folder.parents
    return folder.name == "files" and above[1].name == "wandb" and (above[2] / RESULTS_FILE).is_file()
