"""Zips and tars of other parties, read with a bound on everything that their headers can ask for."""

from __future__ import annotations

import bz2
import gzip
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, NamedTuple, cast

from daft_k8s.code.selection import MAX_FILES
from daft_k8s.errors import CodeError

_MAX_HEADER_BYTES = 1 << 20
"""Of one member of a tar: a path, a link and what pax records add, such as ACLs, are some KiB."""
_MAX_DIRECTORY_BYTES = 8 << 20
"""Of a zip's list of members: 400 bytes for each file that may be shipped."""
_READ_AHEAD_BYTES = 64 << 10
_MAX_MEMBERS = 2 * MAX_FILES
"""Files and folders."""
_DECOMPRESSORS = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\x00", lzma.open))
DAMAGED = (EOFError, NotImplementedError, RuntimeError, ValueError, lzma.LZMAError, zlib.error)
"""Errors that the modules for archives raise besides their own."""


class Member(NamedTuple):
    """A file or a folder of an archive."""

    path: str
    size_bytes: int = 0
    executable: bool = False
    source: IO[bytes] | None = None
    """None: a folder."""


@contextmanager
def open_members(path: str, name: str) -> Iterator[Iterator[Member]]:
    """The members of a zip or a tar (plain, gzip, bzip2 or xz), each to be read before the next.

    Args:
        path: The file.
        name: Its name in errors.

    Raises:
        CodeError: The archive is of neither form, or damaged, or has more members or longer headers than code needs.
            An error while a member is read, inside of the context, becomes one, too.
    """
    try:
        with open(path, "rb") as file:
            is_zip = zipfile.is_zipfile(file)
            file.seek(0)
            yield _counted(_zip_members(file, name) if is_zip else _tar_members(file, name), name)
    except (tarfile.TarError, zipfile.BadZipFile, OSError, *DAMAGED) as error:
        raise CodeError(f"{name} is neither a zip nor a tar that can be read: {error}") from error


def _counted(members: Iterator[Member], name: str) -> Iterator[Member]:
    files = 0
    for count, member in enumerate(members, 1):
        files += member.source is not None
        if files > MAX_FILES or count > _MAX_MEMBERS:
            raise CodeError(f"{name} holds more than {MAX_FILES} files; leave out what is not code")
        yield member


class _Bounded:
    """A file of which no more can be read than was allowed before."""

    def __init__(self, file: IO[bytes], error: CodeError) -> None:
        self._file = file
        self._error = error
        self.left = 0

    def read(self, size: int) -> bytes:
        self.left -= size
        if self.left < 0:
            raise self._error
        return self._file.read(size)


class _SmallReads:
    """A file of which no more can be read at once than the longest list of members; `zipfile` reads that in one go."""

    def __init__(self, file: IO[bytes], error: CodeError) -> None:
        self._file = file
        self._error = error

    def read(self, size: int = -1) -> bytes:
        found = self._file.read(min(size, _MAX_DIRECTORY_BYTES + 1) if size >= 0 else _MAX_DIRECTORY_BYTES + 1)
        if len(found) > _MAX_DIRECTORY_BYTES:
            raise self._error
        return found

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)


def _zip_members(file: IO[bytes], name: str) -> Iterator[Member]:
    bounded = _SmallReads(file, CodeError(f"{name} has a list of members that is longer than that of any code"))
    with zipfile.ZipFile(cast("IO[bytes]", bounded)) as archive:
        for info in archive.infolist():
            mode = info.external_attr >> 16
            if info.is_dir():
                yield Member(info.filename.rstrip("/") or "/")
                continue
            if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                raise _no_file(name, info.filename)
            # For others the module does not bound what a few bytes become in memory.
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise CodeError(f"{name} holds {info.filename}, which is neither stored nor deflated; pack it so")
            with archive.open(info) as source:
                yield Member(info.filename, info.file_size, bool(mode & stat.S_IXUSR), source)


def _tar_members(file: IO[bytes], name: str) -> Iterator[Member]:
    magic = file.read(6)
    file.seek(0)
    opener = next((opener for start, opener in _DECOMPRESSORS if magic.startswith(start)), None)
    plain = file if opener is None else opener(file)
    error = CodeError(f"{name} holds a member with a header of more than {_MAX_HEADER_BYTES} bytes; it is not unpacked")
    bounded = _Bounded(cast("IO[bytes]", plain), error)
    bounded.left = _MAX_HEADER_BYTES
    # A stream: it goes through nothing twice, and skips nothing without reading it.
    with tarfile.open(fileobj=cast("IO[bytes]", bounded), mode="r|") as archive:
        for info in archive:
            if info.isdir():
                if info.name.strip("./"):
                    yield Member(info.name)
            else:
                source = archive.extractfile(info) if info.isreg() else None
                if source is None:
                    raise _no_file(name, info.name)
                bounded.left = info.size + _READ_AHEAD_BYTES
                yield Member(info.name.removeprefix("./"), info.size, bool(info.mode & stat.S_IXUSR), source)
            bounded.left = _MAX_HEADER_BYTES


def _no_file(name: str, member: str) -> CodeError:
    return CodeError(
        f"{name} holds {member}, which is a link or a device; it is not unpacked, as links may lead out of the folder. "
        "Pack the file itself in its place"
    )
