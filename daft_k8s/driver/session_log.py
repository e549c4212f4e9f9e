"""The event log that a configuration asks for."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import TYPE_CHECKING

from daft_k8s.config.passwords import without_passwords
from daft_k8s.observe.event_log import EventLog

if TYPE_CHECKING:
    from daft_k8s.config import Configuration


def event_log_of(configuration: Configuration, session_id: str, daft_version: str) -> EventLog | None:
    """The log of a session; None: none is wanted."""
    if configuration.event_log is None:
        return None
    from daft_k8s import __version__
    from daft_k8s.config.describe import as_dict

    versions = {
        "daft_k8s": __version__,
        "daft": daft_version,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    return EventLog(
        configuration.event_log,
        session_id=session_id,
        configuration={name: _without_passwords(value) for name, value in as_dict(configuration).items()},
        versions=versions,
    )


def _without_passwords(value: object) -> object:
    if isinstance(value, str):
        return without_passwords(value)
    if isinstance(value, Mapping):
        return {name: _without_passwords(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_passwords(item) for item in value]
    return value
