"""The driver's code, chosen and packed when a session begins, and handed to the workers that ask."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import tempfile
from typing import TYPE_CHECKING

from daft_k8s.code.bundle import CodeBundle, make_bundle
from daft_k8s.code.roots import script_folder
from daft_k8s.code.selection import select_files
from daft_k8s.code.unpack import unpack_archive
from daft_k8s.errors import CodeError
from daft_k8s.kube.client.in_cluster import is_in_cluster
from daft_k8s.wire.calls import CodeChunk, CodeManifest, FetchCodeChunk, FetchCodeManifest
from daft_k8s.wire.code_reference import CodeReference

if TYPE_CHECKING:
    import daft

    from daft_k8s.config import Configuration

logger = logging.getLogger("daft_k8s")

_BAKED_IN = "local://"
_DIGEST_MARK = "#sha256="
_COPY_BYTES = 4 << 20


class CodeShipment:
    """The code that the tasks of a session need. Thread-safe: nothing of it changes.

    Args:
        bundle: The code for workers that lack it; None: none is sent.
        reference: The reference of the code that tasks need; None: none.
    """

    def __init__(self, bundle: CodeBundle | None = None, reference: CodeReference | None = None) -> None:
        self._bundle = bundle
        self.reference = reference

    def manifest(self, _worker_id: str, request: FetchCodeManifest) -> CodeManifest:
        """The list of files, for a worker that may lack them."""
        return CodeManifest(self._find(request.digest).manifest)

    def chunk(self, _worker_id: str, request: FetchCodeChunk) -> CodeChunk:
        """A piece of the archive, for a worker that lacks the files."""
        return CodeChunk(self._find(request.digest).chunk(request.offset))

    def _find(self, digest: str) -> CodeBundle:
        bundle = self._bundle
        if bundle is None or digest != bundle.digest:
            raise LookupError(f"this driver has no code with the digest {digest}")
        return bundle


def prepare_code(configuration: Configuration) -> CodeShipment:
    """Chooses and packs the code that workers need.

    Raises:
        CodeError: The code cannot be read, is too large, or leads out of its folder.
    """
    wanted = configuration.working_dir
    if wanted == "none":
        return CodeShipment()
    if wanted == "auto":
        return _prepare_script_folder(configuration)
    if wanted.startswith(_BAKED_IN):
        folder = wanted.removeprefix(_BAKED_IN)
        return CodeShipment(None, CodeReference("", folder, 0, is_working_dir=True))
    if os.path.isdir(wanted):
        return _ship_folder(wanted, configuration, shown=wanted)
    with tempfile.TemporaryDirectory(prefix="daft-code-") as work:
        archive = wanted
        if "://" in wanted:
            archive = os.path.join(work, "archive")
            _download(wanted, archive, configuration.code_size_limit_bytes)
        elif not os.path.isfile(wanted):
            raise CodeError(f"working_dir {wanted} is neither a folder nor an archive; nothing is there")
        folder = os.path.join(work, "folder")
        os.mkdir(folder)
        unpack_archive(archive, wanted, folder, size_limit_bytes=configuration.code_size_limit_bytes)
        return _ship_folder(folder, configuration, shown=wanted)


def _prepare_script_folder(configuration: Configuration) -> CodeShipment:
    if configuration.allocation == "local":
        return CodeShipment()  # local workers get the driver's search path
    found = script_folder()
    if found is None:
        return CodeShipment()
    limit = configuration.code_size_limit_bytes
    files = select_files(found.path, modules_only=True, size_limit_bytes=limit, shallow=found.shallow)
    if not files:
        return CodeShipment()
    bundle = make_bundle(found.path, files, size_limit_bytes=limit, deflate=_is_far(configuration))
    logger.info(
        "ships %d modules (%d KiB) of %s to workers that lack them", len(files), bundle.size_bytes >> 10, found.path
    )
    return CodeShipment(bundle, bundle.reference(is_working_dir=False))


def _ship_folder(folder: str, configuration: Configuration, *, shown: str) -> CodeShipment:
    limit = configuration.code_size_limit_bytes
    files = select_files(folder, modules_only=False, size_limit_bytes=limit)
    bundle = make_bundle(shown, files, size_limit_bytes=limit, deflate=_is_far(configuration))
    logger.info("ships %d files (%d KiB) of %s to workers that lack them", len(files), bundle.size_bytes >> 10, shown)
    in_place = configuration.allocation != "local"  # a Pod's disk is not the driver's
    return CodeShipment(bundle, bundle.reference(is_working_dir=True, in_place=in_place))


def _is_far(configuration: Configuration) -> bool:
    """True if the line to the workers is slower than deflating: 50 MiB take most of a second of CPU."""
    return configuration.allocation != "local" and not is_in_cluster()


def _split_digest(uri: str) -> tuple[str, str]:
    """The URI without its `#sha256=`, and that digest in lower case; "": none is demanded.

    Raises:
        CodeError: The digest is none, or is missing where a machine on the way could put another archive in its place.
    """
    address, mark, digest = uri.partition(_DIGEST_MARK)
    if mark and not re.fullmatch("[0-9a-fA-F]{64}", digest):
        raise CodeError(f"working_dir {uri}: {_DIGEST_MARK} takes the 64 hex digits of a SHA-256")
    if not mark and uri.lower().startswith("http://"):
        raise CodeError(
            f"working_dir {uri} comes over plain HTTP, where anyone on the way can put other code in its place; "
            f"use https://, or add the archive's digest: {uri}{_DIGEST_MARK}…"
        )
    return address, digest.lower()


def _download(uri: str, path: str, size_limit_bytes: int) -> None:
    """Gets an archive with Daft's own readers, so with the credentials that Daft uses.

    Raises:
        CodeError: The archive cannot be read, exceeds the limit, or has not the digest in the URI.
    """
    import daft

    address, wanted = _split_digest(uri)
    digest = ""
    try:
        file = daft.File(address)
        size_bytes = file.size()
        if size_bytes <= size_limit_bytes:
            size_bytes, digest = _copy(file, path, size_limit_bytes)
    except Exception as error:  # whatever Daft's many readers raise
        raise CodeError(f"working_dir {uri} cannot be read: {error}") from error
    if size_bytes > size_limit_bytes:
        raise CodeError(
            f"working_dir {uri} has more bytes than code_size_limit allows ({size_limit_bytes}); raise it, or leave "
            "out what is not code"
        )
    if wanted and digest != wanted:
        raise CodeError(f"working_dir {uri} has another digest: {digest}; it is not used")


def _copy(file: daft.File, path: str, size_limit_bytes: int) -> tuple[int, str]:
    """Writes a file's bytes, one beyond the limit at most; returns how many, and their SHA-256 in hex."""
    found, size_bytes = hashlib.sha256(), 0
    with file.open() as source, open(path, "wb") as target:
        while block := source.read(min(_COPY_BYTES, size_limit_bytes + 1 - size_bytes)):
            size_bytes += len(block)
            found.update(block)
            target.write(block)
    return size_bytes, found.hexdigest()
