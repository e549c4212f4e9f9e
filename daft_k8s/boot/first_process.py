"""The duties of a container's first process: it passes signals on and reaps orphans.

Workers' Pods and those of `daft-k8s run` have commands of their own, whatever entry point their image has, so no init
stands before them. The first process gets no signal for which it has no handler: a script would not end when it is told
to. And what UDFs and actors leave behind becomes its child: unless it waits for these, each stays in the process table,
which has a limit.
"""

from __future__ import annotations

import os
import signal

_FIRST = 1
_SIGNALLED = 128
_PASSED_ON = {
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
}


def stand_before() -> int | None:
    """Forks, if this is a container's first process, and stands by until the child has ended.

    Returns:
        None in the process that is to do the work; else the container's exit code.
    """
    return _fork_and_stand_by() if os.getpid() == _FIRST else None


def _fork_and_stand_by() -> int | None:
    # Blocked before the fork, they wait for `sigwait`: none is missed, and none meets a process half made.
    awaited = {signal.SIGCHLD, *_PASSED_ON}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return None
    while True:
        arrived = signal.sigwait(awaited)
        if arrived != signal.SIGCHLD:
            os.kill(child, arrived)  # it is there until it has been waited for, below
            continue
        status = _wait_for_all(child)
        if status is not None:
            return os.WEXITSTATUS(status) if os.WIFEXITED(status) else _SIGNALLED + os.WTERMSIG(status)


def _wait_for_all(child: int) -> int | None:
    """Reaps all processes that have ended; returns the child's status, if it was one of them."""
    found = None
    while True:
        try:
            ended, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if ended == 0:
            return found
        if ended == child:
            found = status
