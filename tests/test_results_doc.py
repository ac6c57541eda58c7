"""docs/results.md names every field, and what it says is what is written and read."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
from support.evaluations import letters, write_run

from medssr.benchmarks.suite import DefectCount, Subset
from medssr.errors import InputError
from medssr.evaluation.benchmark_results import BenchmarkRecord
from medssr.evaluation.comparison import Comparison
from medssr.evaluation.estimates import BenchmarkMean, Estimate, Rate
from medssr.evaluation.option_permutations import OrderScore
from medssr.evaluation.prefills import PrefillScore
from medssr.evaluation.results_io import SCHEMA_VERSION, EvaluationResults
from medssr.evaluation.scoring import BenchmarkScore, SecondPass, SliceScore
from medssr.reports.runs import AgreementBand, LabelSummary, PairedDifference, RunRecord, TrainingStage, read_evaluation
from medssr.statistics import Calibration, ReliabilityBin

DOC = (Path(__file__).parents[1] / "docs" / "results.md").read_text(encoding="utf-8")
RECORDS = [
    EvaluationResults, BenchmarkMean, BenchmarkRecord, BenchmarkScore, Subset, DefectCount, OrderScore, PrefillScore,
    SliceScore, SecondPass, Estimate, Rate, Calibration, ReliabilityBin, RunRecord,
    PairedDifference, LabelSummary, AgreementBand, TrainingStage, Comparison,
]  # fmt: skip


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_every_field_is_documented(record):
    named = set(re.findall(r"`([a-z_.0-9]+)`", DOC))
    named |= {name.split(".")[0] for name in named}
    names = {field.name for field in dataclasses.fields(record)}
    assert {"from" if name == "origin" else name for name in names} <= named


def test_the_documented_version_is_the_one_that_is_written(tmp_path):
    write_run(tmp_path / "a", "qwen", letters(3))
    written = json.loads((tmp_path / "a" / "results.json").read_text(encoding="utf-8"))
    assert written["schema_version"] == SCHEMA_VERSION
    assert DOC.count(f"`schema_version` is {SCHEMA_VERSION}") == 1
    assert DOC.count(f"| `schema_version` | {SCHEMA_VERSION} |") == 2


def test_a_file_that_was_written_is_read_back_whole(tmp_path):
    write_run(tmp_path / "a", "qwen", letters(3), ["one", "two"])
    results = read_evaluation(tmp_path / "a")
    assert json.loads((tmp_path / "a" / "results.json").read_text(encoding="utf-8")) == dataclasses.asdict(results)


def test_a_file_of_another_version_is_refused(tmp_path):
    write_run(tmp_path / "a", "qwen", letters(3))
    path = tmp_path / "a" / "results.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"schema_version": 2', '"schema_version": 9'))
    with pytest.raises(InputError, match='field "schema_version": found 9; this version of medssr reads 2'):
        read_evaluation(tmp_path / "a")
