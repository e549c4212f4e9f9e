"""Passes connections on to a host and port, and cuts all of them when it reads "cut": python relay.py HOST PORT.

It prints its own port, and then for each cut how many connections there were.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading


class Relay:
    """A listener on the loopback address."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> int:
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            end(*pair)
        return len(pairs)

    def _accept(self) -> None:
        while True:
            inner, _ = self._listener.accept()
            try:
                outer = socket.create_connection(self._target, timeout=10)
            except OSError:
                inner.close()
                continue
            outer.settimeout(None)
            with self._lock:
                self._pairs.append((inner, outer))
            for source, target in ((inner, outer), (outer, inner)):
                threading.Thread(target=copy, args=(source, target), daemon=True).start()


def copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while content := source.recv(2**18):
            target.sendall(content)
    end(source, target)


def end(*connections: socket.socket) -> None:
    for connection in connections:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


if __name__ == "__main__":
    relay = Relay(sys.argv[1], int(sys.argv[2]))
    print(relay.port, flush=True)
    for line in sys.stdin:
        if line.strip() == "cut":
            print(relay.cut(), flush=True)
