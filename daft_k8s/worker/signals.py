"""The signals of a worker, and of the processes that its UDFs start."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

_HANDLED = frozenset({signal.SIGTERM, signal.SIGINT})
"""The signals for which a worker has handlers."""

_masks = threading.local()


def ignore_interrupts() -> None:
    """Makes SIGINT do nothing: Ctrl-C is for the driver, which then tells its workers.

    The handler is a function. Programs that UDFs start would inherit a blocked or an ignored signal, and then no
    `timeout -s INT` would end them. A handler is reset in each program that is started.

    Daft's executor installs a handler of its own when it runs first, and cancels everything on SIGINT. It does so only
    once, so this must be called again afterwards.
    """
    signal.signal(signal.SIGINT, _do_nothing)


def release_forked_children() -> None:
    """Gives processes that UDFs fork, as `multiprocessing` does, the signals with which Python starts.

    They inherit the worker's handlers, which have no effect for them, and the descriptor that wakes up the worker's
    event loop. So a signal to a child would stop the worker.
    """
    os.register_at_fork(before=_block, after_in_parent=_unblock, after_in_child=_reset)


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    pass


def _block() -> None:
    # Until the child has its own handlers, a signal for it would reach the worker.
    _masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _masks.before)


def _reset() -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _unblock()
