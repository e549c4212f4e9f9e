"""A bundle: the content of a folder at one moment, named by its content."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass

from daft_k8s.code.selection import SelectedFile
from daft_k8s.errors import CodeError
from daft_k8s.wire.code_reference import CHUNK_BYTES, CodeReference

_DEFLATED_SUFFIXES = (".py", ".pyi", ".txt", ".json", ".jsonl", ".csv", ".sql", ".toml", ".yaml", ".yml", ".md", ".xml")
"""Files worth deflating. For all others, deflating costs time and saves nothing."""
_DEFLATE_LEVEL = 1
_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class CodeBundle:
    """The shipped files. Kept in memory, so that all workers get the same content even if a file changes later."""

    root: str
    """The folder that it was made from."""
    digest: str
    """SHA-256 of the manifest, in hex."""
    manifest: bytes
    """JSON: a list of (path, SHA-256 in hex, executable), sorted by path."""
    archive: bytes
    """The files as a zip."""
    num_files: int
    size_bytes: int
    """Of the files themselves."""

    def reference(self, *, is_working_dir: bool, in_place: bool = True) -> CodeReference:
        return CodeReference(self.digest, self.root, len(self.archive), is_working_dir, in_place)

    def chunk(self, offset: int) -> bytes:
        """A piece of the archive."""
        return self.archive[offset : offset + CHUNK_BYTES]


def make_bundle(root: str, files: Sequence[SelectedFile], *, size_limit_bytes: int, deflate: bool = True) -> CodeBundle:
    """Reads the files and packs them.

    Args:
        root: Their folder.
        files: The files to pack.
        size_limit_bytes: The largest size of all of them.
        deflate: Make text smaller, for a way that is slower than the processor.

    Raises:
        CodeError: A file cannot be read, or grew above the limit meanwhile.
    """
    entries: list[tuple[str, str, bool]] = []
    packed = io.BytesIO()
    size_bytes = 0
    with zipfile.ZipFile(packed, "w", compresslevel=_DEFLATE_LEVEL) as archive:
        for file in files:
            try:
                with open(file.source, "rb") as opened:
                    content = opened.read(size_limit_bytes - size_bytes + 1)
                    executable = bool(os.fstat(opened.fileno()).st_mode & stat.S_IXUSR)
            except OSError as error:
                raise CodeError(f"the code to ship to the workers cannot be read: {error}") from error
            size_bytes += len(content)
            if size_bytes > size_limit_bytes:
                raise CodeError(f"{file.source} grew while it was read, above code_size_limit; raise that")
            entries.append((file.path, hashlib.sha256(content).hexdigest(), executable))
            info = zipfile.ZipInfo(file.path, _DATE)
            shrinks = deflate and file.path.endswith(_DEFLATED_SUFFIXES)
            info.compress_type = zipfile.ZIP_DEFLATED if shrinks else zipfile.ZIP_STORED
            archive.writestr(info, content)
    manifest = json.dumps(entries, separators=(",", ":")).encode()
    digest = hashlib.sha256(manifest).hexdigest()
    return CodeBundle(root, digest, manifest, packed.getvalue(), len(entries), size_bytes)
