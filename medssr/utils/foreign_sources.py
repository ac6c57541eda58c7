"""Hashes of the source of classes that are not medssr's own, so that a step whose class was changed is made anew."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping
from importlib.machinery import ModuleSpec, all_suffixes
from pathlib import Path
from typing import Any

from medssr.utils.files import hash_file

# Packages whose versions every manifest records; all others, a user's own among them, count by their source.
_VERSIONED = frozenset({"medssr", "torch", "transformers", "lightning", "datasets"})


def foreign_sources(config: Mapping[str, Any]) -> dict[str, str]:
    """Returns the SHA-256 of the source of each class that a `_target_` outside medssr names, by its key.

    The source is the file of the module, and for a class that a package exports, all Python files of the package.
    What the module itself imports from elsewhere does not count. A target that cannot be found is left out: the error
    comes, with its key, when the class is to be made.

    Args:
        config: The configuration, as plain values.
    """
    sources = {}
    for key, target in _targets(config, ""):
        files = [] if target.split(".")[0] in _VERSIONED else _source_files(target)
        if files:
            sources[key] = _hash(files)
    return sources


def _targets(node: Any, key: str) -> Iterator[tuple[str, str]]:
    """Yields the key and the value of every `_target_` in a configuration."""
    members = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list | tuple) else ()
    for name, value in members:
        member_key = f"{key}.{name}" if key else str(name)
        if name == "_target_" and isinstance(value, str):
            yield member_key, value
        else:
            yield from _targets(value, member_key)


def _source_files(target: str) -> list[Path]:
    """Returns the files of the module in which Python would look for a target; none where there is no such module.

    Nothing is imported, since that may take long and runs code.
    """
    first, *others = target.split(".")
    spec = _top_spec(first)
    if spec is None:
        return []
    if spec.submodule_search_locations is None:
        return [Path(spec.origin)] if spec.has_location and spec.origin is not None else []
    folders = [Path(location) for location in spec.submodule_search_locations]
    for part in others:
        # Python prefers a package to a module, and both to a folder without __init__.py.
        inner = [folder / part for folder in folders if part and (folder / part).is_dir()]
        files = [file for folder in folders for file in sorted(folder.glob(f"{part}.*")) if _is_module(file)]
        if files and not any((folder / "__init__.py").is_file() for folder in inner):
            return files[:1]
        if not inner:
            break
        folders = inner
    return sorted(file for folder in folders for file in folder.rglob("*.py"))


def _is_module(file: Path) -> bool:
    return file.name.endswith(tuple(all_suffixes()))


def _top_spec(name: str) -> ModuleSpec | None:
    if name == "__main__":
        file = getattr(sys.modules[name], "__file__", None)
        return None if file is None else importlib.util.spec_from_file_location(name, file)
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError):  # no name of a module, or a module without a specification
        return None


def _hash(files: list[Path]) -> str:
    if len(files) == 1:
        return hash_file(files[0])
    folder = Path(os.path.commonpath(files))
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(folder).as_posix()} {hash_file(file)}\n".encode())
    return digest.hexdigest()
