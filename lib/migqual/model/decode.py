"""Plain JSON data <-> frozen dataclasses, checked against their annotations.

Strict on the way in: a missing key, an unknown key or a value of another type is a `ValueError`
with the path of the fault. Annotations understood: `str`, `bool`, `int`, `float`, `Any`, `None`
unions, `StrEnum`, frozen dataclasses, `tuple[X, ...]` and `Mapping[str, X]`.
"""

import dataclasses
import math
from collections.abc import Mapping
from enum import Enum
from types import NoneType, UnionType
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")


def encode(value: object) -> Any:  # noqa: ANN401 - plain JSON data of any shape
    """`value` as plain JSON data. A number that JSON cannot hold (NaN, infinity) becomes null."""
    match value:
        case Enum():
            return encode(value.value)
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {str(encode(key)): encode(item) for key, item in value.items()}
        case list() | tuple():
            return [encode(item) for item in value]
        case set() | frozenset():
            return sorted((encode(item) for item in value), key=str)
    if dataclasses.is_dataclass(value):
        return {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return str(value)


def decode(kind: type[T], data: object, path: str = "") -> T:
    """`data` as a `kind`. Raises `ValueError` that names the path of the first fault."""
    return cast("T", _decode(kind, data, path))


def _decode(kind: Any, data: object, path: str) -> object:  # noqa: ANN401 - an annotation
    origin = get_origin(kind)
    if kind is Any:
        return data
    if origin is UnionType:
        return _union(get_args(kind), data, path)
    if origin is tuple:
        items = _need(list, data, path)
        return tuple(_decode(get_args(kind)[0], x, f"{path}[{i}]") for i, x in enumerate(items))
    if origin is Mapping:
        entries = _need(dict, data, path)
        return {key: _decode(get_args(kind)[1], x, f"{path}.{key}") for key, x in entries.items()}
    if dataclasses.is_dataclass(kind):
        return _dataclass(cast("type[Any]", kind), _need(dict, data, path), path)
    return _scalar(kind, data, path)


def _scalar(kind: Any, data: object, path: str) -> object:  # noqa: ANN401 - an annotation
    if issubclass(kind, Enum):
        try:
            return kind(data)
        except ValueError:
            known = ", ".join(str(member.value) for member in kind)
            raise _fault(path, f"{data!r} is none of {known}") from None
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    return _need(kind, data, path)


def _union(kinds: tuple[Any, ...], data: object, path: str) -> object:
    if data is None and NoneType in kinds:
        return None
    return _decode(next(kind for kind in kinds if kind is not NoneType), data, path)


def _dataclass(kind: type[Any], data: dict[str, Any], path: str) -> object:
    hints = get_type_hints(kind)
    names = {field.name for field in dataclasses.fields(kind)}
    if missing := sorted(names - data.keys()):
        raise _fault(path, f"{', '.join(missing)} missing")
    if unknown := sorted(data.keys() - names):
        raise _fault(path, f"{', '.join(unknown)} unknown")
    return kind(**{name: _decode(hints[name], data[name], f"{path}.{name}") for name in names})


def _need(kind: type[T], data: object, path: str) -> T:
    if not isinstance(data, kind) or (isinstance(data, bool) and kind is not bool):
        raise _fault(path, f"{kind.__name__} expected, not {type(data).__name__}")
    return data


def _fault(path: str, words: str) -> ValueError:
    return ValueError(f"{path.lstrip('.') or 'the whole'}: {words}")
