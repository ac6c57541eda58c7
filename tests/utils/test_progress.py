from __future__ import annotations

import io
import logging
import re
import sys
from contextlib import contextmanager
from datetime import datetime

import pytest
from support.command_lines import ROOT, code_blocks

from medssr.utils.meter import Meter
from medssr.utils.progress import ConsoleHandler, Preparing, Progress, next_step, progress_shown
from medssr.utils.step_plan import PlannedStep, StepPlan

NOON = 1_700_000_000.0
EVALUATION = PlannedStep("evaluate")


class Clock:
    """Seconds that pass when a test says so, on both clocks of a progress."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def wall(self):
        return NOON + self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def lines(caplog):
    """Returns the lines so far without their timestamps, which are checked."""
    caplog.set_level(logging.INFO, "medssr.utils.progress")

    def without_stamps():
        texts = [record.message for record in caplog.records]
        assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", text) for text in texts)
        return [text[20:] for text in texts]

    return without_stamps


def later(clock, seconds):
    """Returns the time of day in so many seconds."""
    return f"{datetime.fromtimestamp(clock.wall() + seconds):%H:%M:%S}"


@contextmanager
def counting(clock, total=100, unit="questions", **settings):
    with progress_shown(True), Progress("ask", total, unit, clock=clock, wall=clock.wall, **settings) as progress:
        yield progress


def test_each_tenth_has_a_line_with_rate_and_time_left(clock, lines):
    with counting(clock) as progress:
        for _ in range(20):
            clock.now += 2
            progress.advance()
    assert lines()[0] == "ask: 0 of 100 questions (0%)"
    assert re.fullmatch(
        r"ask: 10 of 100 questions \(10%\), 30 questions/min, 3 min 0 s left, until \d\d:\d\d:\d\d", lines()[1]
    )
    assert lines()[-1] == "ask: 20 of 100 questions (20%) in 40 s, 30 questions/min"
    assert len(lines()) == 4


def test_work_that_ends_within_two_seconds_has_its_first_and_last_line(clock, lines):
    with counting(clock) as progress:
        for _ in range(100):
            clock.now += 0.01
            progress.advance()
    assert lines() == ["ask: 0 of 100 questions (0%)", "ask: 100 of 100 questions (100%) in 1 s, 100 questions/s"]


def test_a_long_silence_ends_after_thirty_seconds_though_nothing_is_done(clock, lines):
    with counting(clock) as progress:
        clock.now = 29.0
        assert progress.beat() == 1.0
        assert len(lines()) == 1
        clock.now = 30.0
        assert progress.beat() == 30.0
        assert lines()[1] == "ask: 0 of 100 questions (0%)"
        progress.advance(3)
        clock.now = 60.0
        progress.beat()
        assert lines()[2].startswith("ask: 3 of 100 questions (3%), 3 questions/min, 32 min 20 s left")


def test_a_step_that_prepares_says_so_every_thirty_seconds_until_its_progress_opens(clock, lines):
    with progress_shown(True), Preparing("train", clock=clock, wall=clock.wall) as preparing:
        clock.now = 29.0
        assert preparing.beat() == 1.0
        assert lines() == []
        clock.now = 30.0
        assert preparing.beat() == 30.0
        clock.now = 70.0
        preparing.beat()
        assert lines() == ["train: still preparing after 30 s", "train: still preparing after 1 min 10 s"]
        with counting(clock):
            clock.now = 200.0
            preparing.beat()
        clock.now = 300.0
        preparing.beat()
    assert [line for line in lines()[2:] if "preparing" in line] == []


def test_minor_progress_has_the_lines_while_it_is_open(clock, lines):
    with progress_shown(True), Preparing("train", clock=clock, wall=clock.wall) as preparing:
        with counting(clock, is_minor=True):
            clock.now = 40.0
            preparing.beat()
        clock.now = 69.0
        assert preparing.beat() == 1.0
        assert lines() == []
        clock.now = 70.0
        preparing.beat()
    assert lines() == ["train: still preparing after 1 min 10 s"]


def test_a_terminal_shows_that_a_step_prepares(clock, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    console, logger = ConsoleHandler(), logging.getLogger("medssr")
    monkeypatch.setattr(logger, "handlers", [console])
    monkeypatch.setattr(logger, "level", logging.INFO)
    with progress_shown(True), Preparing("train", clock=clock, wall=clock.wall) as preparing:
        clock.now = 30.0
        preparing.beat()
    assert "train: still preparing after 30 s" in terminal.getvalue()


def test_what_an_earlier_process_did_says_nothing_about_the_rate(clock, lines):
    with counting(clock) as progress:
        progress.skip(80)
        clock.now = 10.0
        progress.advance(10)
    assert "90 of 100 questions (90%), 1 questions/s, 10 s left" in lines()[1]
    assert lines()[-1] == "ask: 90 of 100 questions (90%) in 10 s, 1 questions/s"


def test_the_rate_forgets_a_slow_start():
    meter = Meter(1000, 0.0)
    meter.add(1, 600.0)
    for second in range(1, 601):
        meter.add(1, 600.0 + second)
    assert meter.rate(1200.0) == pytest.approx(1.0)
    assert meter.seconds_left(1200.0) == pytest.approx(399.0)


def test_facts_stand_behind_and_stay_until_they_are_replaced(clock, lines):
    with counting(clock, 4, "steps") as progress:
        progress.advance(1, {"reward": 0.25})
        clock.now = 40.0
        progress.advance()
        progress.advance(2, {"reward": 0.75, "KL": 0.001})
    assert lines()[1].endswith("; reward 0.25")
    assert lines()[-1].endswith("; reward 0.75, KL 0.001")


def test_work_of_unknown_size_has_no_share_and_no_end(clock, lines):
    with counting(clock, None, "passages") as progress:
        clock.now = 30.0
        progress.advance(60)
        progress.beat()
    assert lines() == [
        "ask: 0 passages",
        "ask: 60 passages, 2 passages/s",
        "ask: 60 passages in 30 s, 2 passages/s",
    ]


def test_a_minor_part_has_lines_only_if_it_takes_long(clock, lines):
    with counting(clock, is_minor=True) as progress:
        clock.now = 29.0
        progress.advance(50)
    assert lines() == []
    with counting(clock, is_minor=True) as progress:
        clock.now += 30.0
        progress.advance(50)
        progress.beat()
    assert [line[:23] for line in lines()] == ["ask: 50 of 100 question"] * 2


def test_an_end_on_another_day_has_its_date(clock):
    meter = Meter(10, 0.0)
    meter.add(1, 86400.0)
    assert re.search(r"9 d 0 h left, until \d{4}-\d\d-\d\d \d\d:\d\d$", meter.text("steps", 86400.0, NOON))


def test_the_place_in_a_pipeline_stands_in_front(clock, lines):
    with next_step(StepPlan([EVALUATION] * 8), "base"), counting(clock):
        pass
    assert lines() == ["[1/8 base] ask: 0 of 100 questions (0%)", "[1/8 base] ask: 0 of 100 questions (0%) in 0 s"]


def test_a_step_says_when_the_pipeline_ends_once_each_kind_of_step_has_run(clock, lines):
    plan = StepPlan([EVALUATION, PlannedStep("grpo", 100), EVALUATION, PlannedStep("grpo", 50), EVALUATION], clock)
    with next_step(plan), counting(clock) as evaluation:
        clock.now += 60  # one evaluation takes two minutes
        evaluation.advance(50)
        clock.now += 60
    with next_step(plan):
        clock.now += 20  # to load the model
        with counting(clock) as training:
            clock.now += 40
            training.advance(50)
    assert "pipeline" not in lines()[1]  # nothing is known of trainings yet
    # The end of the first training after 40 seconds, half of its 100 seconds for the second, two evaluations.
    end = datetime.fromtimestamp(NOON + clock.now + 40 + 50 + 2 * 120)
    assert lines()[-2].endswith(f"40 s left, until {later(clock, 40)}, pipeline until about {end:%H:%M:%S}")


def test_a_step_that_was_made_before_says_nothing_of_how_long_others_take(clock, lines):
    plan = StepPlan([EVALUATION, PlannedStep("grpo", 100), EVALUATION], clock)
    with next_step(plan):
        clock.now += 1  # its artefact exists
    with next_step(plan), counting(clock) as training:
        clock.now += 40
        training.advance(50)
    assert lines()[-2].endswith(f"40 s left, until {later(clock, 40)}")


def test_a_resumed_step_counts_by_the_share_that_was_left(clock, lines):
    plan = StepPlan([EVALUATION, PlannedStep("grpo", 100), EVALUATION], clock)
    with next_step(plan), counting(clock) as evaluation:
        evaluation.skip(75)
        clock.now += 30
        evaluation.advance(25)
    with next_step(plan), counting(clock) as training:
        clock.now += 40
        training.advance(50)
    assert lines()[-2].endswith(f"pipeline until about {later(clock, 40 + 120)}")


def test_an_error_has_no_last_line(clock, lines):
    with pytest.raises(KeyError), counting(clock):
        raise KeyError
    assert len(lines()) == 1


def test_nothing_is_shown_unless_asked_for_and_only_by_the_main_process(clock, lines, monkeypatch):
    with Progress("ask", 2, "questions", clock=clock, wall=clock.wall) as progress:
        progress.advance(2)
    monkeypatch.setenv("RANK", "1")
    with counting(clock) as progress:
        progress.advance()
    assert lines() == []


def test_the_page_shows_lines_of_this_form(clock, caplog):
    caplog.set_level(logging.INFO, "medssr.utils.progress")
    begin = datetime(2026, 11, 30, 9, 25, 52).timestamp()
    plan = StepPlan([EVALUATION] * 5 + [PlannedStep("grpo", 20), EVALUATION], clock)
    for _ in range(5):
        with plan.next():
            plan.note_work(share=1.0)
            clock.now += 7
    begin -= clock.now
    facts = {"reward": 0.94, "accuracy": 0.94, "KL": 0.0021, "length": 18.0, "entropy": 0.087, "tokens/s": 1262.0}
    with (
        progress_shown(True),
        next_step(plan),
        Progress("stage2_sup", 20, "steps", clock=clock, wall=lambda: begin + clock.now) as progress,
    ):
        clock.now += 2.0
        progress.advance(3, facts)
    _, shown = code_blocks(ROOT / "docs" / "commands.md")[:2]
    assert caplog.messages[:2] == shown.splitlines()


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_shows_a_bar_that_ends_at_its_total_and_the_log_file_has_the_lines(clock, caplog, monkeypatch):
    caplog.set_level(logging.INFO, "medssr.utils.progress")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    console = ConsoleHandler()
    logging.getLogger("medssr").addHandler(console)
    try:
        with counting(clock, 7, "steps") as progress:
            progress.advance(7, {"reward": 0.5})
            logging.getLogger("medssr.other").warning("a warning beside the bar")
    finally:
        logging.getLogger("medssr").removeHandler(console)
    shown = terminal.getvalue()
    assert "7/7" in shown
    assert "reward 0.5" in shown
    assert "a warning beside the bar" in shown
    assert "(100%) in" not in shown
    assert any("7 of 7 steps (100%) in 0 s; reward 0.5" in message for message in caplog.messages)
