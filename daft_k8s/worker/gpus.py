"""The choice of a worker's GPUs that an actor sees."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from daft_k8s.errors import ConfigurationError

VARIABLE = "CUDA_VISIBLE_DEVICES"


def visible_devices(environment: Mapping[str, str], gpus: float) -> list[str]:
    """The worker's devices as CUDA names them: the entries that are set already, else ordinals.

    Args:
        environment: The worker's.
        gpus: The number of its GPUs; with a fraction, the last one is shared.
    """
    listed = environment.get(VARIABLE)
    if listed is None:
        return [str(ordinal) for ordinal in range(math.ceil(gpus))]
    return [entry.strip() for entry in listed.split(",") if entry.strip()]


def device_environment(environment: Mapping[str, str], gpus: float, devices: Sequence[int]) -> dict[str, str]:
    """The variables that show an actor its own devices and no others; none for an actor without a share of a GPU.

    Raises:
        ConfigurationError: The worker does not have these devices.
    """
    if not devices:
        return {}
    visible = visible_devices(environment, gpus)
    if max(devices) >= len(visible):
        raise ConfigurationError(
            f"it was promised GPU {max(devices)} of this worker (counted from 0), where {VARIABLE}="
            f"{environment.get(VARIABLE, '(not set)')} shows {len(visible)}; make worker_gpu fit"
        )
    return {VARIABLE: ",".join(visible[device] for device in devices)}
