"""Measures the time of 2,000 questions from the Human Phenotype Ontology: its graph, and medssr-synthesize.

pip install 'medssr[hpo]'
python experiments/performance/graph_questions.py [--orphanet-path orphanet.jsonl] [--num-questions 2000]

Seconds are those of the process's CPU time, so that other processes on the machine count little.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from typing import Any

import hydra

from medssr.commands.synthesize import synthesize
from medssr.config import register
from medssr.config.catalog import CONF_DIR
from medssr.config.composition import typed
from medssr.knowledge.graph import Profiles
from medssr.utils.instantiate import instantiate


def timed(name: str, function: Callable[[], Any]) -> Any:
    """Returns what the function returns, and prints how long it took."""
    start = time.process_time()
    value = function()
    print(f"{name}: {time.process_time() - start:.1f} s")
    return value


def main() -> None:
    """Prints the seconds of each part, and the counts of the questions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orphanet-path", default="null")
    parser.add_argument("--path")
    parser.add_argument("--num-questions", type=int, default=2000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        overrides = [
            "generator=graph",
            "entities=hpo",
            f"entities.orphanet_path={arguments.orphanet_path}",
            f"synthesis.num_questions={arguments.num_questions}",
            "synthesis.rare_share=1.0",
            f"paths.root_dir={folder}",
            "extras.progress_bar=false",
            *([] if arguments.path is None else [f"entities.path={arguments.path}"]),
        ]
        register("synthesize")
        with hydra.initialize_config_dir(str(CONF_DIR), version_base="1.3"):
            config = typed(hydra.compose("synthesize", overrides))
        timed("the release, read for the first time", lambda: instantiate(config.entities, "entities").graph())
        graph = timed("its graph, kept", lambda: instantiate(config.entities, "entities").graph())
        timed("profiles of the diseases", lambda: Profiles(graph))
        made = timed("medssr-synthesize, all in all", lambda: synthesize(config))
        counts = made.manifest["counts"]
        print({name: counts[name] for name in ("num_questions", "num_rare", "rejected", "num_unfilled")})


if __name__ == "__main__":
    main()
