"""The kernel's count of processes killed for memory, which tells such a kill from any other SIGKILL."""

from __future__ import annotations

from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")
_MACHINE = Path("/proc/vmstat")


def count_memory_kills(cgroups: Path = _CGROUPS, own_cgroup: Path = _OWN_CGROUP, machine: Path = _MACHINE) -> int:
    """Kills so far in this process's control group, or on the machine; 0 where they are not counted.

    Workers share the control group of their driver. A group without a limit of its own counts the kills in it
    as well, whichever limit above it was met.
    """
    found = _own_events(cgroups, own_cgroup)
    for path in (found, machine):
        count = _read(path)
        if count is not None:
            return count
    return 0


def _own_events(cgroups: Path, own_cgroup: Path) -> Path:
    try:
        lines = own_cgroup.read_text().splitlines()
    except OSError:
        lines = []
    own = next((line[3:] for line in lines if line.startswith("0::")), "/")
    return cgroups / own.lstrip("/") / "memory.events"


def _read(path: Path) -> int | None:
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    fields = (line.split() for line in lines)
    return next((int(field[1]) for field in fields if len(field) == 2 and field[0] == "oom_kill"), None)
