"""Benchmarks: multiple-choice questions with a gold answer."""

from medssr.benchmarks.reader import load_benchmark

__all__ = ["load_benchmark"]
