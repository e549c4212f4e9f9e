"""A store of objects that speaks as much of S3 as pyarrow needs to write an object."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import BinaryIO
from urllib.parse import parse_qs, urlsplit


class ObjectServer(ThreadingHTTPServer):
    """Keeps objects by path; `refuses` makes it answer that it may not be written to."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, bytes] = {}
        self.parts: dict[str, dict[int, bytes]] = {}
        self.refuses = False

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


def _joined(stream: BinaryIO) -> bytes:
    """The chunks of a body; what follows the last up to a blank line is read, too."""
    found = b""
    while size := int(stream.readline().split(b";")[0], 16):
        found += stream.read(size)
        stream.readline()
    while stream.readline().strip():
        pass
    return found


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ObjectServer

    def do_HEAD(self) -> None:
        self._answer(404)

    def do_PUT(self) -> None:
        body = self._body()
        path, query = self._target()
        if self.server.refuses:
            self._answer(403, b"<Error><Code>AccessDenied</Code><Message>not yours</Message></Error>")
        elif "partNumber" in query:
            self.server.parts.setdefault(path, {})[int(query["partNumber"][0])] = body
            self._answer(200, etag='"part"')
        else:
            self.server.objects[path] = body
            self._answer(200, etag='"all"')

    def do_POST(self) -> None:
        self._body()
        path, query = self._target()
        if self.server.refuses:
            self._answer(403, b"<Error><Code>AccessDenied</Code><Message>not yours</Message></Error>")
        elif "uploads" in query:
            self._answer(200, b"<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>")
        else:
            parts = self.server.parts.pop(path)
            self.server.objects[path] = b"".join(parts[number] for number in sorted(parts))
            self._answer(200, b"<CompleteMultipartUploadResult><ETag>all</ETag></CompleteMultipartUploadResult>")

    def _target(self) -> tuple[str, dict[str, list[str]]]:
        parts = urlsplit(self.path)
        return parts.path, parse_qs(parts.query, keep_blank_values=True)

    def _body(self) -> bytes:
        if "Transfer-Encoding" not in self.headers:
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = _joined(self.rfile)
        return _joined(BytesIO(body)) if "x-amz-trailer" in self.headers else body

    def _answer(self, status: int, body: bytes = b"", etag: str = "") -> None:
        self.send_response(status)
        if etag:
            self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def object_server() -> Iterator[ObjectServer]:
    """Serves until the block ends."""
    with ObjectServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
