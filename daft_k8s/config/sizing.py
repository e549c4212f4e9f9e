"""The default number and size of workers: pure arithmetic over the machine's size."""

from __future__ import annotations

import math
from dataclasses import dataclass

MAX_CHOSEN_LOCAL_WORKERS = 4
"""Workers are processes with their own memory; beyond four, wider workers share data for free."""

POD_WORKERS = 2
"""The smallest number that shows whether a query distributes."""

POD_BYTES_PER_CPU = 4 * 2**30
"""The ratio of general-purpose machines of the large clouds, so that Pods fill nodes evenly."""

LOCAL_MEMORY_SHARE = 0.75
"""The rest is left for the driver, for the page cache that spilled data needs, and for the desktop."""

MIN_WORKER_BYTES = 128 * 2**20
"""A worker's Python process with Daft loaded takes about 100 MiB before the first task."""

_MIB = 2**20


@dataclass(frozen=True)
class Size:
    """A pool: how many workers it starts with, and how large each one is."""

    num_workers: int
    worker_cpu: float
    worker_memory_bytes: int


def local_size(
    *,
    num_workers: int | None,
    min_workers: int | None = None,
    max_workers: int | None = None,
    worker_cpu: float | None,
    worker_memory_bytes: int | None,
    cpus: int,
    memory_bytes: int,
) -> Size:
    """Divides one machine between workers.

    A worker of this machine runs whole threads, so a fraction of a CPU is rounded up.

    Args:
        num_workers: None: `min_workers` of an elastic pool, else one for each CPU (for each `worker_cpu` CPUs, if
            given), at most 4.
        min_workers: None: 1 for an elastic pool.
        max_workers: The workers that share the machine. None: the pool has a fixed size.
        worker_cpu: None: the machine's CPUs, divided between the workers and rounded down, at least 1.
        worker_memory_bytes: None: three quarters of the machine's memory, divided between the workers.
        cpus: CPUs of the machine.
        memory_bytes: Memory of the machine.
    """
    cpu = None if worker_cpu is None else max(1, math.ceil(worker_cpu))
    count = num_workers if num_workers is not None else max(1, min(MAX_CHOSEN_LOCAL_WORKERS, cpus // (cpu or 1)))
    if max_workers is not None:
        count = max(max_workers, num_workers or 1)
    if worker_memory_bytes is None:
        share = int(memory_bytes * LOCAL_MEMORY_SHARE) // count
        worker_memory_bytes = max(MIN_WORKER_BYTES, share // _MIB * _MIB)
    start = _elastic_start(num_workers, min_workers) if max_workers is not None else count
    return Size(start, float(cpu or max(1, cpus // count)), worker_memory_bytes)


def _elastic_start(num_workers: int | None, min_workers: int | None) -> int:
    if num_workers is not None:
        return num_workers
    return 1 if min_workers is None else min_workers


def pod_size(
    *,
    num_workers: int | None,
    min_workers: int | None,
    max_workers: int | None,
    worker_cpu: float | None,
    worker_memory_bytes: int | None,
) -> Size:
    """Completes the size of a pool of Pods.

    Args:
        num_workers: None: `min_workers` of an elastic pool, 2 of a fixed one.
        min_workers: None: 1 for an elastic pool.
        max_workers: None: the pool has a fixed size.
        worker_cpu: None: 1.
        worker_memory_bytes: None: 4 GiB for each CPU, at least 1 GiB.
    """
    cpu = 1.0 if worker_cpu is None else worker_cpu
    if num_workers is None:
        num_workers = POD_WORKERS if max_workers is None else _elastic_start(num_workers, min_workers)
    if worker_memory_bytes is None:
        worker_memory_bytes = max(2**30, math.ceil(POD_BYTES_PER_CPU * cpu / _MIB) * _MIB)
    return Size(num_workers, cpu, worker_memory_bytes)
