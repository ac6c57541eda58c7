"""Checks all finished artefacts: every file is read and compared with what its manifest records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from medssr.commands.doctor.findings import Finding, advice, fine, lacking
from medssr.errors import InputError
from medssr.manifests import finished_artifacts, kept_hashes, read_artifact


def check_artifacts(artifact_dir: Path, stores: Sequence[Path]) -> Iterator[Finding]:
    """Yields a result for each artefact that is damaged or cannot be checked, and one for all that are whole.

    Args:
        artifact_dir: The folder of all artefacts, which also keeps the hashes.
        stores: Further folders of artefacts.
    """
    hashes = kept_hashes(artifact_dir)
    num_whole, num_bytes = 0, 0
    for directory in chain.from_iterable(map(finished_artifacts, (artifact_dir, *stores))):
        name = f"{directory.parent.name}/{directory.name}"
        try:
            artifact = read_artifact(directory)
            damages = artifact.damages(hashes, computes_again=True)
        except InputError as error:
            yield lacking(name, str(error), f"delete {directory} and run its step again.")
            continue
        if damages is None:
            yield advice(name, "an older version made it, without sizes and hashes", "nothing can be checked here.")
        elif damages:
            differences = "; ".join(f"{damage.file} {damage.difference}" for damage in damages)
            yield lacking(name, differences, artifact.remedy)
        else:
            num_whole += 1
            num_bytes += sum(output["size"] for output in artifact.manifest["outputs"].values())
    yield fine("artefacts", f"{num_whole} as they were made, {num_bytes:,} bytes")
