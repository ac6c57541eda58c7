"""medssr-export: write a training for verl, TRL and verifiers, and benchmarks for lm-eval and inspect-ai."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medssr.artifacts import Step
from medssr.cli.entry import run_command
from medssr.config import DataConfig, ExportConfig, ExportTarget
from medssr.manifests import Artifact
from medssr.models.device import prepared_process

log = logging.getLogger(__name__)


def export(config: ExportConfig) -> Artifact:
    """Returns the artefact of an export: a folder per framework, with instructions."""
    return Step.of("export", config).run(lambda directory: _export(config, directory))


def _export(config: ExportConfig, directory: Path) -> dict[str, Any]:
    trainers = [target for target in config.targets if target.has_stage]
    counts: dict[str, Any] = {}
    if trainers:
        assert config.data is not None
        counts |= _export_training(config, config.data, trainers, directory)
    others = [target for target in config.targets if not target.has_stage]
    if others:
        counts |= _export_benchmarks(config, others, directory)
    return counts


def _export_training(
    config: ExportConfig, data: DataConfig, targets: Sequence[ExportTarget], directory: Path
) -> dict[str, Any]:
    from medssr.questions import read_labelled_questions

    questions = read_labelled_questions(data.path)

    from medssr.exporting.conversations import export_prompts
    from medssr.exporting.folders import write_common, write_for_trl, write_for_verl

    longest = max(settings.grpo.max_new_tokens for settings in config.settings.values())
    writers = {ExportTarget.verl: write_for_verl, ExportTarget.trl: write_for_trl}
    with prepared_process(config.extras, config.seed):
        prompts = export_prompts(questions, config.model, longest, data.path)
        for target in targets:
            writers[target](directory / f"for_{target.value}", questions, prompts, config)
        write_common(directory, prompts, config)
    return {"num_questions": len(questions), "max_prompt_tokens": prompts.max_tokens}


def _export_benchmarks(config: ExportConfig, targets: Sequence[ExportTarget], directory: Path) -> dict[str, Any]:
    from medssr.benchmarks.suite import load_suite

    assert config.benchmark is not None
    assert config.protocol is not None
    suite = load_suite(config.benchmark, rarity=None)

    from medssr.exporting.folders import write_for_inspect, write_for_verifiers
    from medssr.exporting.lm_eval import write_for_lm_eval

    with prepared_process(config.extras, config.seed):
        for target in targets:
            folder = directory / f"for_{target.value}"
            if target is ExportTarget.lm_eval:
                write_for_lm_eval(folder, suite, config.benchmark, config.protocol, config.model)
            else:
                write = write_for_inspect if target is ExportTarget.inspect else write_for_verifiers
                write(folder, suite, config.protocol, config.model)
    return {"tasks": {name: len(benchmark.questions) for name, benchmark in suite.benchmarks.items()}}


def main() -> None:
    """Console entry point."""
    run_command("export", _main)


def _main(config: ExportConfig) -> None:
    artifact = export(config)
    readmes = ", ".join(str(file) for file in sorted(artifact.directory.glob("**/README.md")))
    log.info("made %s\nnext: see %s", artifact.directory, readmes)


if __name__ == "__main__":
    main()
