"""Counts how much structure a reader of this code base has to cross: folders, imports, modules, one optimiser step.

    python experiments/structure/count.py [--checkout DIR] [--files]

Prints a Markdown table. README.md beside this file defines each row. The static counts need the standard library alone;
the last rows run one GRPO step of a tiny policy in a process of its own, with the packages of the interpreter.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import subprocess
import sys
import tempfile
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median

SMALL_MODULE = 100
LONG_FUNCTION = 50
# Who works on the algorithm calls these, and need not open them.
GENERAL = ("answers", "artifacts", "config", "errors", "questions", "resources", "statistics", "tracking", "utils")
# Sampling completions, with the padding of its prompts. Before the folder `engines` there were modules in another one.
ENGINE = (
    "engines",
    "models/batching",
    "rollout/cached_answers",
    "rollout/decoding",
    "rollout/hf_engine",
    "rollout/records",
    "rollout/sampling",
    "rollout/types",
)
# What the algorithm is applied to: batches of questions, the policy with its prompts and layers, the vote of a metric.
POLICY = (
    "data/step_loader",
    "labeling/votes",
    "models/attention",
    "models/policy",
    "models/chat",
    "models/prompts",
    "models/sharding",
    "rollout/prompts",
    "training/step_loader",
)


def main() -> None:
    """Prints the counts of a checkout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkout", type=Path, default=Path(__file__).parents[2], help="the code to count")
    parser.add_argument("--files", action="store_true", help="also list the files of one optimiser step")
    arguments = parser.parse_args()
    checkout = arguments.checkout.resolve()
    step = files_of_one_step(checkout)
    print("| count | value |\n|---|---|")
    for name, value in {**folder_counts(checkout), **module_counts(checkout), **step_counts(checkout, step)}.items():
        print(f"| {name} | {value} |")
    if arguments.files:
        for kind, files in by_kind(step).items():
            print(f"\n{kind}:")
            for file in files:
                print(f"  {num_lines(checkout / 'medssr' / file):5} {file}")


# --- Folders and their imports ------------------------------------------------------------------------------------


def folder_counts(checkout: Path) -> dict[str, object]:
    """Returns the number of folders, of imports between them, of imports upwards, and the rings among them."""
    imports = folder_imports(checkout / "medssr")
    edges = [(folder, target) for folder, targets in imports.items() for target in sorted(targets)]
    rings = [ring for ring in strongly_connected(imports) if len(ring) > 1]
    order = listed_order(checkout)
    return {
        "folders": len(imports),
        "imports between folders": len(edges),
        "imports upwards": "no order listed"
        if order is None
        else sum(order.index(target) < order.index(folder) for folder, target in edges),
        "rings (folders in each)": ", ".join(str(len(ring)) for ring in rings) or "none",
    }


def folder_imports(package: Path) -> dict[str, set[str]]:
    """Returns for each top-level folder or module of the package which others it imports, in functions as well."""
    imports: dict[str, set[str]] = {}
    for file in python_files(package):
        folder = file.relative_to(package).parts[0].removesuffix(".py")
        if folder == "__init__" or file.is_relative_to(package / "resources" / "export"):
            continue
        targets = imports.setdefault(folder, set())
        for module in imported_modules(ast.parse(file.read_text(encoding="utf-8"))):
            top, _, rest = module.partition(".")
            if top == "medssr" and rest:
                targets.add(rest.split(".")[0])
    return {folder: targets & set(imports) - {folder} for folder, targets in imports.items()}


def imported_modules(tree: ast.Module) -> set[str]:
    """Returns the modules and names that a module imports anywhere."""
    modules = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    return modules


def listed_order(checkout: Path) -> list[str] | None:
    """Returns the folders from top to bottom as tests/test_folder_order.py lists them, None for a checkout without."""
    file = checkout / "tests" / "test_folder_order.py"
    if not file.is_file():
        return None
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "STOREYS":
            storeys: dict[str, list[str]] = ast.literal_eval(node.value)
            return [folder for folders in storeys.values() for folder in folders]
    raise ValueError(f"{file} assigns no STOREYS; expected the folders by storey, from top to bottom.")


def strongly_connected(graph: Mapping[str, set[str]]) -> list[set[str]]:
    """Returns the strongly connected components: two nodes are in one when each reaches the other."""
    reached = {node: reachable(graph, node) for node in graph}
    components: list[set[str]] = []
    for node in graph:
        if not any(node in component for component in components):
            components.append({other for other in reached[node] if node in reached[other]} | {node})
    return components


def reachable(graph: Mapping[str, set[str]], start: str) -> set[str]:
    """Returns the nodes that a path leads to from a node."""
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        new = graph[waiting.pop()] - reached
        reached |= new
        waiting += new
    return reached


# --- Modules and functions ----------------------------------------------------------------------------------------


