from __future__ import annotations

import logging

import pytest

from medssr.engines.truncation import TruncationWatch, truncation_warning


@pytest.mark.parametrize(("num_truncated", "num_sampled"), [(0, 0), (0, 4), (32, 64), (5, 10)])
def test_up_to_half_is_no_reason_to_warn(num_truncated, num_sampled):
    assert truncation_warning(num_truncated, num_sampled, "votes", "labeling.max_new_tokens") is None


def test_the_warning_names_the_share_and_the_setting():
    message = truncation_warning(33, 64, "votes", "labeling.max_new_tokens")
    assert message is not None
    assert message.startswith("votes: 33 of 64 completions (52%) were cut off")
    assert "Raise labeling.max_new_tokens" in message


def warnings_of(caplog, flags: list[bool], size: int) -> list[str]:
    watch = TruncationWatch("votes", "labeling.max_new_tokens", len(flags))
    with caplog.at_level(logging.WARNING):
        for start in range(0, len(flags), size):
            watch.add(flags[start : start + size])
    return [record.message.split(" were")[0] for record in caplog.records]


def test_it_is_said_after_the_first_64_and_in_the_end(caplog):
    flags = [True] * 48 + [False] * 16 + [True] * 136
    assert warnings_of(caplog, flags, 16) == [
        "votes: 48 of 64 completions (75%)",
        "votes: 184 of 200 completions (92%)",
    ]


def test_few_completions_are_judged_in_the_end(caplog):
    assert warnings_of(caplog, [True] * 9, 3) == ["votes: 9 of 9 completions (100%)"]


def test_it_is_not_said_twice_of_the_same_completions(caplog):
    assert len(warnings_of(caplog, [True] * 64, 16)) == 1


def test_nothing_is_said_of_complete_answers(caplog):
    assert warnings_of(caplog, [True, False] * 100, 4) == []
