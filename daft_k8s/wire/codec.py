"""The one codec of messages between driver and worker.

A message is a frozen dataclass of this room, with dataclasses and enumerations of this room and plain values in it. It
travels as one line of JSON, with its byte strings behind.

Invariant: reading bytes of any sender makes such values and runs no other code. Nothing is unpickled. The fields of a
message have the types that its class declares.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import importlib
import json
import struct
import typing
from collections.abc import Callable, Iterator
from typing import Any

_ROOM = __name__.rpartition(".")[0] + "."
_LENGTH = struct.Struct("<Q")
_BYTES, _TUPLE, _DICT, _MEMBER, _MESSAGE = "b", "t", "d", "e", "m"
"""The kinds of values that JSON does not know: each is an object with its kind as the only key."""


class MessageError(ValueError):
    """Bytes that are no message, or a value that cannot be in one."""


def encode(message: object) -> bytes:
    """The message as bytes.

    Raises:
        MessageError: The message holds a value that is neither plain nor of this room.
    """
    blobs: list[bytes] = []
    value = _written(message, blobs)
    text = json.dumps([value, [len(blob) for blob in blobs]], separators=(",", ":")).encode()
    return b"".join([_LENGTH.pack(len(text)), text, *blobs])


def decode(data: bytes | bytearray | memoryview) -> Any:
    """The inverse of `encode`; ignores what follows the message.

    Raises:
        MessageError: The bytes are no message.
    """
    return decode_first(data)[0]


def decode_first(data: bytes | bytearray | memoryview) -> tuple[Any, int]:
    """The message that the bytes begin with, and its length.

    Raises:
        MessageError: The bytes are no message.
    """
    try:
        (length,) = _LENGTH.unpack_from(data)
        end = _LENGTH.size + length
        value, lengths = json.loads(bytes(data[_LENGTH.size : end]))
        blobs = []
        for blob_bytes in lengths:
            start, end = end, end + blob_bytes
            blobs.append(bytes(data[start:end]))
            if blob_bytes < 0 or len(blobs[-1]) != blob_bytes:
                raise MessageError("a message between driver and worker is cut off")
        return _read(value, blobs), end
    except MessageError:
        raise
    except Exception as error:
        raise MessageError(f"bytes are no message between driver and worker: {error}") from None


def _written(value: Any, blobs: list[bytes]) -> Any:
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if kind is bytes:
        blobs.append(value)
        return {_BYTES: len(blobs) - 1}
    if kind is list:
        return [_written(item, blobs) for item in value]
    if kind is tuple:
        return {_TUPLE: [_written(item, blobs) for item in value]}
    if kind is dict:
        return {_DICT: [[_written(key, blobs), _written(item, blobs)] for key, item in value.items()]}
    if _is_of_this_room(kind):
        name = f"{kind.__module__.removeprefix(_ROOM)}.{kind.__qualname__}"
        if isinstance(value, enum.Enum):
            return {_MEMBER: [name, value.name]}
        return {_MESSAGE: [name, *(_written(getattr(value, field.name), blobs) for field in dataclasses.fields(value))]}
    raise MessageError(f"{kind.__module__}.{kind.__qualname__} is no message between driver and worker")


def _read(value: Any, blobs: list[bytes]) -> Any:
    if type(value) is list:
        return [_read(item, blobs) for item in value]
    if type(value) is not dict:
        return value
    ((kind, content),) = value.items()
    return _READERS[kind](content, blobs)


def _read_dict(content: Any, blobs: list[bytes]) -> dict[Any, Any]:
    return {_read(key, blobs): _read(item, blobs) for key, item in content}


def _read_member(content: Any, blobs: list[bytes]) -> enum.Enum:
    name, member = content
    found = _find(name)
    if not issubclass(found, enum.Enum):
        raise MessageError(f"{name} is no enumeration")
    return found[member]


def _read_message(content: Any, blobs: list[bytes]) -> Any:
    name, *fields = content
    found = _find(name)
    if not dataclasses.is_dataclass(found):
        raise MessageError(f"{name} is no message between driver and worker")
    message = found(*_each(fields, blobs))
    for field, kind in _types_of(found).items():
        value = getattr(message, field)
        if not is_of(value, kind):
            raise MessageError(f"{field} of {name} is a {type(value).__name__}, and must be {kind}")
    return message


@functools.cache
def _types_of(message: type[Any]) -> dict[str, Any]:
    types = typing.get_type_hints(message)
    return {field.name: types[field.name] for field in dataclasses.fields(message)}


def is_of(value: Any, kind: Any) -> bool:
    """True if a value that was read has a type that a message, or its reader, declares."""
    outer, inner = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return True
    if outer is tuple and inner[-1] is not ...:
        return type(value) is tuple and len(value) == len(inner) and all(map(is_of, value, inner))
    if outer in (tuple, list):
        return type(value) is outer and all(is_of(item, inner[0]) for item in value)
    if outer is dict:
        return type(value) is dict and all(
            is_of(key, inner[0]) and is_of(item, inner[1]) for key, item in value.items()
        )
    if inner:  # X | None
        return any(is_of(value, item) for item in inner)
    # A whole number is written without its point.
    return type(value) is kind or (kind is float and type(value) is int)


def _each(values: list[Any], blobs: list[bytes]) -> Iterator[Any]:
    return (_read(value, blobs) for value in values)


_READERS: dict[str, Callable[[Any, list[bytes]], Any]] = {
    _BYTES: lambda content, blobs: blobs[content],
    _TUPLE: lambda content, blobs: tuple(_each(content, blobs)),
    _DICT: _read_dict,
    _MEMBER: _read_member,
    _MESSAGE: _read_message,
}


def _find(name: str) -> type[Any]:
    module, _, class_name = name.partition(".")
    if module.isidentifier() and class_name.isidentifier():
        found = getattr(importlib.import_module(_ROOM + module), class_name, None)
        if isinstance(found, type) and found.__module__ == _ROOM + module and _is_of_this_room(found):
            return found
    raise MessageError(f"{name} is no message between driver and worker")


def _is_of_this_room(kind: type[Any]) -> bool:
    if not kind.__module__.startswith(_ROOM):
        return False
    return dataclasses.is_dataclass(kind) or issubclass(kind, enum.Enum)
