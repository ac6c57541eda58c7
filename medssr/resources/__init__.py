"""Data files that ship with the package."""

from pathlib import Path

RESOURCES = Path(__file__).parent
