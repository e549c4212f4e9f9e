"""The identity of a driver's process in its Pod, and the check if another one of that Pod is still there.

A container that is restarted in its Pod keeps the Pod's name and uid, and several notebooks may share one container. So
a driver is known by its process id, by when that process started, and by the namespace in which its id counts.
"""

from __future__ import annotations

import os
from pathlib import Path

PROC = Path("/proc")


def identity(proc: Path = PROC) -> str:
    """This process, as text; "": this machine does not tell."""
    return _describe(proc, os.getpid(), _namespace(proc))


def is_gone(other: str, *, alone: bool, proc: Path = PROC) -> bool:
    """True if another process of this Pod has certainly ended.

    Args:
        other: The `identity` of that process.
        alone: True if this container is the only one of its Pod. Only then another namespace of process ids is certain
            to be that of the container's former life, and not that of its neighbour.
        proc: The folder of processes.
    """
    parts = other.split(".")
    namespace = _namespace(proc)
    if len(parts) != 3 or not parts[0].isdigit() or not namespace:
        return False
    if parts[2] != namespace:
        return alone
    return _describe(proc, int(parts[0]), namespace) != other


def _describe(proc: Path, pid: int, namespace: str) -> str:
    try:
        # The name before the last bracket may hold anything; the start time is the 20th field after it.
        started = (proc / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
    return f"{pid}.{started}.{namespace}" if namespace else ""


def _namespace(proc: Path) -> str:
    try:
        return "".join(filter(str.isdigit, os.readlink(proc / "self" / "ns" / "pid")))
    except OSError:
        return ""
