"""HTTP/2 by hand, well-formed and not, over plain sockets."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterable

from tests.local.wire_peers import RIGHT, SECONDS

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 1, 4


def frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


GREETING = PREFACE + frame(SETTINGS)


def header_block(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """HPACK in its plainest form: literals, neither indexed nor compressed. Names and values below 127 bytes."""
    return b"".join(b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in fields)


def request_headers(path: str, *, stream: int = 1, authorization: str | None = RIGHT) -> bytes:
    fields = [
        (b":method", b"POST"), (b":scheme", b"http"), (b":path", path.encode()), (b":authority", b"worker"),
        (b"content-type", b"application/grpc"), (b"te", b"trailers"),
    ]  # fmt: skip
    if authorization is not None:
        fields.append((b"authorization", authorization.encode()))
    return frame(HEADERS, header_block(fields), flags=END_HEADERS, stream=stream)


def connect(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=SECONDS)


def send_until_closed(address: str, content: bytes) -> bytes:
    """Sends bytes and reads until the worker closes the connection, which it must; returns what it said."""
    answer = b""
    with connect(address) as opened, contextlib.suppress(ConnectionError):
        opened.sendall(content)
        while received := opened.recv(1 << 16):
            answer += received
    return answer


def reset(opened: socket.socket) -> None:
    """Closes with RST, as a peer that was killed with unread data does."""
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    opened.close()
