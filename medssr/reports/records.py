"""Converts decoded JSON to dataclasses; an error names the path of the first value that does not fit."""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Mapping
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")


class FormError(ValueError):
    """A value that does not fit its record; `path` is where it is, such as `models[0].name`."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


def record_from_json(kind: type[T], value: Any, path: str = "") -> T:
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
        raise FormError(path or "the file", f"found {value!r:.60}, expected an object.")
    hints = get_type_hints(kind)
    arguments = {}
    for field in dataclasses.fields(cast(Any, kind)):
        key = field.metadata.get("key", field.name)
        key_path = f"{path}.{key}" if path else key
        if key in value:
            arguments[field.name] = _convert(hints[field.name], value[key], key_path)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise FormError(key_path, "is missing.")
    return kind(**arguments)


def _convert(hint: Any, value: Any, path: str) -> Any:
    """Returns `value` as the type `hint`."""
    if hint is Any:
        return value
    if get_origin(hint) in (Union, types.UnionType):
        (inner,) = (choice for choice in get_args(hint) if choice is not type(None))
        return None if value is None else _convert(inner, value, path)
    if get_origin(hint) is list:
        (inner,) = get_args(hint)
        items = _expect(list, value, "a list", path)
        return [_convert(inner, item, f"{path}[{index}]") for index, item in enumerate(items)]
    if get_origin(hint) is dict:
        inner = get_args(hint)[1]
        return {
            key: _convert(inner, item, f"{path}.{key}") for key, item in _expect(dict, value, "an object", path).items()
        }
    if dataclasses.is_dataclass(hint):
        return record_from_json(cast(type[Any], hint), value, path)
    return _convert_scalar(hint, value, path)


def _convert_scalar(hint: type, value: Any, path: str) -> Any:
    if hint is float:
        number = _expect((int, float), value, "a number", path)
        if isinstance(value, bool) or not math.isfinite(number):
            raise FormError(path, f"found {value!r}, expected a finite number.")
        return float(number)
    if hint is int and isinstance(value, bool):
        raise FormError(path, f"found {value!r}, expected a whole number.")
    names = {int: "a whole number", str: "a text", bool: "true or false"}
    return _expect(hint, value, names[hint], path)


def _expect(kind: type | tuple[type, ...], value: Any, name: str, path: str) -> Any:
    if not isinstance(value, kind):
        raise FormError(path, f"found {value!r:.60}, expected {name}.")
    return value
