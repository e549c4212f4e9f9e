"""Signals that end what a command has started, and do not just end the command."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager

ENDING = (signal.SIGTERM, signal.SIGHUP)
"""The signals of a supervisor, and of a terminal that goes. SIGINT cancels the main task by itself."""


@contextmanager
def cancelled_by_signals() -> Iterator[None]:
    """Cancels the current task at the first such signal. Further ones are ignored, as the task is cleaning up."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    cancelled = False

    def cancel() -> None:
        nonlocal cancelled
        if task is not None and not cancelled:
            cancelled = True
            task.cancel()

    for number in ENDING:
        loop.add_signal_handler(number, cancel)
    try:
        yield
    finally:
        for number in ENDING:
            loop.remove_signal_handler(number)
