"""Which GPUs an actor sees, with made-up environments: no GPU is needed."""

from __future__ import annotations

import pytest

from daft_k8s.errors import ConfigurationError
from daft_k8s.worker.gpus import device_environment, visible_devices

UUIDS = {"CUDA_VISIBLE_DEVICES": "GPU-1f2e, MIG-aa-bb"}


def test_entries_that_are_set_are_kept_whether_ordinals_or_uuids() -> None:
    assert visible_devices(UUIDS, 2) == ["GPU-1f2e", "MIG-aa-bb"]
    assert visible_devices({"CUDA_VISIBLE_DEVICES": "5,3"}, 2) == ["5", "3"]


def test_without_the_variable_devices_are_counted_from_0() -> None:
    assert visible_devices({}, 3) == ["0", "1", "2"]
    assert visible_devices({}, 0.5) == ["0"]


def test_an_actor_sees_its_own_devices_only() -> None:
    assert device_environment(UUIDS, 2, (1,)) == {"CUDA_VISIBLE_DEVICES": "MIG-aa-bb"}
    assert device_environment({}, 4, (2, 3)) == {"CUDA_VISIBLE_DEVICES": "2,3"}


def test_an_actor_without_gpus_sees_what_its_worker_sees() -> None:
    assert device_environment(UUIDS, 2, ()) == {}


def test_a_device_that_the_worker_does_not_have_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="GPU 2 of this worker"):
        device_environment(UUIDS, 3, (2,))
    with pytest.raises(ConfigurationError, match="shows 0"):
        device_environment({"CUDA_VISIBLE_DEVICES": ""}, 1, (0,))
