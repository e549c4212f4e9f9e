"""Signals that end what a command has started, and do not just end the command."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager

ENDING = (signal.SIGTERM, signal.SIGHUP)
"""The signals of a supervisor, and of a terminal that goes."""


@contextmanager
def cancelled_by_signals(*others: signal.Signals) -> Iterator[None]:
    """Cancels the current task at the first signal that ends a process. Further ones are ignored: the task cleans up.

    SIGHUP stays ignored if the process ignores it (`nohup`). SIGINT does not: a shell's background ignores it, and who
    sends it to a command there means that command.

    Args:
        others: Signals that cancel the task beside SIGTERM and SIGHUP.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    is_detached = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    numbers = [number for number in (*ENDING, *others) if number != signal.SIGHUP or not is_detached]
    cancelled = False

    def cancel() -> None:
        nonlocal cancelled
        if task is not None and not cancelled:
            cancelled = True
            task.cancel()

    for number in numbers:
        loop.add_signal_handler(number, cancel)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
