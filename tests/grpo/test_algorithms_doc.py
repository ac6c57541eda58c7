"""docs/algorithms.md says what the code does: its tables name the options there are."""

import re
from pathlib import Path

import pytest
from support.helpers import LOSSES

from medssr.config import KLEstimator, ScaleRewards

DOC = (Path(__file__).parents[2] / "docs" / "algorithms.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """The text from a heading to the next of its kind."""
    return re.search(rf"^## {title}.*?(?=^## |\Z)", DOC, re.M | re.S).group()


@pytest.mark.parametrize(("title", "options"), [("Loss", LOSSES), ("KL", list(KLEstimator.__members__))])
def test_the_first_column_of_a_table_lists_every_option(title, options):
    assert sorted(re.findall(r"^\| `(\w+)`", section(title), re.M)) == sorted(options)


def test_every_scaling_is_explained():
    assert set(re.findall(r"`(group|batch|none)`:", section("Advantages"))) == {scale.name for scale in ScaleRewards}


def test_every_loss_names_its_paper():
    rows = [line for line in section("Loss").splitlines() if line.startswith("| `")]
    assert [row for row in rows if "arXiv" not in row and "bnpo" not in row] == []
