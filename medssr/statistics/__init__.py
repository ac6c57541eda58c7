"""Intervals, tests and estimators behind every reported number: pure functions of arrays and a seed."""

from medssr.statistics.intervals import (
    NUM_RESAMPLES,
    Interval,
    clustered_bootstrap_interval,
    crossed_bootstrap_interval,
    wilson_interval,
)
from medssr.statistics.paired import (
    Difference,
    holm_adjusted,
    mcnemar_p_value,
    paired_bootstrap_difference,
    sign_flip_p_value,
)
from medssr.statistics.repeated_samples import Calibration, ReliabilityBin, calibration, pass_at_k

__all__ = [
    "NUM_RESAMPLES",
    "Calibration",
    "Difference",
    "Interval",
    "ReliabilityBin",
    "calibration",
    "clustered_bootstrap_interval",
    "crossed_bootstrap_interval",
    "holm_adjusted",
    "mcnemar_p_value",
    "paired_bootstrap_difference",
    "pass_at_k",
    "sign_flip_p_value",
    "wilson_interval",
]
