"""medssr watch DIR: the report of a run or sweep under way, live in a browser on this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from medssr.commands.store.arguments import run_main
from medssr.errors import InputError
from medssr.utils.interrupts import ended_by_exception

_DESCRIPTION = """\
Show the report of a run or a sweep while it is under way, in a browser on this machine.

DIR is the folder of a run or of a sweep, or one with several, such as logs/pipeline. The page is made of the files
there and of the artefacts that the logs name, and made anew when they change. It is served on 127.0.0.1 alone, and
nothing is sent anywhere. From another machine: ssh -L 8000:127.0.0.1:8000 HOST, with --port 8000. Ctrl-C ends it.
"""
_MAX_PORT = 65535


def main() -> None:
    """Console entry point."""
    run_main(_main)


def _main(arguments: list[str]) -> None:
    import argparse

    flags = argparse.ArgumentParser(
        prog="medssr watch",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    flags.add_argument("folder", metavar="DIR", type=Path, help="the folder of a run or of a sweep")
    flags.add_argument("--port", type=int, default=0, help="the port; 0, the default, takes a free one")
    given = flags.parse_args(arguments)
    if not given.folder.is_dir():
        raise InputError(
            f"{given.folder}: there is no such folder; give that of a run or a sweep, such as logs/pipeline."
        )
    if not 0 <= given.port <= _MAX_PORT:
        raise InputError(f"--port: found {given.port}, expected 0 to {_MAX_PORT}.")
    watch(given.folder, given.port)


def watch(folder: Path, port: int) -> None:
    """Serves the page of the runs in a folder until Ctrl-C ends the process, with code 130.

    Raises:
        InputError: When the port is in use or may not be used.
    """
    from medssr.commands.watch.live_page import LivePage
    from medssr.commands.watch.server import PageServer

    os.nice(10)  # a training on this machine comes first
    try:
        server = PageServer(LivePage(folder.absolute()), port)
    except OSError as error:
        raise InputError(f"--port: {port} cannot be used ({error.strerror}); --port 0 takes a free one.") from error
    with ended_by_exception(), server:
        sys.stdout.write(f"{server.address}\n")
        sys.stdout.flush()
        server.serve_forever()


if __name__ == "__main__":
    main()
