"""The environment of a local worker process: the driver's own, and the settings, which the worker reads and removes."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from daft_k8s.boot import start

if TYPE_CHECKING:
    from daft_k8s.allocation.driver_environment import DriverEnvironment
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
    token: str,
    worker_id: str,
    launch_id: int,
    spill_dir: str,
    tls_dir: str = "",
    ready_fd: int,
    lifeline_fd: int,
    driver: DriverEnvironment,
) -> dict[str, str]:
    """All variables of one worker; the names are those of `daft_k8s.worker.settings`.

    Args:
        configuration: Sizes, limits and the user's own variables.
        session_id: The session.
        token: The session's secret.
        worker_id: The logical worker.
        launch_id: Which process of that worker.
        spill_dir: Its private directory; the session's is the one around it.
        tls_dir: The folder with the session's certificates; "": nothing is encrypted.
        ready_fd: The pipe for its ready line.
        lifeline_fd: The pipe whose end tells it that the driver is gone.
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
    settings: dict[str, object] = {
        "SESSION_ID": session_id,
        "WORKER_ID": worker_id,
        "LAUNCH_ID": launch_id,
        "HOST": HOST,
        "CONTROL_PORT": 0,
        "DATA_PORT": 0,
        "ALL_ADDRESSES": 0,
        "HEALTH_PORT": -1,  # nobody probes a local worker
        "CPUS": configuration.worker_cpu,
        "GPUS": configuration.worker_gpu,
        "MEMORY_BYTES": configuration.worker_memory_bytes,
        "STORE_MEMORY_SHARE": configuration.store_memory_share,
        "SPILL_DIR": spill_dir,
        "TLS_DIR": tls_dir,
        "SESSION_DIR": os.path.dirname(spill_dir),
        "ORPHAN_TIMEOUT_SECONDS": configuration.orphan_timeout_seconds,
        "DRAIN_TIMEOUT_SECONDS": configuration.drain_timeout_seconds,
        "MAX_MESSAGE_BYTES": configuration.max_message_bytes,
        "PIP": json.dumps(configuration.pip) if configuration.pip else "",
        "LOG_FORMAT": configuration.log_format,
        "LOG_LEVEL": configuration.log_level,
    }
    environment.update({f"DAFT_K8S_WORKER_{name}": str(value) for name, value in settings.items()})
    environment["DAFT_K8S_TOKEN"] = token
    environment["DAFT_K8S_READY_FD"] = str(ready_fd)
    environment["DAFT_K8S_LIFELINE_FD"] = str(lifeline_fd)
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
