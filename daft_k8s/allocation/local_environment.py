"""The environment of a local worker process: the driver's own, and the settings, which the worker reads and removes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from daft_k8s.boot import start
from daft_k8s.wire.worker_settings import TOKEN_FD, WorkerSettings

if TYPE_CHECKING:
    from daft_k8s.allocation.driver_snapshot import DriverSnapshot
    from daft_k8s.config import Configuration

HOST = "127.0.0.1"
"""Local workers listen on the loopback only."""

_RUNNER = "DAFT_RUNNER"
_OWN_PREFIX = "DAFT_K8S_"
"""The driver's own configuration."""


def worker_environment(
    configuration: Configuration,
    *,
    session_id: str,
    worker_id: str,
    launch_id: int,
    spill_dir: str,
    tls_dir: str = "",
    ready_fd: int,
    lifeline_fd: int,
    token_fd: int,
    driver: DriverSnapshot,
) -> dict[str, str]:
    """All variables of one worker.

    Args:
        configuration: Sizes, limits and the user's own variables.
        session_id: The session.
        worker_id: The logical worker.
        launch_id: The number of that worker's process.
        spill_dir: Its private directory; the session's is the one around it.
        tls_dir: The folder with the session's certificates; "": nothing is encrypted.
        ready_fd: The pipe for its ready line.
        lifeline_fd: The pipe whose end tells it that the driver is gone.
        token_fd: The pipe with the session's secret.
        driver: The driver's surroundings at the start of the session.
    """
    environment = {name: value for name, value in driver.variables.items() if not name.startswith(_OWN_PREFIX)}
    if _RUNNER in environment:
        # A Daft query in a program that a UDF starts must not begin a session of its own.
        environment[_RUNNER] = "native"
    environment.update(configuration.env)
    environment.update(start.variables(driver.search_path))
    gpus = visible_gpus(configuration.worker_gpu, worker_id, environment.get("CUDA_VISIBLE_DEVICES"))
    if gpus is not None:
        environment["CUDA_VISIBLE_DEVICES"] = gpus
    settings = WorkerSettings.of(
        configuration,
        session_id=session_id,
        token="",
        worker_id=worker_id,
        launch_id=launch_id,
        host=HOST,
        control_port=0,
        data_port=0,
        memory_bytes=configuration.worker_memory_bytes,
        spill_dir=spill_dir,
        session_dir=os.path.dirname(spill_dir),
        tls_dir=tls_dir,
        ready_fd=ready_fd,
        lifeline_fd=lifeline_fd,
    )
    environment.update(settings.to_environment())
    environment[TOKEN_FD] = str(token_fd)
    return environment


def visible_gpus(gpus: float, worker_id: str, available: str | None) -> str | None:
    """The value of `CUDA_VISIBLE_DEVICES`; None: leave it as it is.

    Workers get neighbouring devices in the order of their numbers. With a fraction of a GPU each,
    neighbouring workers share one.

    Args:
        gpus: GPUs of one worker.
        worker_id: E.g. "worker-3".
        available: The driver's own `CUDA_VISIBLE_DEVICES`.
    """
    number = worker_id.rpartition("-")[2]
    if gpus <= 0 or not number.isdigit():
        return None
    first = int(int(number) * gpus)
    wanted = range(first, first + max(1, int(gpus)))
    if available is None:
        return ",".join(str(device) for device in wanted)
    devices = [device for device in available.split(",") if device.strip()]
    return ",".join(devices[device] for device in wanted if device < len(devices))
