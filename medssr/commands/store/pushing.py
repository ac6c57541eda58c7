"""medssr push ID --repo NAME: what of an artefact would go to the hub, and, with --yes, its upload."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medssr.commands.store.arguments import folders_of, parser, run_main, split_words
from medssr.commands.store.records import Catalog, StoredRun, read_catalog, size_text
from medssr.errors import InputError
from medssr.evaluation.results_io import RESULTS_FILE
from medssr.hub.upload import Upload, plan_upload, upload
from medssr.manifests import Artifact, pointed_to, read_artifact
from medssr.utils.outputs import MANIFEST_FILE


def main() -> None:
    """Console entry point."""
    run_main(_main)


def _main(arguments: list[str]) -> None:
    flags = parser("push", "Show what of a trained model or a question set would go to the hub; --yes uploads it.")
    flags.add_argument("words", nargs="+", metavar="ID", help="the begin of a fingerprint, or a folder")
    flags.add_argument("--repo", required=True, metavar="NAME", help="the repository, such as me/my-model")
    flags.add_argument("--private", action="store_true", help="make the repository private if it is not there")
    flags.add_argument(
        "--dataset", action="append", default=[], metavar="NAME", help="training set, for a model's card"
    )
    flags.add_argument("--yes", action="store_true", help="upload; without it nothing is sent")
    given = flags.parse_intermixed_args(arguments)
    names, overrides = split_words(given.words)
    if len(names) != 1:
        raise InputError("push: name one artefact; medssr list has all.")
    _check_names([given.repo, *given.dataset])
    artifact, catalog = _chosen(names[0], overrides)
    evaluations = list(evaluations_of(artifact, catalog))
    plan = plan_upload(artifact, given.repo, evaluations, given.dataset)
    sys.stdout.write("\n".join(_lines(plan, len(evaluations), is_private=given.private)) + "\n")
    if given.yes:
        sys.stdout.write(f"uploaded: {upload(plan, is_private=given.private)}\n")
    else:
        sys.stdout.write("Nothing was sent. The same command with --yes uploads it.\n")


def _check_names(names: list[str]) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    for name in names:
        try:
            validate_repo_id(name)
        except HFValidationError as error:
            raise InputError(f"{name}: is no name of a repository: {error}") from error


def _chosen(name: str, overrides: list[str]) -> tuple[Artifact, Catalog]:
    """Returns the artefact that a name means, and what is in its folder of artefacts."""
    artifact_dir, log_dir = folders_of(overrides)
    folder = Path(name).resolve()
    if (folder / MANIFEST_FILE).is_file() and not folder.is_relative_to(artifact_dir.resolve()):
        artifact_dir = folder.parents[1]
    catalog = read_catalog(artifact_dir, [log_dir])
    item = catalog.find(name)
    if isinstance(item, StoredRun):
        made = pointed_to(item.directory)
        if made is None:
            raise InputError(f"{name}: is a run that names no single artefact; medssr show {name} lists what it made.")
        return read_artifact(made), catalog
    return read_artifact(item.directory), catalog


def evaluations_of(artifact: Artifact, catalog: Catalog) -> Iterator[dict[str, Any]]:
    """Yields the content of `results.json` of each evaluation of a model, the oldest first.

    Raises:
        InputError: When an evaluation is damaged.
    """
    for step in catalog.steps:
        if step.artifact is None or step.step != "evaluate":
            continue
        makers = catalog.made_from.get(step.fingerprint, {})
        # With adapters, the model's path is that of their base.
        key = "model.adapter_path" if "model.adapter_path" in step.artifact.manifest["inputs"] else "model.path"
        if artifact.fingerprint in makers.get(key, ()):
            step.artifact.check(step.artifact.hashes, RESULTS_FILE)
            yield json.loads(step.artifact.path(RESULTS_FILE).read_text(encoding="utf-8"))


def _lines(plan: Upload, num_evaluations: int, *, is_private: bool) -> Iterator[str]:
    kind = "private, if it is new" if is_private else "public"
    yield f"{plan.repo_type} {plan.repo} ({kind}):"
    for file in plan.files:
        yield f"  {size_text(file.num_bytes):>9}  {file.name}"
    yield f"{len(plan.files)} files, {size_text(plan.num_bytes)}"
    if plan.repo_type == "model":
        yield f"evaluations on the card: {num_evaluations}"
        if "license" not in plan.card.metadata:
            yield "The card states no license: that of the base is not known here. Add it on the hub."
    yield f"the card, README.md:\n\n{plan.card.text}"


if __name__ == "__main__":
    main()