def module_counts(checkout: Path) -> dict[str, object]:
    """Returns sizes of modules and functions."""
    modules = [file for file in python_files(checkout / "medssr") if num_lines(file)]
    tests = [file for file in python_files(checkout / "tests") if num_lines(file)]
    sizes = [num_lines(file) for file in modules]
    functions = [
        (node.end_lineno or node.lineno) - node.lineno + 1
        for file in modules
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return {
        "modules of medssr": len(modules),
        "lines of medssr": f"{sum(sizes):,}",
        "modules of tests": len(tests),
        "lines of tests": f"{sum(map(num_lines, tests)):,}",
        "median lines of a module": f"{median(sizes):g}",
        f"modules under {SMALL_MODULE} lines": sum(size < SMALL_MODULE for size in sizes),
        f"functions over {LONG_FUNCTION} lines": sum(size > LONG_FUNCTION for size in functions),
    }


def python_files(folder: Path) -> list[Path]:
    """Returns the Python files below a folder."""
    return sorted(folder.rglob("*.py"))


def num_lines(file: Path) -> int:
    """Returns the number of lines of a file, blank ones and comments included."""
    return len(file.read_text(encoding="utf-8").splitlines())


# --- One optimiser step -------------------------------------------------------------------------------------------

# Run in the checkout's code: trains, and writes the files in which functions ran during `training_step`. A function
# that a dataclass made counts for the module of the dataclass.
_RECORDER = """
import importlib, json, sys

module_name, function, step_module, output, *overrides = sys.argv[1:]
step_class = importlib.import_module(step_module).GRPOModule
training_step, files = step_class.training_step, set()

def record(frame, event, _):
    if event == "call" and frame.f_code.co_name != "<module>":
        files.add(frame.f_globals.get("__file__") or "")

def recorded(self, *arguments, **keywords):
    sys.setprofile(record)
    try:
        return training_step(self, *arguments, **keywords)
    finally:
        sys.setprofile(None)

step_class.training_step = recorded
sys.argv = ["medssr-train", *overrides]
getattr(importlib.import_module(module_name), function)()
with open(output, "w") as stream:
    json.dump(sorted(files), stream)
"""


def files_of_one_step(checkout: Path) -> list[str]:
    """Returns the files of medssr, relative to it, whose functions run during one `GRPOModule.training_step`."""
    package = checkout / "medssr"
    with tempfile.TemporaryDirectory() as folder:
        overrides = [
            f"data.path={package / 'resources' / 'questions' / 'evaluation.jsonl'}",
            f"paths.root_dir={folder}",
            "grpo.num_steps=1",
            # Enough that some group has completions of different rewards; without one there is no loss.
            "grpo.num_prompts_per_step=16",
            "extras.progress_bar=false",
        ]
        output = Path(folder) / "files.json"
        arguments = [*train_entry(checkout), module_of_class(package, "GRPOModule"), str(output), *overrides]
        done = subprocess.run(
            [sys.executable, "-P", "-c", _RECORDER, *arguments],
            env={**os.environ, "PYTHONPATH": str(checkout)},
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"the training ended with code {done.returncode}:\n{done.stdout}{done.stderr}")
        files = [Path(file) for file in json.loads(output.read_text(encoding="utf-8"))]
    step = [str(file.relative_to(package)) for file in files if file.is_relative_to(package)]
    assert any("loss" in Path(file).name for file in step), "no group had rewards that differ, so no loss was computed"
    return step


def train_entry(checkout: Path) -> tuple[str, str]:
    """Returns module and function of the script medssr-train."""
    scripts = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    module, _, function = scripts["medssr-train"].partition(":")
    return module, function


def module_of_class(package: Path, name: str) -> str:
    """Returns the dotted name of the module that defines a class."""
    for file in python_files(package):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and node.name == name:
                return ".".join(file.relative_to(package.parent).with_suffix("").parts)
    raise ValueError(f"{package}: no module defines {name}.")


def step_counts(checkout: Path, step: Iterable[str]) -> dict[str, object]:
    """Returns files and lines of one step by kind, and the folders of the algorithm."""
    folders = {file.split("/")[0] for file in by_kind(step)["algorithm"]}
    return {
        f"files (lines) of one step: {kind}": f"{len(files)} "
        f"({sum(num_lines(checkout / 'medssr' / file) for file in files):,})"
        for kind, files in by_kind(step).items()
    } | {"folders of the algorithm": len(folders)}


def by_kind(step: Iterable[str]) -> dict[str, list[str]]:
    """Returns the files of one step by what they are for."""
    kinds: dict[str, list[str]] = defaultdict(list, {"algorithm": [], "policy": [], "engine": [], "general": []})
    for file in step:
        name = file.removesuffix(".py")
        if name.split("/")[0] in GENERAL:
            kinds["general"].append(file)
        elif name.startswith(ENGINE):
            kinds["engine"].append(file)
        elif name in POLICY:
            kinds["policy"].append(file)
        else:
            kinds["algorithm"].append(file)
    return dict(kinds)


if __name__ == "__main__":
    main()
