"""Trials of a W&B sweep: which of a process's runs is the one that W&B's agent has begun."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from hydra.core.hydra_config import HydraConfig

# Set by the agent. `wandb.init` obeys them before its own arguments: all steps would log into the run of the trial.
_RUN, _SWEEP, _PARAMETERS = "WANDB_RUN_ID", "WANDB_SWEEP_ID", "WANDB_SWEEP_PARAM_PATH"


@dataclass(frozen=True, slots=True)
class Trial:
    """A trial of a sweep.

    Attributes:
        run_id: The id of its run.
        sweep_id: The id of the sweep.
        parameters: The settings that the sweep has chosen, by their keys.
    """

    run_id: str
    sweep_id: str
    parameters: Mapping[str, Any]


@cache
def trial_of_agent() -> Trial | None:
    """Returns the trial that W&B's agent has started this process for, and takes it out of the environment."""
    run_id, sweep_id, file = (os.environ.get(name) for name in (_RUN, _SWEEP, _PARAMETERS))
    if run_id is None or sweep_id is None:
        return None
    for name in (_RUN, _SWEEP, _PARAMETERS):
        os.environ.pop(name, None)
    content = (
        yaml.safe_load(Path(file).read_text(encoding="utf-8")) if file is not None and Path(file).is_file() else {}
    )
    chosen = {key: entry["value"] for key, entry in (content or {}).items() if isinstance(entry, dict)}
    return Trial(run_id, sweep_id, chosen)


def is_of_command(values: Mapping[str, Any]) -> bool:
    """Returns whether a run with this configuration is that of the command itself, not of one of its steps."""
    return HydraConfig.initialized() and HydraConfig.get().job.config_name == values["task_name"]
