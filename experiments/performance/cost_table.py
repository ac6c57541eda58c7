"""Prints the table of computed times in docs/cost.md; --write puts it there.

    python experiments/performance/cost_table.py [--write]

Nothing is measured: the model of cost (medssr/models/cost.py) computes each row from published numbers of a GPU.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import hydra
from omegaconf import OmegaConf

from medssr.config import TrainConfig, register
from medssr.config.catalog import CONF_DIR
from medssr.training.forecast import Forecast, forecast

PAGE = Path(__file__).parents[2] / "docs" / "cost.md"
MODELS = {"1.7B": "qwen3_1_7b_base", "8B": "qwen3_8b_base", "14B": "qwen3_14b_base", "30B-A3B": "qwen3_30b_a3b_base"}
# All weights where they fit, else adapters; with one GPU and with eight.
ARRANGEMENTS = {
    ("1.7B", 1): ["trainer=gpu"],
    ("1.7B", 8): ["trainer=fsdp2", "trainer.devices=8"],
    ("8B", 1): ["trainer=gpu", "lora=default"],
    ("8B", 8): ["trainer=fsdp2", "trainer.devices=8"],
    ("14B", 1): ["trainer=gpu", "lora=default"],
    ("14B", 8): ["trainer=fsdp2", "trainer.devices=8"],
    ("30B-A3B", 1): ["trainer=gpu", "lora=default"],
    ("30B-A3B", 8): ["trainer=ddp", "trainer.devices=8", "lora=default"],
}
GPU = "H200"
COLUMNS = ("model", "GPUs", "trained", "rollout", "reference", "update", "sync", "step", "GPU hours of 300 steps")


def composed(*overrides: str) -> TrainConfig:
    """Returns a typed configuration of medssr-train with `grpo=large` and vLLM."""
    register("train")
    with hydra.initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        fixed = ["paths.root_dir=/tmp", "data.path=none", "grpo=large", "rollout=vllm"]
        config = OmegaConf.to_object(hydra.compose("train", [*fixed, *overrides]))
    assert isinstance(config, TrainConfig)
    return config


def rows() -> Iterator[str]:
    """Yields the lines of the table."""
    yield f"| {' | '.join(COLUMNS)} |"
    yield "|---" * len(COLUMNS) + "|"
    for (name, number), settings in ARRANGEMENTS.items():
        config = composed(f"model={MODELS[name]}", f"extras.forecast.gpu={GPU}", *settings)
        expected = forecast(config, config.grpo)
        assert isinstance(expected, Forecast), expected
        seconds = expected.seconds
        parts = (seconds.rollout, seconds.reference, seconds.update, seconds.sync, seconds.total)
        trained = "all weights" if config.lora is None else "adapters"
        cells = [name, f"{number} x {GPU}", trained, *(f"{part:.0f} s" for part in parts)]
        yield f"| {' | '.join(cells)} | {expected.device_hours(config.grpo.num_steps):.1f} |"


def main() -> None:
    """Prints the table, or writes it into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="replace the table in docs/cost.md")
    table = "\n".join(rows())
    if not parser.parse_args().write:
        print(table)
        return
    page = PAGE.read_text(encoding="utf-8")
    start = re.escape(f"| {COLUMNS[0]} | {COLUMNS[1]} |")
    PAGE.write_text(re.sub(rf"^{start}.*\n(\|.*\n)*", table + "\n", page, count=1, flags=re.M), encoding="utf-8")


if __name__ == "__main__":
    main()
