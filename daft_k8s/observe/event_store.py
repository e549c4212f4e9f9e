"""The places to which an event log is written: a folder, or a store of objects."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

FILE_BYTES = 64 << 20
"""The size above which the next file of a log begins: small enough to open, and few for a long session."""

_S3_OPTIONS = {"region", "scheme", "endpoint_override"}
"""Parameters of a URI that are arguments of pyarrow's `S3FileSystem`, with text as their values."""


class EventStore(Protocol):
    """Takes the lines of one log, in order. Used by one thread."""

    def append(self, lines: bytes) -> None:
        """Writes all of these lines, or none and raises: any exception of the store."""

    def close(self) -> None:
        """Ends the writing."""


class FolderStore:
    """Files in a folder, `<name>.000001.jsonl` and so on, each appended to until it is large.

    Args:
        folder: The folder; made when first needed.
        name: The beginning of the files' names.
        file_bytes: The size above which the next file begins.
    """

    def __init__(self, folder: str, name: str, file_bytes: int = FILE_BYTES) -> None:
        self._folder = Path(folder)
        self._name = name
        self._file_bytes = file_bytes
        self._number = 0
        self._file: int | None = None
        self._size = 0

    def append(self, lines: bytes) -> None:
        if self._file is None or (self._size and self._size + len(lines) > self._file_bytes):
            self._open_next()
        assert self._file is not None
        written = 0
        try:
            while written < len(lines):
                written += os.write(self._file, lines[written:])
        except OSError:
            # A disk that is full takes a part of a line. The lines come again, as a whole.
            os.ftruncate(self._file, self._size)
            raise
        self._size += written

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open_next(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / _part(self._name, self._number + 1)
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        self.close()
        self._file, self._size, self._number = opened, 0, self._number + 1


class ObjectStore:
    """Objects behind a URI, `<name>.000001.jsonl` and so on: an object can only be written as a whole.

    Args:
        uri: The folder, as pyarrow's `FileSystem.from_uri` takes it.
        name: The beginning of the objects' names.
        file_system: A file system of pyarrow in place of the one that the URI names; `uri` is then a path in it.
    """

    def __init__(self, uri: str, name: str, file_system: Any = None) -> None:
        self._uri = uri
        self._name = name
        self._file_system = file_system
        self._folder = uri if file_system is not None else ""
        self._number = 0

    def append(self, lines: bytes) -> None:
        if self._file_system is None:
            self._file_system, self._folder = _file_system_of(self._uri)
        path = f"{self._folder.rstrip('/')}/{_part(self._name, self._number + 1)}"
        with self._file_system.open_output_stream(path) as stream:
            stream.write(lines)
        self._number += 1

    def close(self) -> None:
        """Does nothing: each object is complete."""


def store_at(place: str, name: str) -> EventStore:
    """The store of a log; nothing is opened yet.

    Args:
        place: The path of a folder, or a URI.
        name: The log's name.
    """
    return ObjectStore(place, name) if "://" in place else FolderStore(place, name)


def _file_system_of(uri: str) -> tuple[Any, str]:
    """The file system of pyarrow that a URI names, and the path in it."""
    from pyarrow import fs  # takes 0.2 s, and only logs behind a URI need it

    parts = urlsplit(uri)
    options: dict[str, Any] = dict(parse_qsl(parts.query))
    if parts.scheme != "s3" or not options.keys() <= _S3_OPTIONS:
        found, path = fs.FileSystem.from_uri(uri)
        return found, str(path)
    if not options.keys() & {"region", "endpoint_override"}:
        options["region"] = fs.resolve_s3_region(parts.netloc)
    # The end of the process waits for calls of S3 under way. One that is not answered fails after 3 s, and is tried
    # again here; `from_uri` has a file system that goes on for 100 s.
    once = fs.AwsStandardS3RetryStrategy(max_attempts=1)
    return fs.S3FileSystem(retry_strategy=once, **options), f"{parts.netloc}{parts.path}"


def _part(name: str, number: int) -> str:
    return f"{name}.{number:06}.jsonl"
