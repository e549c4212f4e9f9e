"""Passes connections on to a host and port, and breaks all of them on demand: python relay.py HOST PORT.

"cut" ends them; "freeze" lets nothing more through, without a sign to either end, as a firewall does that has forgotten
them. New ones are let through after either. It prints its own port, and then for each demand how many connections
there were.
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
        self._pairs: list[tuple[socket.socket, socket.socket, threading.Event]] = []
        self._lock = threading.Lock()
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> int:
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for inner, outer, _ in pairs:
            end(inner, outer)
        return len(pairs)

    def freeze(self) -> int:
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for _, _, frozen in pairs:
            frozen.set()
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
            frozen = threading.Event()
            with self._lock:
                self._pairs.append((inner, outer, frozen))
            for source, target in ((inner, outer), (outer, inner)):
                threading.Thread(target=copy, args=(source, target, frozen), daemon=True).start()


def copy(source: socket.socket, target: socket.socket, frozen: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while content := source.recv(2**18):
            if not frozen.is_set():
                target.sendall(content)
    if not frozen.is_set():
        end(source, target)


def end(*connections: socket.socket) -> None:
    for connection in connections:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


if __name__ == "__main__":
    relay = Relay(sys.argv[1], int(sys.argv[2]))
    print(relay.port, flush=True)
    for line in sys.stdin:
        print({"cut": relay.cut, "freeze": relay.freeze}[line.strip()](), flush=True)
