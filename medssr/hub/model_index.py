"""Results of an evaluation as entries of a model card's `model-index`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from medssr.utils.files import open_atomically

INDEX_FILE = "model_index.yaml"
_TASK = {"type": "multiple-choice", "name": "Multiple choice"}
# Slices of a benchmark that have a metric of their own; others are in results.json.
_SLICES = {"all": "", "rare": ", rare diseases", "common": ", common diseases"}


def write_model_index(directory: Path, name: str, results: Mapping[str, Any]) -> None:
    """Writes `model_index.yaml`: what a model card has under that name.

    Args:
        directory: The folder of an evaluation.
        name: The name of the model.
        results: The content of its `results.json`.
    """
    content = {"model-index": [{"name": name, "results": list(index_results(results))}]}
    with open_atomically(directory / INDEX_FILE) as stream:
        yaml.safe_dump(content, stream, sort_keys=False, allow_unicode=True, width=120)


def index_results(results: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields an entry for each benchmark of an evaluation, with a metric for each slice.

    The interval stands in `args`, where the hub keeps what it does not show.
    """
    protocol = results["protocol"]
    for name, benchmark in results["benchmarks"].items():
        subset = benchmark["subset"]
        # A file is no dataset of the hub, so its type is the name of the benchmark, and its hash says which questions.
        is_on_hub = subset["revision"] is not None
        dataset = {
            "name": name,
            "type": subset["source"] if is_on_hub else name,
            **({"revision": subset["revision"]} if is_on_hub else {}),
            "args": {"num_questions": subset["num_questions"], "sha256": subset["sha256"]},
        }
        yield {"task": _TASK.copy(), "dataset": dataset, "metrics": list(_metrics(benchmark, protocol))}


def _metrics(benchmark: Mapping[str, Any], protocol: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for key, text in _SLICES.items():
        if key not in benchmark["slices"]:
            continue
        accuracy = benchmark["slices"][key]["accuracy"]
        yield {
            "type": "accuracy",
            "value": accuracy["value"],
            "name": f"Accuracy{text}",
            "args": {
                "interval_95": [accuracy["low"], accuracy["high"]],
                "interval_method": accuracy["method"],
                "num_questions": accuracy["n"],
                "num_samples": benchmark["num_samples"],
                "protocol": protocol["name"],
                "temperature": protocol["temperature"],
                "max_new_tokens": protocol["max_new_tokens"],
            },
        }


def result_rows(results: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yields the rows of a table of an evaluation: benchmark, questions, n, accuracy, interval, protocol."""
    protocol = results["protocol"]
    for name, benchmark in results["benchmarks"].items():
        asked = f"{protocol['name']}, {benchmark['num_samples']} per question, temperature {protocol['temperature']:g}"
        for key in _SLICES:
            if key in benchmark["slices"]:
                accuracy = benchmark["slices"][key]["accuracy"]
                interval = f"{accuracy['low']:.3f} to {accuracy['high']:.3f}"
                yield name, key, str(accuracy["n"]), f"{accuracy['value']:.3f}", interval, asked
