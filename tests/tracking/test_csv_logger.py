import csv

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
