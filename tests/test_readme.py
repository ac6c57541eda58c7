"""Every command that the README and the studies show can be composed."""

from __future__ import annotations

import pytest
from hydra import compose, initialize_config_dir
from support.command_lines import ROOT, page_commands, split_command

from medssr.config import register


def test_the_pages_show_commands():
    assert len(page_commands()) >= 8


@pytest.mark.slow
@pytest.mark.parametrize("command", page_commands())
def test_a_shown_command_composes(command: str):
    root, overrides = split_command(command)
    if "hydra/launcher=slurm" in overrides:
        pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="pip install --editable '.[slurm]'")
    register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        compose(root, overrides)
