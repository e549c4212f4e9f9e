"""The processes that a process has started, and their end.

Linux tells of them in /proc; elsewhere `ps` does.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Collection
from typing import NamedTuple

_ZOMBIE = "Z"
_POLL_SECONDS = 0.01
_KILL_SECONDS = 2.0
"""Longest that the end of killed processes may take: the kernel frees their memory first."""


class Entry(NamedTuple):
    """One running process."""

    pid: int
    parent: int
    session: int
    """The id of the process that made the session; where there is no /proc, of the one that leads the group."""


def running() -> list[Entry]:
    """All processes of this machine that have not ended, as far as this user may see them."""
    return _of_proc() if os.path.isdir("/proc/self") else _of_ps()


def descendants(pid: int) -> set[int]:
    """The children of a process, their children, and so on, in whatever session and group they are."""
    return _descendants(pid, running())


def family(pid: int) -> set[int]:
    """The descendants of a process and all other processes of the session that it leads, without itself.

    A session outlives the process that made it, and holds orphans, too. The process must be there, be it as a zombie:
    then no other can have its id.
    """
    entries = running()
    return (_descendants(pid, entries) | {entry.pid for entry in entries if entry.session == pid}) - {pid}


def _descendants(pid: int, entries: list[Entry]) -> set[int]:
    children: defaultdict[int, set[int]] = defaultdict(set)
    for entry in entries:
        children[entry.parent].add(entry.pid)
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        new = children[waiting.pop()] - found
        found |= new
        waiting += new
    return found - {pid}


def end(find: Callable[[], Collection[int]], *, grace_seconds: float = 0.0) -> None:
    """Ends the processes that `find` returns, and those that they start meanwhile. Blocks.

    Args:
        find: Looks for those that still run.
        grace_seconds: The time between SIGTERM and SIGKILL; 0: SIGKILL only.
    """
    if grace_seconds > 0:
        _signal(find(), signal.SIGTERM)
        _wait(find, grace_seconds)
    deadline = time.monotonic() + _KILL_SECONDS
    while (left := find()) and time.monotonic() < deadline:
        _signal(left, signal.SIGKILL)
        time.sleep(_POLL_SECONDS)


def _wait(find: Callable[[], Collection[int]], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while find() and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def _signal(pids: Collection[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _of_proc() -> list[Entry]:
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                state, parent, _group, session = file.read().rpartition(b")")[2].split()[:4]  # names may hold brackets
        except (OSError, ValueError):
            continue  # it has ended meanwhile
        if state.decode() != _ZOMBIE:
            found.append(Entry(int(name), int(parent), int(session)))
    return found


def _of_ps() -> list[Entry]:
    # BSD's `sess` is an address in the kernel, so the group stands for the session.
    shown = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,pgid=,state="], capture_output=True, text=True, check=False
    ).stdout
    rows = [line.split() for line in shown.splitlines()]
    return [Entry(int(row[0]), int(row[1]), int(row[2])) for row in rows if len(row) == 4 and row[3][0] != _ZOMBIE]
