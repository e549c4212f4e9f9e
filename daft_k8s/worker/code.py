"""The driver's code on this worker: found in the image, or fetched once over the driver's own connection."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import IO, Protocol

from daft_k8s.code.search_path import with_entries_of
from daft_k8s.code.unpack import is_present, read_manifest, unpack_bundle
from daft_k8s.errors import CodeError
from daft_k8s.handles.driver_calls import DriverCallError, call_driver
from daft_k8s.wire.calls import DriverCall, FetchCodeChunk, FetchCodeManifest, Reply
from daft_k8s.wire.code_reference import CHUNK_BYTES, CodeReference

logger = logging.getLogger(__name__)

WORKING_DIR = "DAFT_WORKING_DIR"
"""The variable that tells UDFs, and programs that they start, where the copy of `working_dir` is."""

_CALLS_AHEAD = 8
"""Chunks asked for at once: enough to fill a connection with some latency, and a few MB of memory."""


class Call(Protocol):
    """The form of `call_driver`."""

    async def __call__(self, request: DriverCall[Reply]) -> Reply: ...


class WorkerCode:
    """Brings code here and makes it importable, each content once. Used on one event loop.

    Args:
        folder: The folder for fetched code; the worker removes it at its end.
        call: The call of the driver.
    """

    def __init__(self, folder: str, call: Call = call_driver) -> None:
        self._folder = folder
        self._call = call
        self._arrivals: dict[CodeReference, asyncio.Task[str]] = {}
        self.root = ""
        """The driver's folder whose code was brought here last; "": none."""

    async def ensure(self, reference: CodeReference | None, search_path: Sequence[str] = ()) -> str | None:
        """Returns when the code can be imported.

        Args:
            reference: The driver's code; None: there is none.
            search_path: The driver's search path, of which what this process lacks is added to its own.

        Returns:
            The worker's copy of a `working_dir`; None if the code is none.

        Raises:
            CodeError: The code cannot be fetched; the next task tries again.
        """
        if not set(search_path) <= set(sys.path):
            sys.path[:] = with_entries_of(sys.path, search_path)
            importlib.invalidate_caches()
        if reference is None:
            return None
        arrival = self._arrivals.get(reference)
        if arrival is None or (arrival.done() and (arrival.cancelled() or arrival.exception() is not None)):
            arrival = self._arrivals[reference] = asyncio.ensure_future(self._bring(reference))
        # Shielded: one task's cancellation must not take the code from the others.
        root = await asyncio.shield(arrival)
        return root if reference.is_working_dir else None

    async def _bring(self, reference: CodeReference) -> str:
        begin = time.monotonic()
        if not reference.digest:
            if not os.path.isdir(reference.root):
                raise CodeError(
                    f"working_dir is local://{reference.root}, and this worker's image has no such folder; bake it "
                    "into the image, or set working_dir to a folder of the driver's, which is shipped"
                )
            root, how = reference.root, "of the image"
        else:
            root, how = await self._find_or_fetch(reference)
        make_importable(root)
        if reference.is_working_dir:
            os.environ[WORKING_DIR] = root
        self.root = reference.root
        logger.info("uses the driver's code of %s, %s (%.2f s)", reference.root, how, time.monotonic() - begin)
        return root

    async def _find_or_fetch(self, reference: CodeReference) -> tuple[str, str]:
        try:
            manifest = (await self._call(FetchCodeManifest(reference.digest))).data
        except DriverCallError as error:
            raise CodeError(f"the driver's code did not arrive: {error}") from error
        entries = await asyncio.to_thread(read_manifest, manifest, reference.digest)
        if reference.in_place and await asyncio.to_thread(is_present, reference.root, entries):
            return reference.root, f"{len(entries)} files that are here already"
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        target = tempfile.mkdtemp(prefix=f"{reference.digest[:16]}-", dir=self._folder)
        try:
            with tempfile.TemporaryFile(dir=self._folder) as archive:
                await self._fetch(reference, archive)
                await asyncio.to_thread(unpack_bundle, archive, entries, target)
        except BaseException:
            # The next task tries again, and a disk that was full would never have room for it.
            await asyncio.to_thread(shutil.rmtree, target, ignore_errors=True)
            raise
        return target, f"{len(entries)} files, {reference.archive_bytes >> 10} KiB fetched"

    async def _fetch(self, reference: CodeReference, archive: IO[bytes]) -> None:
        free = asyncio.Semaphore(_CALLS_AHEAD)

        async def fetch(offset: int) -> None:
            async with free:
                chunk = (await self._call(FetchCodeChunk(reference.digest, offset))).data
                if len(chunk) != min(CHUNK_BYTES, reference.archive_bytes - offset):
                    raise CodeError("a piece of the driver's code arrived incomplete; run the query again")
                archive.seek(offset)
                archive.write(chunk)

        pieces = [asyncio.ensure_future(fetch(at)) for at in range(0, reference.archive_bytes, CHUNK_BYTES)]
        try:
            await asyncio.gather(*pieces)
        except DriverCallError as error:
            raise CodeError(f"the driver's code did not arrive: {error}") from error
        finally:
            for piece in pieces:
                piece.cancel()
        archive.seek(0)


def make_importable(root: str) -> None:
    """Lets this process, its actors and its forked children import from a folder ahead of everything else.

    Other programs that UDFs start find it in no variable: what is named like a module of Python's would break them.
    """
    if root in sys.path:
        sys.path.remove(root)
    sys.path.insert(0, root)
    importlib.invalidate_caches()
