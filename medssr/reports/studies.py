"""Finds runs: below folders, by the name of their study, or in a project of Weights & Biases."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from medssr.errors import InputError, first_line
from medssr.evaluation.results_io import RESULTS_FILE
from medssr.manifests import pointed_to
from medssr.reports.runs import LeftOut, Run, read_hydra_file, read_run
from medssr.reports.settings import name_runs
from medssr.tracking.wandb_limits import accepted_text
from medssr.utils.naming import job_name, safe_name

# The commands that a study consists of, and why a job of theirs has no results.
_UNFINISHED = "it has not finished; the same command goes on with it"
_WITHOUT_RESULTS = {"pipeline": _UNFINISHED, "evaluate": _UNFINISHED, "train": "it trains only; evaluate its model"}
_WANDB_FILES = re.compile(rf"{re.escape(RESULTS_FILE)}|metrics-[^/]+\.csv")
_WANDB_TIMEOUT_S = 30


def run_folders(folders: Sequence[str]) -> list[Path]:
    """Returns the folders at or below some folders that hold results, the jobs of a sweep by their numbers.

    W&B's folder of a run holds a copy of them, which counts only where the run itself is not there.
    """
    files = (file for folder in folders for file in sorted(Path(folder).glob(f"**/{RESULTS_FILE}")))
    job_folders = [folder for folder in dict.fromkeys(file.parent for file in files) if not _is_copy(folder)]
    by_parent: dict[Path, list[Path]] = {}
    for folder in job_folders:
        by_parent.setdefault(folder.parent, []).append(folder)
    return [folder for siblings in by_parent.values() for folder in in_job_order(siblings)]


def in_job_order(folders: Sequence[Path]) -> list[Path]:
    """Returns the folders of a sweep's jobs by the jobs' numbers, those without a number first and as they were."""
    return sorted(folders, key=_job_number)


def _job_number(folder: Path) -> int:
    settings = read_hydra_file(folder, "hydra")
    job = settings.get("hydra", {}).get("job", {}) if isinstance(settings, dict) else {}
    number = job.get("num") if isinstance(job, dict) else None
    return number if isinstance(number, int) else -1


def read_runs(folders: Iterable[Path]) -> list[Run]:
    """Returns the runs of several folders, each with a name of its own.

    Raises:
        InputError: As `read_run`.
    """
    return name_runs(map(read_run, folders))


def find_runs(paths: Sequence[str]) -> tuple[list[Run], list[LeftOut]]:
    """Returns the runs at or below some folders, and what cannot be compared there, with the reason.

    Raises:
        InputError: When there is no run; where one is broken, with its fault.
    """
    runs: list[Run] = []
    left_out: list[LeftOut] = []
    fault: InputError | None = None
    for path in paths:
        folders = run_folders([path])
        if not folders:
            has_metrics = next(Path(path).glob("**/metrics.csv"), None) is not None
            reason = (
                "metrics of training, but no scores; evaluate its model" if has_metrics else "no run has ended there"
            )
            left_out.append(LeftOut(path, None, f"no {RESULTS_FILE} at or below it: {reason}"))
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
        raise InputError(f"runs: no {RESULTS_FILE} at or below {list(paths)}; give folders of finished runs.")
    return name_runs(runs), left_out


def find_study(study: str, log_dir: Path) -> tuple[list[Run], list[LeftOut]]:
    """Returns the runs of a study, oldest first, and its jobs without a finished run, with the reasons.

    Raises:
        InputError: When no job below the folder belongs to the study; the message names the studies that exist.
    """
    runs: list[Run] = []
    left_out: list[LeftOut] = []
    others: set[str] = set()
    files = sorted(log_dir.glob("**/.hydra/config.yaml"), key=lambda file: file.stat().st_mtime)
    for folder in (file.parents[1] for file in files):
        config = read_hydra_file(folder, "config")
        study_of_job = config.get("study") if isinstance(config, dict) else None
        if study_of_job is None or config["task_name"] not in _WITHOUT_RESULTS:
            continue
        if str(study_of_job) != study:
            others.add(str(study_of_job))
            continue
        overrides = read_hydra_file(folder, "overrides") or []
        name = f"{job_name(overrides)} ({folder})"
        try:
            run = _read_job(folder, str(config["task_name"]), overrides)
        except InputError as reason:
            left_out.append(LeftOut(name, None, str(reason)))
            continue
        for each in [each for each in runs if _identity(each) == _identity(run)]:
            left_out.append(LeftOut(f"{job_name(overrides)} ({each.folder})", None, f"the same run again: {folder}"))
            runs.remove(each)
        runs.append(run)
    if not runs and not left_out:
        names = f"there are runs of {', '.join(sorted(others))}" if others else "no run there belongs to any study"
        raise InputError(f"study: no run of {study!r} below {log_dir}; {names}. Runs join a study by study={study}.")
    return name_runs(runs), left_out


def _read_job(folder: Path, task: str, overrides: list[str]) -> Run:
    """Returns the run of a job.

    Raises:
        InputError: When it has no results, or they are broken.
    """
    if (folder / RESULTS_FILE).is_file():
        return read_run(folder)
    artifact = pointed_to(folder)
    if task == "evaluate" and artifact is not None:
        run = read_run(artifact)
        return replace(run, record=replace(run.record, run=job_name(overrides), overrides=overrides))
    raise InputError(f"no results of medssr-{task}: {_WITHOUT_RESULTS[task]}.")


def _identity(run: Run) -> tuple[Any, ...]:
    return (sorted(run.record.overrides), sorted(run.record.artifacts.items()))


def _is_copy(folder: Path) -> bool:
    above = folder.parents
    return folder.name == "files" and above[1].name == "wandb" and (above[2] / RESULTS_FILE).is_file()


def download_runs(project: str, study: str | None, folder: Path) -> list[Path]:
    """Returns a folder for each run of a project that holds results, as `medssr.reports.wandb_steps` logged them.

    Args:
        project: ENTITY/PROJECT.
        study: The group of the runs; None for all.
        folder: Where to write them, each by its id.

    Raises:
        InputError: When W&B cannot be reached or read, or has no such run.
    """
    import wandb

    folders = []
    try:
        filters = None if study is None else {"group": accepted_text(study)}
        runs: Any = wandb.Api(timeout=_WANDB_TIMEOUT_S).runs(project, filters=filters)
        for run in runs:
            files = [file for file in run.files() if _WANDB_FILES.fullmatch(file.name)]
            if any(file.name == RESULTS_FILE for file in files):
                folders.append(folder / safe_name(run.id))
                for file in files:
                    file.download(root=str(folders[-1]), replace=True)
    except (wandb.Error, ValueError, OSError) as error:
        raise InputError(
            f"wandb: {project} cannot be read ({first_line(error)}); see `wandb login`, or compare folders on disk."
        ) from error
    if not folders:
        of_study = "" if study is None else f" of the study {study!r}"
        raise InputError(f"wandb: no run{of_study} in {project} holds {RESULTS_FILE}.")
    return folders
