"""The order of the folders: imports point down the list, so that a reader of one folder needs those below it alone."""

from __future__ import annotations

import ast
from itertools import chain
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "medssr"
STOREYS = {
    "what a user starts": ["api", "commands", "exporting", "hub", "auditing", "toy"],
    "the algorithm": ["grpo"],
    "command lines, sweeps, reports of runs": ["cli", "sweeps", "reports"],
    "the steps": ["training", "synthesis", "tracking", "rewards", "evaluation"],
    "models and their answers": ["engines", "models"],
    "the domain": ["benchmarks", "labeling", "knowledge", "llm", "questions", "text", "answers", "statistics"],
    "what everything stands on": ["config", "artifacts", "manifests", "utils", "resources", "errors"],
}
TOP_TO_BOTTOM = list(chain.from_iterable(STOREYS.values()))


def imported_modules(source: str) -> set[str]:
    """Returns the modules and names that a source imports anywhere, also in functions and under TYPE_CHECKING."""
    modules = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name the whole module"
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    return modules


@pytest.mark.slow
def test_no_folder_imports_one_that_stands_above_it():
    upward = []
    for file in sorted(PACKAGE.rglob("*.py")):
        folder = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
        is_copied = file.is_relative_to(PACKAGE / "resources" / "export")  # runs in another framework's environment
        if folder == "__init__" or is_copied:  # the package's own module offers what the commands do
            continue
        below = TOP_TO_BOTTOM[TOP_TO_BOTTOM.index(folder) :]
        for module in imported_modules(file.read_text(encoding="utf-8")):
            package, _, rest = module.partition(".")
            if package == "medssr" and rest.split(".")[0] not in below:
                upward.append(f"{file.relative_to(PACKAGE)} imports {module}")
    assert not upward, "\n".join(upward)


def test_the_list_holds_each_folder_once():
    folders = {file.relative_to(PACKAGE).parts[0].removesuffix(".py") for file in PACKAGE.rglob("*.py")}
    assert sorted(TOP_TO_BOTTOM) == sorted(folders - {"__init__"})
