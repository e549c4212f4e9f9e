"""The meaning of a worker process's exit code, as a text for people."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from daft_k8s.wire import exit_codes

if TYPE_CHECKING:
    from daft_k8s.pool_news import ExitCause

_MEANINGS = {
    exit_codes.STOPPED: "it stopped by request",
    1: "an uncaught error, or code of a UDF ended the process",
    **exit_codes.MEANINGS,
    128 + signal.SIGTERM: "it got two requests to stop",
}
_FATAL_SIGNALS = {
    signal.SIGKILL: "often the kernel's out-of-memory killer",
    signal.SIGSEGV: "a crash in native code",
    signal.SIGBUS: "a crash in native code, or a full disk under mapped memory",
    signal.SIGABRT: "native code gave up",
    signal.SIGILL: "a CPU without the instructions that Daft's wheel needs; daft-lts has none of them",
}

_TOLD_TO_STOP = (exit_codes.STOPPED, -signal.SIGTERM, 128 + signal.SIGTERM, -signal.SIGHUP, -signal.SIGINT)
"""Ends that a service manager, a batch system or a person at a shell asks for. A worker that could drain ends with 0.
SIGKILL is not among them: the kernel's out-of-memory killer uses it, and a task may be to blame for that."""


def describe_exit(returncode: int) -> str:
    """Says how a process ended, from `Popen.returncode`."""
    if returncode < 0:
        try:
            number = signal.Signals(-returncode)
        except ValueError:
            return f"was killed by signal {-returncode}"
        hint = _FATAL_SIGNALS.get(number)
        return f"was killed by signal {-returncode} ({number.name}{', ' + hint if hint else ''})"
    meaning = _MEANINGS.get(returncode)
    return f"exited with code {returncode}" + (f" ({meaning})" if meaning else "")


def is_restartable(returncode: int) -> bool:
    """True if another process with the same settings may do better."""
    return returncode not in exit_codes.NOT_RESTARTABLE


def cause_of_exit(returncode: int, *, was_ready: bool, was_told_to_stop: bool, memory_kills: int) -> ExitCause:
    """Classifies the end of a worker process.

    Args:
        returncode: `Popen.returncode`.
        was_ready: True if it could take tasks by then.
        was_told_to_stop: True if its launcher asked for it.
        memory_kills: Processes that the kernel killed for memory while this one lived.
    """
    if was_told_to_stop:
        return "stopped"
    if returncode == -signal.SIGKILL and memory_kills > 0:
        return "oom"
    if not was_ready or not is_restartable(returncode):
        return "never_started"
    if returncode in _TOLD_TO_STOP:
        return "infrastructure"
    return "crash"
