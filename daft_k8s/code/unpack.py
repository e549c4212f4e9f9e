"""Bundles and archives, unpacked so that nothing leaves the folder."""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from daft_k8s.code.selection import is_safe_path
from daft_k8s.errors import CodeError

_BLOCK_BYTES = 1 << 20
_DAMAGED = (EOFError, NotImplementedError, RuntimeError, ValueError, lzma.LZMAError, zlib.error)
"""What the modules for archives raise besides their own errors."""


def read_manifest(manifest: bytes, digest: str) -> list[tuple[str, str, bool]]:
    """The entries of a manifest: path, SHA-256 in hex, executable.

    Raises:
        CodeError: It is not the one with this digest, or a path in it leads out of the folder.
    """
    if hashlib.sha256(manifest).hexdigest() != digest:
        raise CodeError("the list of the driver's code arrived damaged; run the query again")
    entries = [(str(path), str(content), bool(executable)) for path, content, executable in json.loads(manifest)]
    for path, _, _ in entries:
        _check_path(path, "the driver's code")
    return entries


def is_present(root: str, entries: list[tuple[str, str, bool]]) -> bool:
    """Whether a folder of this machine holds all files of a manifest with the same content."""
    if not os.path.isdir(root):
        return False
    for path, content, _ in entries:
        found = hashlib.sha256()
        try:
            with open(os.path.join(root, path), "rb") as file:
                while block := file.read(_BLOCK_BYTES):
                    found.update(block)
        except OSError:
            return False
        if found.hexdigest() != content:
            return False
    return True


def unpack_bundle(archive: IO[bytes], entries: list[tuple[str, str, bool]], folder: str) -> None:
    """Unpacks the archive of a bundle; each file must be what its manifest says.

    Raises:
        CodeError: The archive is damaged or holds something else.
    """
    expected = {path: (content, executable) for path, content, executable in entries}
    with _zip(archive, "the driver's code") as opened:
        for info in opened.infolist():
            content, executable = expected.pop(info.filename, ("", False))
            source = io.BytesIO(opened.read(info))  # in pieces, what is stored plainly comes by 4 KiB
            written = _write(folder, info.filename, source, executable=executable)
            if written != content:
                raise CodeError(f"the driver's code arrived damaged: {info.filename}; run the query again")
    if expected:
        raise CodeError(f"the driver's code arrived without {', '.join(sorted(expected)[:3])}; run the query again")


def unpack_archive(path: str, name: str, folder: str, *, size_limit_bytes: int) -> None:
    """Unpacks a zip or a tar (plain, gzip, bzip2 or xz) that somebody else made.

    Args:
        path: The file.
        name: What to call it in errors.
        folder: Where to; exists and is empty.
        size_limit_bytes: What may be in it.

    Raises:
        CodeError: It is of neither form, too large, or holds a path or a link that leads out of the folder.
    """
    total = 0
    members = _zip_members(path, name) if zipfile.is_zipfile(path) else _tar_members(path, name)
    for member, size_bytes, executable, source in members:
        _check_path(member, name)
        total += size_bytes
        if total > size_limit_bytes:
            raise CodeError(
                f"{name} unpacks to more than code_size_limit allows ({size_limit_bytes} bytes); raise it, or leave "
                "out what is not code"
            )
        _write(folder, member, source, executable=executable, size_limit_bytes=size_bytes)


def _zip_members(path: str, name: str) -> Iterator[tuple[str, int, bool, IO[bytes]]]:
    with open(path, "rb") as file, _zip(file, name) as archive:
        for info in archive.infolist():
            mode = info.external_attr >> 16
            if info.is_dir():
                _check_path(info.filename.rstrip("/") or "/", name)
                continue
            if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                raise _no_file(name, info.filename)
            with archive.open(info) as source:
                yield info.filename, info.file_size, bool(mode & stat.S_IXUSR), source


def _tar_members(path: str, name: str) -> Iterator[tuple[str, int, bool, IO[bytes]]]:
    try:
        with tarfile.open(path) as archive:
            for info in archive:
                if info.isdir():
                    if info.name.strip("./"):
                        _check_path(info.name, name)
                    continue
                source = archive.extractfile(info) if info.isreg() else None
                if source is None:
                    raise _no_file(name, info.name)
                yield info.name.removeprefix("./"), info.size, bool(info.mode & stat.S_IXUSR), source
    except (tarfile.TarError, *_DAMAGED) as error:
        raise CodeError(f"{name} is neither a zip nor a tar that can be read: {error}") from error


@contextmanager
def _zip(file: IO[bytes], name: str) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(file) as archive:
            yield archive
    except (zipfile.BadZipFile, *_DAMAGED) as error:
        raise CodeError(f"{name} cannot be unpacked: {error}") from error


def _no_file(name: str, member: str) -> CodeError:
    return CodeError(
        f"{name} holds {member}, which is a link or a device; it is not unpacked, as links may lead out of the folder. "
        "Pack the file itself in its place"
    )


def _check_path(path: str, name: str) -> None:
    if not is_safe_path(path):
        raise CodeError(f"{name} holds the path {path!r}, which leads out of the folder; it is not unpacked")


def _create(target: Path) -> IO[bytes]:
    try:
        return open(target, "xb")
    except FileNotFoundError:  # the first file of its folder
        target.parent.mkdir(parents=True, exist_ok=True)
        return open(target, "xb")


def _write(folder: str, path: str, source: IO[bytes], *, executable: bool, size_limit_bytes: int | None = None) -> str:
    """Writes a file and returns the SHA-256 of its content in hex."""
    _check_path(path, "the archive")
    target = Path(folder, path)
    found = hashlib.sha256()
    left = size_limit_bytes
    try:
        with _create(target) as file:
            while block := source.read(_BLOCK_BYTES):
                if left is not None:
                    left -= len(block)
                    if left < 0:
                        raise CodeError(f"{path} unpacks to more than the archive says; it is damaged")
                found.update(block)
                file.write(block)
            if executable:
                os.fchmod(file.fileno(), 0o755)
    except OSError as error:
        raise CodeError(f"{path} cannot be unpacked to {folder}: {error}") from error
    return found.hexdigest()
