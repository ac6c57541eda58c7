"""The command lines of list, show and clean: their words, flags and the folders that they look at."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from medssr.cli.closed_output import ends_with_its_reader
from medssr.cli.entry import composed
from medssr.commands.store.records import Catalog, read_catalog
from medssr.errors import USER_FAULT, InputError

FOLDERS = "paths.artifact_dir=FOLDER and paths.log_dir=FOLDER name the folders, as for every command."


def parser(name: str, description: str) -> argparse.ArgumentParser:
    """Returns a parser of a command's flags and words."""
    return argparse.ArgumentParser(
        prog=f"medssr {name}",
        description=description,
        epilog=FOLDERS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def folders_of(overrides: Sequence[str]) -> tuple[Path, Path]:
    """Returns the folders of artefacts and of runs that a command with these settings uses.

    Raises:
        InputError: When a word is no setting of `paths`.
    """
    for word in overrides:
        if not word.startswith("paths."):
            raise InputError(f"{word}: expected paths.artifact_dir=FOLDER or paths.log_dir=FOLDER.")
    paths = composed("pipeline", overrides).paths
    return Path(paths.artifact_dir).absolute(), Path(paths.log_dir).absolute()


def split_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Returns the words that are names, and those that are settings.

    Example:
        >>> split_words(["train", "paths.log_dir=logs"])
        (['train'], ['paths.log_dir=logs'])
    """
    return [word for word in words if "=" not in word], [word for word in words if "=" in word]


def catalog_of(overrides: Sequence[str]) -> Catalog:
    """Returns the steps and runs in the folders that settings name."""
    artifact_dir, log_dir = folders_of(overrides)
    return read_catalog(artifact_dir, [log_dir])


def run_main(main: Callable[[list[str]], None]) -> None:
    """Runs a command with the words of the command line; a fault of the user ends it with code 2 and a message."""
    with ends_with_its_reader():
        try:
            main(sys.argv[1:])
        except InputError as error:
            sys.stderr.write(f"{error}\n")
            sys.exit(USER_FAULT)
