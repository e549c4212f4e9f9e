"""The machine's size, from copies of the files that Linux has.

Covered: affinity, control groups of both
versions, nested and absent, odd contents.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import pytest

from daft_k8s.config import machine

# conftest replaces the functions; these are the real ones.
_real = importlib.util.module_from_spec(importlib.util.find_spec(machine.__name__))  # type: ignore[arg-type]
_real.__spec__.loader.exec_module(_real)  # type: ignore[union-attr]

GIB = 2**30


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path, "proc/meminfo", "MemFree:  1 kB\nMemTotal:       16777216 kB\n")
    return tmp_path


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


def test_without_a_limit_the_whole_machine_counts(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    assert _real.available_memory_bytes(root) == 16 * GIB
    assert _real.available_cpus(root) == 6


def test_without_affinity_the_number_of_cpus_counts(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert _real.available_cpus(root) == 3
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert _real.available_cpus(root) == 1


@pytest.mark.parametrize(
    ("files", "memory_bytes", "cpus"),
    [
        ({"sys/fs/cgroup/memory.max": "2147483648\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 2 * GIB, 2),
        ({"sys/fs/cgroup/memory.max": "max\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, 16 * GIB, 6),
        ({"sys/fs/cgroup/cpu.max": "5000 100000\n"}, 16 * GIB, 1),
        (
            {
                "proc/self/cgroup": "0::/a.slice/b.scope\n",
                "sys/fs/cgroup/a.slice/memory.max": str(GIB),
                "sys/fs/cgroup/a.slice/b.scope/memory.max": "max",
                "sys/fs/cgroup/a.slice/b.scope/cpu.max": "300000 100000",
            },
            GIB,
            3,
        ),
        (
            {
                "proc/self/cgroup": "5:memory:/docker/x\n4:cpu,cpuacct:/docker/x\n",
                "sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes": str(3 * GIB),
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
                "sys/fs/cgroup/cpu/docker/x/cpu.cfs_quota_us": "200000",
                "sys/fs/cgroup/cpu/docker/x/cpu.cfs_period_us": "100000",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            3 * GIB,
            2,
        ),
        ({"proc/self/cgroup": "0::/../../outside\nnonsense\n", "sys/fs/cgroup/memory.max": "garbage"}, 16 * GIB, 6),
    ],
    ids=["v2", "v2 without limits", "less than one CPU", "v2 nested", "v1", "odd contents"],
)
def test_limits_of_the_control_group_cut_the_machine(
    root: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], memory_bytes: int, cpus: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    for name, text in files.items():
        write(root, name, text)
    assert _real.available_memory_bytes(root) == memory_bytes
    assert _real.available_cpus(root) == cpus


def test_where_linux_s_files_are_missing_the_system_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 1024}
    monkeypatch.setattr(os, "sysconf", answers.__getitem__, raising=False)
    assert _real.available_memory_bytes(tmp_path) == 4096 * 1024
    monkeypatch.delattr(os, "sysconf")
    assert _real.available_memory_bytes(tmp_path) == 4 * GIB


def test_this_machine_has_cpus_and_memory() -> None:
    assert _real.available_cpus() >= 1
    assert _real.available_memory_bytes() > 2**26


@pytest.mark.parametrize(
    ("groups", "memory_bytes"),
    [
        ("0::/a:b\n", GIB),  # a colon in the path of version 2
        ("4:cpu,memory:/a:b\n", 2 * GIB),  # the same in version 1
        ("4:cpu,cpuset:/a:b\n1:name=systemd:/a:b\n", 16 * GIB),  # other controllers
        ("garbage\n\n7\n0::/a:b\n", GIB),
        ("0::/../a:b\n", 16 * GIB),  # outside of what this container sees
    ],
)
def test_the_control_group_of_the_process_is_found(root: Path, groups: str, memory_bytes: int) -> None:
    write(root, "proc/self/cgroup", groups)
    write(root, "sys/fs/cgroup/a:b/memory.max", str(GIB))
    write(root, "sys/fs/cgroup/memory/a:b/memory.limit_in_bytes", str(2 * GIB))
    assert _real.available_memory_bytes(root) == memory_bytes


@pytest.mark.parametrize("content", ["0\n", "-1\n", "\n", "text\n"])
def test_a_limit_that_is_none_is_left_out(root: Path, content: str) -> None:
    write(root, "sys/fs/cgroup/memory.max", content)
    assert _real.available_memory_bytes(root) == 16 * GIB


def test_quotas_of_one_are_quotas(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    write(root, "sys/fs/cgroup/cpu.max", "2 1\n")
    assert _real.available_cpus(root) == 2
    write(root, "sys/fs/cgroup/cpu.max", "0 1\n")
    assert _real.available_cpus(root) == 6


def test_a_line_of_memory_without_a_unit_counts(root: Path) -> None:
    write(root, "proc/meminfo", "MemTotal: 1024\n")
    assert _real.available_memory_bytes(root) == 2**20
