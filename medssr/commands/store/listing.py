"""medssr list: artefacts and runs, what they are, when they were made, their size and what they were made from."""

from __future__ import annotations

import sys
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING

from medssr.commands.store.arguments import catalog_of, parser, run_main, split_words
from medssr.commands.store.records import Catalog, StoredRun, StoredStep, size_text
from medssr.errors import InputError
from medssr.utils.console import table_console
from medssr.utils.nearest import did_you_mean

if TYPE_CHECKING:
    from rich.table import Table

_SHORT = 8  # digits of a fingerprint that are shown; medssr show takes them


def main() -> None:
    """Console entry point."""
    run_main(_main)


def _main(arguments: list[str]) -> None:
    flags = parser("list", "List artefacts and runs, the newest last.")
    flags.add_argument("words", nargs="*", metavar="COMMAND", help="only those of a command, such as train; or runs")
    names, overrides = split_words(flags.parse_args(arguments).words)
    catalog = catalog_of(overrides)
    wanted = [name.removeprefix("medssr-").replace("-", "_") for name in names]
    kinds = {"runs", *(step.step for step in catalog.steps), *(run.command for run in catalog.runs)}
    for name in wanted:
        if name not in kinds and catalog.steps:
            raise InputError(f"{name}: nothing is of this name.{did_you_mean(name, kinds)}")
    steps = [step for step in catalog.steps if not wanted or step.step in wanted]
    runs = [run for run in catalog.runs if not wanted or "runs" in wanted or run.command in wanted]
    if not steps and not runs:
        sys.stdout.write("nothing was made yet\n")
        return
    if steps:
        _print(steps_table(catalog, steps))
    if runs:
        _print(runs_table(runs))
    total = sum(step.num_bytes for step in steps)
    sys.stdout.write(f"{len(steps)} artefacts, {size_text(total)}; {len(runs)} runs. medssr show ID shows one.\n")


def steps_table(catalog: Catalog, steps: list[StoredStep]) -> Table:
    """Returns the steps as a table."""
    from rich.table import Table
    from rich.text import Text

    table = Table("id", "step", "when", "size", "made from", "command", box=None, padding=(0, 2, 0, 0))
    for step in steps:
        inputs = dict.fromkeys(chain.from_iterable(catalog.made_from.get(step.fingerprint, {}).values()))
        origins = ", ".join(f"{catalog.step_of(origin).step} {origin[:_SHORT]}" for origin in inputs)
        command = step.state if step.artifact is None else step.command or "from Python"
        row = (step.fingerprint[:_SHORT], step.step, when(step.changed), size_text(step.num_bytes), origins, command)
        table.add_row(*map(Text, row))
    return table


def runs_table(runs: list[StoredRun]) -> Table:
    """Returns the runs as a table."""
    from rich.table import Table
    from rich.text import Text

    table = Table("run", "command", "when", "settings", box=None, padding=(0, 2, 0, 0))
    for run in runs:
        row = (run.directory.name, run.command, when(run.changed), run.settings)
        table.add_row(*map(Text, row))
    return table


def when(seconds: float) -> str:
    """Returns a moment as text, in local time."""
    return f"{datetime.fromtimestamp(seconds):%Y-%m-%d %H:%M}"


def _print(table: Table) -> None:
    table_console().print(table)


if __name__ == "__main__":
    main()
