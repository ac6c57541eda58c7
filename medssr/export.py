"""medssr-export: labelled questions for other training frameworks, with prompts, reward and launch settings."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from medssr.artifacts import Artifact, Step
from medssr.config import ExportConfig, ExportTarget
from medssr.utils.entry import prepare_process, run_command

log = logging.getLogger(__name__)


def export(config: ExportConfig) -> Artifact:
    """Returns the artefact of an export: a folder per framework, the tokenizer, and what to do with them."""
    return Step("export", config, Path(config.paths.artifact_dir), config.force).run(
        lambda directory: _export_questions(config, directory)
    )


def _export_questions(config: ExportConfig, directory: Path) -> dict[str, Any]:
    from medssr.questions import read_labelled_questions

    questions = read_labelled_questions(config.data.path)

    from medssr.exporting.folders import write_common, write_for_trl, write_for_verl
    from medssr.exporting.prompts import export_prompts

    prepare_process(config.extras, config.seed)
    longest = max(settings.grpo.max_new_tokens for settings in config.settings.values())
    prompts = export_prompts(questions, config.model, longest, config.data.path)
    writers = {ExportTarget.verl: write_for_verl, ExportTarget.trl: write_for_trl}
    for target in config.targets:
        writers[target](directory / f"for_{target.value}", questions, prompts, config)
    write_common(directory, prompts, config)
    return {"num_questions": len(questions), "max_prompt_tokens": prompts.max_tokens}


def main() -> None:
    """Console entry point."""
    run_command("export", _main)


def _main(config: ExportConfig) -> None:
    artifact = export(config)
    log.info("made %s\nnext: see %s", artifact.directory, artifact.path("README.md"))


if __name__ == "__main__":
    main()
