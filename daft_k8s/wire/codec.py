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
    return pickle.dumps(message, _PROTOCOL)


def decode(data: bytes | bytearray | memoryview) -> Any:
    """The inverse of `encode`; ignores what follows the message.

    Raises:
        pickle.UnpicklingError: The bytes name something that is no message of this room.
    """
    return _Reader(io.BytesIO(data)).load()


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module.startswith(_ROOM):
            found = super().find_class(module, name)
            if isinstance(found, type) and (dataclasses.is_dataclass(found) or issubclass(found, enum.Enum)):
                return found
        raise pickle.UnpicklingError(f"{module}.{name} is no message between driver and worker")
