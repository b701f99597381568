"""Encode frozen dataclasses as JSON data, and decode JSON data with a check of each type.

Decoding is strict: a missing key, an unknown key or a value of a wrong type raises
`ValueError`. The message contains the path of the value in the data. Supported annotations:
`str`, `bool`, `int`, `float`, `Any`, unions with `None`, `StrEnum`, frozen dataclasses,
`tuple[X, ...]` and `Mapping[str, X]`.
"""

import dataclasses
import math
from collections.abc import Mapping
from enum import Enum
from types import NoneType, UnionType
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")


def encode_json_value(value: object) -> Any:  # noqa: ANN401 - plain JSON data of any shape
    """Encode `value` as data that `json.dumps` can write. NaN and infinity become None."""
    match value:
        case Enum():
            return encode_json_value(value.value)
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {
                str(encode_json_value(key)): encode_json_value(item) for key, item in value.items()
            }
        case list() | tuple():
            return [encode_json_value(item) for item in value]
        case set() | frozenset():
            return sorted((encode_json_value(item) for item in value), key=str)
    if dataclasses.is_dataclass(value):
        return {
            f.name: encode_json_value(getattr(value, f.name)) for f in dataclasses.fields(value)
        }
    return str(value)


def decode_json_value(expected_type: type[T], data: object, path: str = "") -> T:
    """Decode JSON data to an instance of `expected_type`.

    Args:
        expected_type: Type annotation of the result.
        data: Data as from `json.loads`.
        path: Path of `data` in the document, for error messages. Empty means the whole document.

    Raises:
        ValueError: The data does not match the type. The message contains the path of the first
            wrong value.
    """
    return cast("T", _decode_value(expected_type, data, path))


def _decode_value(expected_type: Any, data: object, path: str) -> object:  # noqa: ANN401 - an annotation
    origin = get_origin(expected_type)
    if expected_type is Any:
        return data
    if origin is UnionType:
        return _decode_union(get_args(expected_type), data, path)
    if origin is tuple:
        items = _require_type(list, data, path)
        return tuple(
            _decode_value(get_args(expected_type)[0], item, f"{path}[{index}]")
            for index, item in enumerate(items)
        )
    if origin is Mapping:
        entries = _require_type(dict, data, path)
        return {
            key: _decode_value(get_args(expected_type)[1], x, f"{path}.{key}")
            for key, x in entries.items()
        }
    if dataclasses.is_dataclass(expected_type):
        return _decode_dataclass(
            cast("type[Any]", expected_type), _require_type(dict, data, path), path
        )
    return _decode_scalar(expected_type, data, path)


def _decode_scalar(expected_type: Any, data: object, path: str) -> object:  # noqa: ANN401 - an annotation
    if issubclass(expected_type, Enum):
        try:
            return expected_type(data)
        except ValueError:
            allowed_values = ", ".join(str(member.value) for member in expected_type)
            raise _build_error(path, f"{data!r} is not one of {allowed_values}") from None
    if expected_type is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    return _require_type(expected_type, data, path)


def _decode_union(member_types: tuple[Any, ...], data: object, path: str) -> object:
    if data is None and NoneType in member_types:
        return None
    return _decode_value(
        next(member_type for member_type in member_types if member_type is not NoneType), data, path
    )


def _decode_dataclass(expected_type: type[Any], data: dict[str, Any], path: str) -> object:
    hints = get_type_hints(expected_type)
    names = {field.name for field in dataclasses.fields(expected_type)}
    if missing := sorted(names - data.keys()):
        raise _build_error(path, f"missing keys: {', '.join(missing)}")
    if unknown := sorted(data.keys() - names):
        raise _build_error(path, f"unknown keys: {', '.join(unknown)}")
    return expected_type(
        **{name: _decode_value(hints[name], data[name], f"{path}.{name}") for name in names}
    )


def _require_type(expected_type: type[T], data: object, path: str) -> T:
    if not isinstance(data, expected_type) or (
        isinstance(data, bool) and expected_type is not bool
    ):
        raise _build_error(path, f"{expected_type.__name__} expected, not {type(data).__name__}")
    return data


def _build_error(path: str, message: str) -> ValueError:
    return ValueError(f"{path.lstrip('.') or '(top level)'}: {message}")
