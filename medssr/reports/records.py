"""Decoded JSON into typed records, with the exact place of the first value that does not fit."""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Mapping
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")


class FormError(ValueError):
    """A value does not have the form of its record; `place` is its path, such as `models[0].name`."""

    def __init__(self, place: str, problem: str) -> None:
        super().__init__(f"{place}: {problem}")
        self.place = place
        self.problem = problem


def record_from_json(kind: type[T], value: Any, place: str = "") -> T:
    """Returns `value` as an instance of the dataclass `kind`.

    Fields may be str, int, float, bool, Any, dataclasses, and lists, dictionaries with text keys and optional values
    of these. A field with a default may be absent; unknown fields are ignored. Metadata `key` gives a field another
    name in JSON.

    Raises:
        FormError: For the first field that is missing or of another type.

    Example:
        >>> from medssr.statistics import Interval
        >>> record_from_json(Interval, {"low": 0, "high": 0.5})
        Interval(low=0.0, high=0.5)
    """
    if not isinstance(value, Mapping):
        raise FormError(place or "the file", f"found {value!r:.60}, expected an object.")
    hints = get_type_hints(kind)
    arguments = {}
    for field in dataclasses.fields(cast(Any, kind)):
        key = field.metadata.get("key", field.name)
        at = f"{place}.{key}" if place else key
        if key in value:
            arguments[field.name] = _convert(hints[field.name], value[key], at)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise FormError(at, "is missing.")
    return kind(**arguments)


def _convert(hint: Any, value: Any, place: str) -> Any:
    """Returns `value` as the type `hint`."""
    if hint is Any:
        return value
    if get_origin(hint) in (Union, types.UnionType):
        (inner,) = (choice for choice in get_args(hint) if choice is not type(None))
        return None if value is None else _convert(inner, value, place)
    if get_origin(hint) is list:
        (inner,) = get_args(hint)
        items = _expect(list, value, "a list", place)
        return [_convert(inner, item, f"{place}[{index}]") for index, item in enumerate(items)]
    if get_origin(hint) is dict:
        inner = get_args(hint)[1]
        return {
            key: _convert(inner, item, f"{place}.{key}")
            for key, item in _expect(dict, value, "an object", place).items()
        }
    if dataclasses.is_dataclass(hint):
        return record_from_json(cast(type[Any], hint), value, place)
    return _convert_scalar(hint, value, place)


def _convert_scalar(hint: type, value: Any, place: str) -> Any:
    if hint is float:
        number = _expect((int, float), value, "a number", place)
        if isinstance(value, bool) or not math.isfinite(number):
            raise FormError(place, f"found {value!r}, expected a finite number.")
        return float(number)
    if hint is int and isinstance(value, bool):
        raise FormError(place, f"found {value!r}, expected a whole number.")
    names = {int: "a whole number", str: "a text", bool: "true or false"}
    return _expect(hint, value, names[hint], place)


def _expect(kind: type | tuple[type, ...], value: Any, name: str, place: str) -> Any:
    if not isinstance(value, kind):
        raise FormError(place, f"found {value!r:.60}, expected {name}.")
    return value
