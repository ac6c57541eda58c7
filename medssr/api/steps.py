"""The steps of the method as functions of Python: configuration in, result out, nothing else changed."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from medssr.api.composing import given_settings
from medssr.api.process_state import kept_process_state
from medssr.api.results import (
    CompareResult,
    EvaluateResult,
    PipelineResult,
    PseudoLabelResult,
    StepResult,
    SynthesizeResult,
    TrainingResult,
)
from medssr.errors import InputError
from medssr.utils.files import write_lines_atomically
from medssr.utils.naming import safe_name
from medssr.utils.provenance import called_from_python
from medssr.utils.stopping import Stopped

if TYPE_CHECKING:
    from medssr.config import (
        CompareConfig,
        EvaluateConfig,
        PipelineConfig,
        PseudoLabelConfig,
        SFTTrainConfig,
        SynthesizeConfig,
        TrainConfig,
    )
    from medssr.manifests import Artifact

Result = TypeVar("Result", bound=StepResult)


def synthesize(config: SynthesizeConfig) -> SynthesizeResult:
    """Writes questions without labels, as medssr-synthesize does.

    Raises:
        InputError: When a file or a setting is at fault, or all drafts were rejected.
    """
    with _call("synthesize", config):
        from medssr.commands import synthesize as command

        return _as(SynthesizeResult, command.synthesize(config))


def pseudo_label(config: PseudoLabelConfig) -> PseudoLabelResult:
    """Labels questions by majority vote, as medssr-pseudo-label does.

    Raises:
        InputError: When a file or a setting is at fault, or no question got a label.
    """
    with _call("pseudo_label", config):
        from medssr.commands import pseudo_label as command

        return _as(PseudoLabelResult, command.pseudo_label(config))


def train(config: TrainConfig) -> TrainingResult:
    """Trains a stage of GRPO, as medssr-train does; one that was interrupted goes on from its newest checkpoint.

    Raises:
        InputError: When a file, a setting or a reward is at fault.
    """
    with _call("train", config):
        from medssr.commands import train as command

        return _as(TrainingResult, command.train(config))


def sft(config: SFTTrainConfig) -> TrainingResult:
    """Fine-tunes a policy on demonstrations, as medssr-sft does.

    Raises:
        InputError: When a file or a setting is at fault.
    """
    with _call("sft", config):
        from medssr.commands import sft as command

        return _as(TrainingResult, command.sft(config))


def evaluate(config: EvaluateConfig) -> EvaluateResult:
    """Scores a model on benchmarks, as medssr-evaluate does.

    Raises:
        InputError: When a file or a setting is at fault.
    """
    with _call("evaluate", config):
        from medssr.commands import evaluate as command

        return _as(EvaluateResult, command.evaluate(config))


def pipeline(config: PipelineConfig, run_dir: Path | str | None = None) -> PipelineResult:
    """Runs the whole method, as medssr-pipeline does; steps whose artefacts exist are skipped.

    Args:
        config: The configuration of all steps.
        run_dir: The folder of `results.json` and `report/`; None for a new one in `config.paths.log_dir`.

    Raises:
        InputError: When a file or a setting is at fault, or several processes should train.
    """
    with _call("pipeline", config):
        from medssr.commands import pipeline as command
        from medssr.config.trainer import num_processes

        if (num_processes(config.trainer) or 1) > 1:
            problem = f"{config.trainer['devices']}; from Python a pipeline trains in one process: use medssr-pipeline."
            raise InputError(f"trainer.devices: {problem}")
        folder = _new_run_dir(config) if run_dir is None else Path(run_dir).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        _write_settings(config, folder)
        page = command.pipeline(config, folder)
        assert page is not None
        return PipelineResult(folder, page)


def compare(config: CompareConfig) -> CompareResult:
    """Compares runs on one page, as medssr-compare does.

    Raises:
        InputError: When a folder holds no run, or a file of a run is broken.
    """
    with _call("compare", config):
        from medssr.commands import compare as command

        compared = command.compare_runs(config)
        return CompareResult(compared.page, compared.comparison, compared.left_out)


@contextmanager
def _call(name: str, config: Any) -> Iterator[None]:
    """Runs the block as a step that leaves the process as it was; Ctrl-C in it raises KeyboardInterrupt, as it should.

    Raises:
        InputError: When the configuration is that of another command, or a process that a script has started runs the
            script again.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        problem = "a process that it started for a reward of yours has imported the script, which calls it again; put"
        raise InputError(f'medssr.{name}: {problem} the calls below: if __name__ == "__main__":')
    with kept_process_state():
        from medssr.config import SCHEMAS

        if not isinstance(config, SCHEMAS[name]):
            remedy = f'give medssr.compose("{name}", [...])'
            raise InputError(
                f"medssr.{name}: found {type(config).__name__}, expected {SCHEMAS[name].__name__}; {remedy}."
            )
        with called_from_python(*given_settings(config)):
            try:
                yield
            except Stopped as stopped:
                if stopped.signum == signal.SIGINT:
                    raise KeyboardInterrupt from stopped
                raise


def _as(kind: type[Result], artifact: Artifact) -> Result:
    return kind(artifact.directory, artifact.manifest)


def _new_run_dir(config: PipelineConfig) -> Path:
    """Returns the folder that a run of the command has, by conf/hydra/default.yaml."""
    started = f"{datetime.now():%Y-%m-%d_%H-%M-%S-%f}"
    return Path(config.paths.log_dir).absolute() / safe_name(config.task_name) / "runs" / started


def _write_settings(config: PipelineConfig, run_dir: Path) -> None:
    """Writes configuration and overrides where a command has them, for comparisons and for `study=NAME`."""
    import yaml

    from medssr.config.composition import plain
    from medssr.utils.provenance import overrides

    folder = run_dir / ".hydra"
    folder.mkdir(exist_ok=True)
    for name, content in {"config": plain(config), "overrides": overrides()}.items():
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
        write_lines_atomically(folder / f"{name}.yaml", text.splitlines())
