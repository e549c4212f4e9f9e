"""The CPUs and the memory that this process may use, and that local workers share.

Limits of the control group (a container's, a Pod's) count as much as the machine's own size.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_ROOT = Path("/")
_UNKNOWN_MEMORY_BYTES = 4 * 2**30
"""Assumed where the system does not tell: what the smallest usual laptop has left for us."""


def available_cpus(root: Path = _ROOT) -> int:
    """CPUs that this process may use: its affinity, cut by the control group's quota; at least 1."""
    affinity = getattr(os, "sched_getaffinity", None)
    cpus = len(affinity(0)) if affinity is not None else (os.cpu_count() or 1)
    for quota in _cpu_quotas(root):
        cpus = min(cpus, math.ceil(quota))
    return max(1, cpus)


def available_memory_bytes(root: Path = _ROOT) -> int:
    """Memory of the machine, cut by the control group's limit. The total, not what is free now."""
    total = _machine_memory_bytes(root)
    return min([total, *_memory_limits(root)])


def _machine_memory_bytes(root: Path) -> int:
    for line in _lines(root / "proc/meminfo"):
        words = line.split()
        if len(words) >= 2 and words[0] == "MemTotal:" and words[1].isdigit():
            return int(words[1]) * 1024
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return _UNKNOWN_MEMORY_BYTES


def _memory_limits(root: Path) -> Iterator[int]:
    for folder in _group_folders(root, controller="memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            for line in _lines(folder / name):
                if line.isdigit() and int(line) > 0:
                    yield int(line)


def _cpu_quotas(root: Path) -> Iterator[float]:
    for folder in _group_folders(root, controller="cpu"):
        words = " ".join(_lines(folder / "cpu.max")).split()
        if not words:
            words = [*_lines(folder / "cpu.cfs_quota_us"), *_lines(folder / "cpu.cfs_period_us")]
        if len(words) == 2 and all(word.isdigit() and int(word) > 0 for word in words):
            yield int(words[0]) / int(words[1])


def _group_folders(root: Path, controller: str) -> Iterator[Path]:
    """Folders of this process's control group and of all groups above it, in versions 2 and 1."""
    mount = root / "sys/fs/cgroup"
    yield mount
    yield mount / controller
    for line in _lines(root / "proc/self/cgroup"):
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if number == "0" and not controllers:
            base = mount
        elif controller in controllers.split(","):
            base = mount / controller
        else:
            continue
        group = PurePosixPath(path.lstrip("/"))
        for ancestor in (group, *group.parents):
            if ancestor.parts and ".." not in ancestor.parts:
                yield base / ancestor


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
