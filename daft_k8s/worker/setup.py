"""The start of the extension's half of a worker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from daft_k8s._native import ActorCommand, TaskCommand
    from daft_k8s.wire.worker_settings import WorkerSettings


@dataclass(frozen=True)
class WorkerSetup:
    """The argument of `WorkerServer`, which reads it by the names of its fields."""

    settings: WorkerSettings
    daft_version: str
    python_version: str
    """Major and minor version."""
    loop: AbstractEventLoop
    """All callbacks arrive here."""
    on_task: Callable[[TaskCommand], None]
    on_cancel: Callable[[str], None]
    """Takes the task's key."""
    on_stop: Callable[[str], None]
    """Takes the reason: a drain call, or a driver that has not called for `orphan_timeout_seconds`."""
    on_end_query: Callable[[str], None]
    on_actor: Callable[[ActorCommand], None]
