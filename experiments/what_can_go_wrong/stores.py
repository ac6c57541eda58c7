"""Finished artefacts in stores that cannot be written, and several writers of one artefact."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from commands import LIMIT_S, Command, Ended, bad_end
from comparison import contents, differences
from outcomes import Outcome, Verdict
from small_pipeline import Case, Setup, SmallPipeline, Undisturbed

_KIND = "stores"
# The steps whose writer is killed while another waits for it.
_STEPS = ["synthesize", "pseudo_label", "train stage 1", "evaluate base"]
# What `results.json` says of the models; the rest of it is the command line and the folders.
_SCORES = ("config", "models", "paired", "labels")
# A command waits if it has computed for less than this in so many seconds.
_IDLE_S, _WATCHED_S = 0.05, 2.0


def cases(setup: Setup) -> list[Case]:
    """Returns the cases of read-only stores, of two writers, and of a writer that dies while another waits."""
    pipeline = setup.pipeline
    if setup.is_quick:
        return [partial(_two_writers, pipeline)]
    return [
        partial(_only_store, pipeline),
        partial(_second_store, pipeline),
        partial(_empty_store, pipeline),
        partial(_two_writers, pipeline),
        *(partial(_killed_writer, pipeline, step) for step in _STEPS),
    ]


def _only_store(pipeline: SmallPipeline) -> list[Outcome]:
    """Returns what came of a pipeline whose artefacts are all in a store that cannot be written."""
    sound, root = pipeline.undisturbed(), pipeline.folder / "only_store"
    return _read_only(
        "read-only, with all artefacts",
        sound.root / "artifacts",
        root / "artifacts",
        lambda: Command("pipeline", pipeline.overrides(root), root).end(),
        lambda ended: _judge_scores(ended, sound, root / "run"),
    )


def _second_store(pipeline: SmallPipeline) -> list[Outcome]:
    """Returns what came of a pipeline that finds all artefacts in a second store, which cannot be written."""
    sound, root = pipeline.undisturbed(), pipeline.folder / "second_store"
    store = pipeline.folder / "shared_store"
    settings = [*pipeline.overrides(root), f"paths.artifact_stores=[{store}]"]

    def judge(ended: Ended) -> tuple[Verdict, str]:
        verdict, detail = _judge_scores(ended, sound, root / "run")
        made = [str(file.parent) for file in root.glob("artifacts/*/*/manifest.json")]
        if verdict is Verdict.SURVIVED and made:
            return Verdict.SILENTLY_WRONG, f"made again: {', '.join(made)}"
        return verdict, detail

    case = "read-only, as a second store"
    return _read_only(case, sound.root / "artifacts", store, lambda: Command("pipeline", settings, root).end(), judge)


def _empty_store(pipeline: SmallPipeline) -> list[Outcome]:
    """Returns what came of a pipeline whose only store can neither be written nor has anything."""
    root, nothing = pipeline.folder / "empty_store", pipeline.folder / "nothing"
    nothing.mkdir()
    store = root / "artifacts"

    def judge(ended: Ended) -> tuple[Verdict, str]:
        if (bad := bad_end(ended, 2)) is not None:
            return bad
        return (Verdict.ANSWERED if str(store) in ended.output else Verdict.UNCLEAR), ended.last_line

    command = partial(Command, "pipeline", pipeline.overrides(root), root)
    return _read_only("read-only, without artefacts", nothing, store, lambda: command().end(), judge)


def _two_writers(pipeline: SmallPipeline) -> list[Outcome]:
    """Returns what came of the same pipeline twice at the same time: each step is made once."""
    sound, root = pipeline.undisturbed(), pipeline.folder / "two_writers"
    names = ("run", "other")
    both = [command.end() for command in [_writer(pipeline, root, name) for name in names]]
    outcomes = []
    for name, ended in zip(names, both, strict=True):
        verdict, detail = _judge_scores(ended, sound, root / name, root)
        outcomes.append(Outcome(_KIND, f"two writers, {name}", verdict, detail, ended.command))
    num_started = sum(ended.output.count(": started in ") for ended in both)
    num_steps = len(list(sound.root.glob("artifacts/[!i]*/*/manifest.json")))  # [!i]: all but the indexes
    verdict = Verdict.SURVIVED if num_started == num_steps else Verdict.SILENTLY_WRONG
    detail = f"{num_steps} steps, started {num_started} times"
    return [*outcomes, Outcome(_KIND, "two writers, each step once", verdict, detail, both[0].command)]


def _killed_writer(pipeline: SmallPipeline, step: str) -> list[Outcome]:
    """Returns what came of a pipeline that waits for a step whose writer is killed."""
    sound, root = pipeline.undisturbed(), pipeline.folder / f"killed_writer_{step.replace(' ', '_')}"
    folder = root / sound.folder(step)
    first = _writer(pipeline, root, "run")
    _wait_until(folder.is_dir, first)
    first.send(signal.SIGSTOP)  # so that it holds the step's lock until the second comes to it
    second = _writer(pipeline, root, "other")
    _wait_until(lambda: _is_idle(second), second)
    first.send(signal.SIGKILL)
    first.end()
    ended = second.end()
    verdict, detail = _judge_scores(ended, sound, root / "other", root)
    return [Outcome(_KIND, f"a writer of {step} is killed, another waits", verdict, detail, ended.command)]


def _writer(pipeline: SmallPipeline, root: Path, name: str) -> Command:
    """Returns the pipeline, which has begun, with `name` as the folder of its run."""
    return Command("pipeline", [*pipeline.overrides(root)[:-1], f"hydra.run.dir={root}/{name}"], root)


def _judge_scores(ended: Ended, sound: Undisturbed, run_dir: Path, root: Path | None = None) -> tuple[Verdict, str]:
    """Returns the verdict on a pipeline, by its scores and, where `root` is given, by the artefacts there."""
    if (bad := bad_end(ended, 0)) is not None:
        return bad
    found, expected = (
        {name: json.loads((folder / "results.json").read_text(encoding="utf-8"))[name] for name in _SCORES}
        for folder in (run_dir, sound.root / "run")
    )
    texts = [f"{name} of results.json differs" for name in _SCORES if found[name] != expected[name]]
    if root is not None:
        made, wanted = (
            {name: content for name, content in files.items() if name.startswith("artifacts/")}
            for files in (contents(root), sound.contents)
        )
        texts += differences(made, wanted)
    return (Verdict.SILENTLY_WRONG, "; ".join(texts)[:500]) if texts else (Verdict.SURVIVED, "")


def _read_only(
    case: str,
    source: Path,
    store: Path,
    run: Callable[[], Ended],
    judge: Callable[[Ended], tuple[Verdict, str]],
) -> list[Outcome]:
    """Returns what came of a command while `store` shows the folder `source` and cannot be written."""
    try:
        with _mounted_read_only(source, store):
            ended = run()
    except subprocess.CalledProcessError as error:
        return [Outcome(_KIND, case, Verdict.SKIPPED, f"a read-only mount is refused: {error.stderr.strip()}")]
    verdict, detail = judge(ended)
    return [Outcome(_KIND, case, verdict, detail, ended.command)]


@contextmanager
def _mounted_read_only(source: Path, folder: Path) -> Iterator[None]:
    """Shows one folder at another place, where it cannot be written.

    Raises:
        CalledProcessError: When this process may not do so.
    """
    folder.mkdir(parents=True)
    subprocess.run(["mount", "--bind", str(source), str(folder)], check=True, capture_output=True, text=True)
    try:
        command = ["mount", "-o", "remount,ro,bind", str(folder)]
        subprocess.run(command, check=True, capture_output=True, text=True)
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _wait_until(is_met: Callable[[], bool], command: Command) -> None:
    """Waits until something is so, a command has ended, or its limit of time is over."""
    deadline = time.monotonic() + LIMIT_S
    while not is_met() and command.is_running and time.monotonic() < deadline:
        time.sleep(0.005)


def _is_idle(command: Command) -> bool:
    """Returns whether a command computes nothing for two seconds: it waits."""
    begin = _seconds_of_cpu(command)
    time.sleep(_WATCHED_S)
    return command.is_running and _seconds_of_cpu(command) - begin < _IDLE_S


def _seconds_of_cpu(command: Command) -> float:
    import psutil

    times = psutil.Process(command.process.pid).cpu_times()
    return float(times.user + times.system)
