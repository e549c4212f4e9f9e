"""A task's reference to the driver's code that it needs."""

from __future__ import annotations

from dataclasses import dataclass

CHUNK_BYTES = 512 << 10
"""Bytes in one answer of the driver: well below the least `max_message_bytes`."""


@dataclass(frozen=True)
class CodeReference:
    """Names code by its content; travels with every task that is sent to a worker which may lack it."""

    digest: str
    """SHA-256 of the manifest, in hex; "": nothing travels, the code is in the worker's image at `root`."""
    root: str
    """The folder on the driver's side."""
    archive_bytes: int
    """Size of the bundle that a worker without it fetches."""
    is_working_dir: bool
    """True if the bundle holds all files of a `working_dir`. A worker with a disk of its own then makes the unpacked
    folder its current one, so that code finds the files beside it."""
    in_place: bool = True
    """A worker that has the same content at `root` uses it there. Not where that is the driver's own disk: what is
    changed there while the session lasts would reach some tasks and not others."""
