"""SIGTERM ends the driver through Python, so that its workers end with it."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

EXIT_CODE = 128 + signal.SIGTERM
"""What a shell reports for a process that SIGTERM ended."""


def exit_on_sigterm() -> None:
    """Turns SIGTERM into SystemExit, unless the user handles the signal or another thread asks.

    Without a handler the process ends at once, and its workers only when they miss it. Kubernetes
    stops a Pod with SIGTERM, so that would be the usual end of a driver there.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return
    process_id = os.getpid()

    def handle(_number: int, _frame: FrameType | None) -> None:
        if os.getpid() != process_id:
            # A forked child owns no workers: it ends as it would have without us.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
            return
        raise SystemExit(EXIT_CODE)

    signal.signal(signal.SIGTERM, handle)
