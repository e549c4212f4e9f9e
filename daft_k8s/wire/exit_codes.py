"""The exit codes of the worker process, which the allocators explain to people."""

from __future__ import annotations

STOPPED = 0
"""Drained, by the driver's or the allocator's wish or because the driver is gone."""
START_FAILED = 70
"""An error at start, e.g. the extension or Daft cannot be imported, or a port is taken."""
BAD_SETTINGS = 78
"""The environment variables are wrong."""

NOT_RESTARTABLE = frozenset({START_FAILED, BAD_SETTINGS})
"""Another process with the same settings would end in the same way."""

MEANINGS = {
    START_FAILED: "it could not start",
    BAD_SETTINGS: "its settings are wrong",
}
