"""Messages over the socket between a worker and the process of one of its actors.

A length, then the message. Blocking: each side has a thread that does nothing else meanwhile.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence

from daft_k8s.wire.actor_messages import Buffer

_LENGTH = struct.Struct("<Q")
_MOST_PARTS = 64
"""Far below the number of buffers that one `sendmsg` takes."""


def send(sock: socket.socket, parts: Sequence[Buffer]) -> None:
    """Sends one message, straight from its parts' own memory.

    Raises:
        OSError: The other side is gone.
    """
    pending = [memoryview(part).cast("B") for part in (_LENGTH.pack(sum(len(part) for part in parts)), *parts)]
    while pending:
        sent = sock.sendmsg(pending[:_MOST_PARTS])
        while pending and sent >= len(pending[0]):
            sent -= len(pending.pop(0))
        if sent:
            pending[0] = pending[0][sent:]


def receive(sock: socket.socket) -> bytearray | None:
    """The next message; None if the other side has closed the socket or is gone.

    Raises:
        TimeoutError: The socket's time-out passed between two messages, or within one.
    """
    head = _receive_exactly(sock, _LENGTH.size)
    return None if head is None else _receive_exactly(sock, _LENGTH.unpack(head)[0])


def _receive_exactly(sock: socket.socket, size: int) -> bytearray | None:
    data = bytearray(size)
    view, received = memoryview(data), 0
    while received < size:
        try:
            count = sock.recv_into(view[received:])
        except TimeoutError:
            raise
        except OSError:
            return None
        if count == 0:
            return None
        received += count
    return data
