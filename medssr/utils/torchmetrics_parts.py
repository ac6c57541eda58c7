"""Lets Lightning import the two classes of torchmetrics that it names, without the other 270 modules."""

from __future__ import annotations

import logging
import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

_PACKAGE = "torchmetrics"
# What Lightning takes from the package, and the modules that have it.
_PARTS = {"Metric": "metric", "MetricCollection": "collections", "__version__": "__about__"}


def import_torchmetrics_in_parts() -> None:
    """Makes a later import of torchmetrics load its parts when they are asked for; called before Lightning is imported.

    Lightning imports torchmetrics to recognise its metrics, and torchmetrics imports SciPy and all that it has, which
    takes a command two seconds of processor time. Here the package stands in `sys.modules` before its `__init__` has
    run. Whoever asks it for more than Lightning does, such as a callback of a user's, has the whole package.
    """
    if _PACKAGE in sys.modules:
        return
    spec = find_spec(_PACKAGE)
    if spec is None:
        return
    package = module_from_spec(spec)
    package.__dict__["__getattr__"] = lambda name: _attribute(package, name)
    sys.modules[_PACKAGE] = package


def _attribute(package: ModuleType, name: str) -> Any:
    """Returns an attribute of the package, which is loaded as a whole for a name that is none of the parts."""
    if name == "_logger":  # which those modules take from it
        return logging.getLogger(_PACKAGE)
    if name in _PARTS:
        import_module(f"{_PACKAGE}.utilities")  # first, as the package does: it and the metrics import each other
        return getattr(import_module(f"{_PACKAGE}.{_PARTS[name]}"), name)
    if name.startswith("__"):  # what Python asks any module for
        raise AttributeError(f"module {_PACKAGE!r} has no attribute {name!r}")
    del package.__dict__["__getattr__"]
    assert package.__spec__ is not None and package.__spec__.loader is not None
    package.__spec__.loader.exec_module(package)
    return getattr(package, name)
