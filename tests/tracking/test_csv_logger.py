import csv
import logging

import pytest

from medssr.errors import InputError
from medssr.tracking.csv_logger import CSVMetrics


def rows(path):
    with (path / "metrics.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def log(logger, **values):
    for step, value in values.items():
        logger.log_metrics({"train/loss": value, "epoch": 0}, int(step.removeprefix("step")))


def test_one_row_a_step(tmp_path):
    logger = CSVMetrics(str(tmp_path))
    log(logger, step0=0.5, step1=0.25)
    logger.finalize("success")
    assert (tmp_path / "metrics.csv").read_text() == "step,train/loss\n0,0.5\n1,0.25\n"


def test_metrics_of_the_same_step_share_a_row(tmp_path):
    logger = CSVMetrics(str(tmp_path))
    logger.log_metrics({"train/loss": 0.5}, 0)
    logger.log_metrics({"time/step": 2.0}, 0)
    logger.finalize("success")
    assert rows(tmp_path) == [{"step": "0", "train/loss": "0.5", "time/step": "2.0"}]


def test_columns_stand_in_order_of_appearance_and_may_be_empty(tmp_path):
    logger = CSVMetrics(str(tmp_path))
    logger.log_metrics({"b": 1.0}, 0)
    logger.log_metrics({"a": 2.0}, 1)
    logger.finalize("success")
    assert rows(tmp_path) == [{"step": "0", "b": "1.0", "a": ""}, {"step": "1", "b": "", "a": "2.0"}]


def test_a_resumed_run_replaces_what_it_repeats(tmp_path):
    first = CSVMetrics(str(tmp_path))
    log(first, step0=0.0, step1=0.1, step2=0.2, step3=0.3)
    first.finalize("failed")
    resumed = CSVMetrics(str(tmp_path))
    log(resumed, step2=2.2)
    resumed.finalize("success")
    # Step 3 was of the run that is no more.
    assert [(row["step"], row["train/loss"]) for row in rows(tmp_path)] == [("0", "0.0"), ("1", "0.1"), ("2", "2.2")]


def test_a_resumed_run_ends_with_the_bytes_of_a_whole_one(tmp_path):
    whole = CSVMetrics(str(tmp_path / "whole"))
    log(whole, step0=0.1, step1=1 / 3, step2=0.2, step3=1e-7)
    whole.finalize("success")
    parts = CSVMetrics(str(tmp_path / "parts"))
    log(parts, step0=0.1, step1=1 / 3, step2=0.7)
    parts.finalize("failed")
    resumed = CSVMetrics(str(tmp_path / "parts"))
    log(resumed, step2=0.2, step3=1e-7)
    resumed.finalize("success")
    assert (tmp_path / "parts" / "metrics.csv").read_bytes() == (tmp_path / "whole" / "metrics.csv").read_bytes()


def test_nothing_logged_is_an_empty_table(tmp_path):
    CSVMetrics(str(tmp_path)).finalize("success")
    assert rows(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "is empty"),
        ("step,train/loss\n0,0.5\n1,0.2", "line 3: is cut"),
        ("step,train/loss\n0,0.5\n1\n", "line 3: found '1', expected 2 numbers"),
        ("step,train/loss\n0,0.5\n1,0.2,3\n", "line 3"),
        ("step,train/loss\n0,half\n", "line 2: found '0,half'"),
        ("step,train/loss\nnan,0.5\n", 'line 2, field "step"'),
        ("id,name\n1,2\n", "line 1: found"),
        ("step,train/loss\n0,\0\n", "NUL"),
    ],
)
def test_a_damaged_file_is_named_with_what_to_do(tmp_path, content, problem):
    (tmp_path / "metrics.csv").write_text(content)
    with pytest.raises(InputError, match=problem) as refused:
        CSVMetrics(str(tmp_path))
    assert str(tmp_path / "metrics.csv") in str(refused.value)


def test_without_the_file_the_curve_begins_where_training_resumes(tmp_path):
    resumed = CSVMetrics(str(tmp_path))
    log(resumed, step5=0.5)
    resumed.finalize("success")
    assert [row["step"] for row in rows(tmp_path)] == ["5"]


def test_lost_lines_are_noticed(tmp_path, caplog):
    (tmp_path / "metrics.csv").write_text("step,train/loss\n0,0.5\n1,0.2\n")
    with caplog.at_level(logging.WARNING):
        log(CSVMetrics(str(tmp_path)), step2=0.5, step3=0.5, step9=0.5)
        assert not caplog.records
        log(CSVMetrics(str(tmp_path)), step5=0.5)
    (record,) = caplog.records
    assert "between step 1 and step 5" in record.message
