"""medssr-dashboard: make the W&B workspace and report of a study."""

from __future__ import annotations

import logging
from pathlib import Path

from medssr.cli.entry import run_command
from medssr.config import DashboardConfig
from medssr.errors import InputError, first_line
from medssr.utils.files import write_json_atomically

log = logging.getLogger(__name__)

_TIMEOUT_S = 10


def dashboard(config: DashboardConfig) -> list[str]:
    """Returns the addresses of the workspace and the report of a study, or the file that they were written to.

    Raises:
        InputError: When W&B cannot be reached, or rejects the request.
    """
    import wandb

    from medssr.reports.dashboard import as_json, report, workspace

    arguments = (config.entity, config.project, config.study, config.swept)
    pages = [workspace(*arguments), report(*arguments)]
    if config.file is not None:
        write_json_atomically(Path(config.file), as_json(*pages))
        return [config.file]
    try:
        wandb.Api(timeout=_TIMEOUT_S).viewer  # noqa: B018  fails immediately without a key or network
        for page in pages:
            page.save()
    except (wandb.Error, ValueError, OSError) as error:
        raise InputError(
            f"Weights & Biases cannot save the dashboard ({first_line(error)}); see `wandb login`, or write it to a "
            "file by file=dashboard.json."
        ) from error
    return [page.url for page in pages]


def main() -> None:
    """Console entry point."""
    run_command("dashboard", _main)


def _main(config: DashboardConfig) -> None:
    for address in dashboard(config):
        log.info("made %s", address)


if __name__ == "__main__":
    main()
