"""SIGTERM and SIGHUP end the driver through Python, so that its workers end with it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
"""Kubernetes and systemd stop a driver with SIGTERM; a terminal or an ssh connection that closes sends SIGHUP."""

_SIGNALLED = 128
"""A shell reports 128 and the signal's number for a process that a signal ended."""

_postponing = False
"""True while `signals_postponed` is under way in the main thread."""
_postponed: list[int] = []
"""The signals that came meanwhile."""


def exit_on_signals() -> None:
    """Turns SIGTERM and SIGHUP into SystemExit, except those that the user handles or ignores (`nohup`).

    Without a handler the process ends at once, and its workers only when they miss their driver. Pods, Secret and Lease
    of a driver outside the cluster stay until they are swept. Does nothing outside the main thread, as Python allows
    handlers only there.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    process_id = os.getpid()

    def handle(number: int, _frame: FrameType | None) -> None:
        if os.getpid() != process_id:
            # A forked child owns no workers: it ends as it would have without us.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        _exit(number)

    for number in _SIGNALS:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, handle)


def _exit(number: int) -> None:
    if not _postponing:
        raise SystemExit(_SIGNALLED + number)
    _postponed.append(number)


@contextmanager
def signals_postponed(*, exits: bool) -> Iterator[None]:
    """Lets a clean-up end before a signal ends the driver. Ctrl-C is raised afterwards, unless the user handles it.

    Signals come in pairs: a shell that ends and its terminal each send SIGHUP, systemd sends SIGTERM and SIGHUP, and
    people press Ctrl-C twice. The second one must not break off the clean-up that the first one began.

    Args:
        exits: True if the process ends after the block in any case; a signal then changes nothing.
    """
    global _postponing
    if _postponing or threading.current_thread() is not threading.main_thread():
        yield
        return
    _postponing = True
    _postponed.clear()
    takes_ctrl_c = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if takes_ctrl_c:
        signal.signal(signal.SIGINT, lambda number, _frame: _postponed.append(number))
    try:
        yield
    finally:
        if takes_ctrl_c:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        _postponing = False
    if not _postponed or exits:
        return
    if _postponed[0] == signal.SIGINT:
        raise KeyboardInterrupt
    _exit(_postponed[0])
