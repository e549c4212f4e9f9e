"""Exit codes of the worker process: a contract with the allocators, which explain them to people."""

from __future__ import annotations

STOPPED = 0
"""Drained, by the driver's or the allocator's wish or because the driver is gone."""
START_FAILED = 70
"""An error at start, e.g. the extension or Daft cannot be imported, or a port is taken."""
BAD_SETTINGS = 78
"""The environment variables are wrong; starting it again would change nothing."""
