"""Bundles and archives, unpacked so that nothing leaves the folder."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from daft_k8s.code.archives import DAMAGED, open_members
from daft_k8s.code.selection import MAX_DEPTH, is_safe_path
from daft_k8s.errors import CodeError

_BLOCK_BYTES = 1 << 20


def read_manifest(manifest: bytes, digest: str) -> list[tuple[str, str, bool]]:
    """The entries of a manifest: path, SHA-256 in hex, executable.

    Raises:
        CodeError: The bundle has another digest, or a path in it leads out of the folder.
    """
    if hashlib.sha256(manifest).hexdigest() != digest:
        raise CodeError("the list of the driver's code arrived damaged; run the query again")
    entries = [(str(path), str(content), bool(executable)) for path, content, executable in json.loads(manifest)]
    for path, _, _ in entries:
        _check_path(path, "the driver's code")
    return entries


def is_present(root: str, entries: list[tuple[str, str, bool]]) -> bool:
    """True if a folder of this machine holds all files of a manifest with the same content."""
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
    """Unpacks a zip or a tar (plain, gzip, bzip2 or xz) of another party.

    Args:
        path: The file.
        name: Its name in errors.
        folder: The destination; exists and is empty.
        size_limit_bytes: The largest size of its content.

    Raises:
        CodeError: The archive is of neither form, too large, too deep, or a path or link leads out of the folder.
    """
    total = 0
    with open_members(path, name) as members:
        for member in members:
            _check_path(member.path, name)
            if member.source is None:
                continue
            total += member.size_bytes
            if total > size_limit_bytes:
                raise CodeError(
                    f"{name} unpacks to more than code_size_limit allows ({size_limit_bytes} bytes); raise it, or "
                    "leave out what is not code"
                )
            _write(
                folder,
                member.path,
                member.source,
                executable=member.executable,
                size_limit_bytes=member.size_bytes,
            )


@contextmanager
def _zip(file: IO[bytes], name: str) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(file) as archive:
            yield archive
    except (zipfile.BadZipFile, *DAMAGED) as error:
        raise CodeError(f"{name} cannot be unpacked: {error}") from error


def _check_path(path: str, name: str) -> None:
    if not is_safe_path(path):
        raise CodeError(f"{name} holds the path {path[:200]!r}, which leads out of the folder; it is not unpacked")
    if path.count("/") >= MAX_DEPTH:
        raise CodeError(f"{name} holds a path of more than {MAX_DEPTH} folders, {path[:200]!r}; it is not unpacked")


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
