"""The environment variables that make Daft a worker's engine, which are there only while Daft reads them."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager

_HIDDEN = ("RAY_ADDRESS", "RAY_JOB_ID", "DAFT_DASHBOARD_ENABLED")
"""Daft would take them for a cluster of Ray's to use, or begin a dashboard of its own."""

_WORKER = "DAFT_FLOTILLA_WORKER"
_PROCESS_MONITOR = "DAFT_PROCESS_MONITOR_ENABLED"


@contextmanager
def daft_variables(environment: MutableMapping[str, str], *, memory_bytes: int | None = None) -> Iterator[None]:
    """Sets the variables; afterwards the environment is as before, as UDFs and their programs shall see it.

    The block must import Daft, choose its runner, and run a first plan if `memory_bytes` is given. Daft reads each of
    the variables once, at the latest then; but it names the process in its process metrics for each plan anew.

    Args:
        environment: The process's environment.
        memory_bytes: Memory for Daft's executor; None: no executor runs in this process.
    """
    wanted: dict[str, str | None] = {**dict.fromkeys(_HIDDEN), "DAFT_RUNNER": "native", _WORKER: "1"}
    if memory_bytes is not None:
        wanted["DAFT_MEMORY_LIMIT"] = str(memory_bytes)
    before = {name: environment.get(name) for name in wanted}
    _set(environment, wanted)
    try:
        yield
    finally:
        if _PROCESS_MONITOR in environment:
            del before[_WORKER]
        _set(environment, before)


def _set(environment: MutableMapping[str, str], values: dict[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            environment.pop(name, None)
        else:
            environment[name] = value
