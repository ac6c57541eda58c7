"""Tables of scores that were logged offline, read back with wandb's reader."""

from __future__ import annotations

import json

import pytest
from support.evaluations import letters, write_run
from support.helpers import typed
from support.wandb_runs import records

from medssr.commands.compare import compare


@pytest.fixture
def report(tmp_path):
    write_run(tmp_path / "runs" / "a", "hub/qwen", letters(2))
    write_run(tmp_path / "runs" / "b", "hub/llama", letters(9))
    config = typed("compare", f"runs=[{tmp_path}/runs]", f"output_dir={tmp_path}/report", "logger=tables")
    return compare(config).parent


def table(directory, history, name):
    """The rows of a table by column, from the file that the run's history names."""
    (path,) = [record["item"][f"{name}.path"] for record in history if f"{name}.path" in record["item"]]
    (file,) = directory.glob(f"wandb/offline-run-*/files/{path}")
    content = json.loads(file.read_text(encoding="utf-8"))
    return [dict(zip(content["columns"], values, strict=True)) for values in content["data"]]


@pytest.mark.slow
def test_an_offline_run_holds_the_tables_of_the_report(report):
    (directory,) = (report / "tables").iterdir()
    history = records(directory, "history")
    scores = table(directory, history, "scores")
    assert [(row["run"], row["benchmark"], row["accuracy"]) for row in scores] == [
        ("qwen", "toy", pytest.approx(2 / 12, abs=1e-6)),
        ("llama", "toy", 0.75),
    ]
    (comparison,) = [row for row in table(directory, history, "comparisons") if row["difference"] is not None]
    assert (comparison["baseline"], comparison["group"], comparison["num_won"]) == ("qwen", "llama", 7)
    assert comparison["p_adjusted"] == pytest.approx(2 / 2**7)
