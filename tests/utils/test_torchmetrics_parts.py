"""Lightning with the parts of torchmetrics that it names, and the whole package for whoever asks for more."""

import pytest
from support.commands import run_program

pytestmark = pytest.mark.slow

PROGRAM = """
import sys
from medssr.utils.torchmetrics_parts import import_torchmetrics_in_parts

import_torchmetrics_in_parts()
import lightning.pytorch as L

assert not {"scipy", "transformers", "torchmetrics.classification"} & set(sys.modules)
import torchmetrics

metric = torchmetrics.Metric
assert "torchmetrics.classification" not in sys.modules
from torchmetrics import MeanMetric

assert torchmetrics.Metric is metric and issubclass(MeanMetric, metric)
assert "torchmetrics.classification" in sys.modules
try:
    torchmetrics.none_of_this_name
except AttributeError:
    print("whole")
"""


def test_only_what_lightning_names_is_imported_and_the_rest_when_it_is_asked_for() -> None:
    assert run_program(PROGRAM) == "whole\n"
