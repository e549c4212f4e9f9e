"""The one codec of messages between driver and worker.

A message is a frozen dataclass of this room. Reading one makes such dataclasses, enumerations of this room and plain
values, and refuses all else: no bytes that arrive can have other code run.
"""

from __future__ import annotations

import dataclasses
import enum
import io
import pickle
from typing import Any

_PROTOCOL = 5
_ROOM = __name__.rpartition(".")[0] + "."


def encode(message: object) -> bytes:
    """The message as bytes."""
    written = io.BytesIO()
    _Writer(written, _PROTOCOL).dump(message)
    return written.getvalue()


def decode(data: bytes | bytearray | memoryview) -> Any:
    """The inverse of `encode`; ignores what follows the message.

    Raises:
        pickle.UnpicklingError: The bytes name something that is no message of this room.
    """
    return _Reader(io.BytesIO(data)).load()


class _Writer(pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        # By itself Python 3.12 writes members of enumerations as a call of getattr, which no reader may make.
        return (type(value), (value.value,)) if isinstance(value, enum.Enum) else NotImplemented


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module.startswith(_ROOM):
            found = super().find_class(module, name)
            if isinstance(found, type) and (dataclasses.is_dataclass(found) or issubclass(found, enum.Enum)):
                return found
        raise pickle.UnpicklingError(f"{module}.{name} is no message between driver and worker")
