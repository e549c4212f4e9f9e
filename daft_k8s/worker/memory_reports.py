"""Reports to the driver the memory that this worker uses and holds, for the session's summary."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from typing import TYPE_CHECKING, Protocol

from daft_k8s.handles.driver_calls import DriverCallError, call_driver
from daft_k8s.wire.calls import ReportMemory

if TYPE_CHECKING:
    from daft_k8s._native import MemorySnapshot

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 5.0
GRAIN_BYTES = 4 << 20
"""Changes below this are not reported, so that an idle worker sends nothing."""


class MemoryTeller(Protocol):
    """The part of `WorkerServer` that is needed here."""

    def memory_status(self) -> MemorySnapshot: ...


async def report_memory(server: MemoryTeller) -> None:
    """Reports until it is cancelled. One report at a time is under way: a driver that is away misses some."""
    reported = ReportMemory()
    while True:
        await asyncio.sleep(INTERVAL_SECONDS)
        memory = server.memory_status()
        now = ReportMemory(memory.resident_bytes, memory.store_bytes, memory.spilled_bytes)
        sizes = zip(dataclasses.astuple(now), dataclasses.astuple(reported), strict=True)
        if any(abs(size - before) >= GRAIN_BYTES for size, before in sizes):
            try:
                await call_driver(now)
            except DriverCallError as error:
                logger.debug("the driver did not take a report of memory: %s", error)
            reported = now
