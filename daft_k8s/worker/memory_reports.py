"""Tells the driver how much memory this worker uses and holds, for those who watch the session."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Protocol

from daft_k8s.session_summary import MEMORY_CALLS
from daft_k8s.worker.driver_calls import DriverCallError, call_driver

logger = logging.getLogger(__name__)

TARGET = f"{MEMORY_CALLS}/report"
INTERVAL_SECONDS = 5.0
GRAIN_BYTES = 4 << 20
"""What changes by less is not reported: an idle worker says nothing."""


class MemoryTeller(Protocol):
    """The part of `WorkerServer` that is needed here."""

    def memory_status(self) -> str: ...


async def report_memory(server: MemoryTeller) -> None:
    """Reports until it is cancelled. One report at a time is under way: a driver that is away misses some."""
    reported: dict[str, int] = {}
    while True:
        await asyncio.sleep(INTERVAL_SECONDS)
        now = read(server.memory_status())
        if any(abs(size - reported.get(name, 0)) >= GRAIN_BYTES for name, size in now.items()):
            try:
                await call_driver(TARGET, json.dumps(now).encode())
            except DriverCallError as error:
                logger.debug("the driver did not take a report of memory: %s", error)
            reported = now


def read(status: str) -> dict[str, int]:
    """What is reported of `WorkerServer.memory_status`, in bytes."""
    told = json.loads(status)
    return {
        "resident": int(told["resident_bytes"]),
        "held": int(told["store_bytes"]),
        "spilled": int(told["spilled_bytes"]),
    }
