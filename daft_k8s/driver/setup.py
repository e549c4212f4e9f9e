"""The start of the extension's half of a session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from daft_k8s._native import LauncherProtocol, SessionCertificates, WorkerCall
    from daft_k8s.config import Configuration


@dataclass(frozen=True)
class DriverSetup:
    """The argument of `K8sWorkerManager`, which reads it by the names of its fields."""

    session_id: str
    token: str = field(repr=False)
    daft_version: str
    python_version: str
    """Major and minor version."""
    configuration: Configuration
    """The user's options, of which the pool takes its numbers."""
    unreachable_timeout_seconds: float
    """A worker that has not answered for this long is lost."""
    certificates: SessionCertificates | None
    """All connections are encrypted, and only with workers that have theirs; None: no encryption."""
    loop: AbstractEventLoop
    """All callbacks arrive here."""
    launcher: LauncherProtocol
    on_worker_call: Callable[[WorkerCall], None]
    on_worker_ready: Callable[[str], None]
    on_worker_lost: Callable[[str, str], None]
    """Takes the worker's id and the reason."""
