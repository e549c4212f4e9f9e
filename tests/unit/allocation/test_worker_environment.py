"""The environment of a local worker, and the words for its exit codes."""

from __future__ import annotations

import json
import os

import pytest

from daft_k8s.allocation import exit_reasons, local_process
from daft_k8s.allocation.driver_snapshot import DriverSnapshot
from daft_k8s.allocation.local_environment import visible_gpus, worker_environment
from daft_k8s.config import Configuration
from daft_k8s.config.frozen import FrozenMap
from daft_k8s.wire import exit_codes
from daft_k8s.wire.worker_settings import WorkerSettings

CONFIGURATION = Configuration(
    num_workers=2,
    worker_cpu=2,
    worker_memory_bytes=512 * 2**20,
    drain_timeout_seconds=7,
    log_format="json",
    env=FrozenMap({"USERS_OWN": "1"}),
)


def environment(*, token_fd: int = 7, **inherited: str) -> dict[str, str]:
    return worker_environment(
        CONFIGURATION,
        session_id="session-1",
        worker_id="worker-1",
        launch_id=4,
        spill_dir="/spill",
        ready_fd=5,
        lifeline_fd=6,
        token_fd=token_fd,
        driver=DriverSnapshot(inherited, ("/script", "/run_id=10:00:00", "/site-packages")),
    )


def test_the_worker_reads_what_the_launcher_writes() -> None:
    token_fd = local_process._filled_pipe(b"secret-token")
    settings = WorkerSettings.from_environment(environment(token_fd=token_fd))
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(token_fd)
    assert (settings.session_id, settings.token, settings.worker_id, settings.launch_id) == (
        "session-1",
        "secret-token",
        "worker-1",
        4,
    )
    assert (settings.control_port, settings.data_port, settings.ready_fd, settings.lifeline_fd) == (0, 0, 5, 6)
    assert (settings.slots, settings.memory_bytes) == (CONFIGURATION.slots_per_worker, 512 * 2**20)
    assert settings.store_memory_bytes == CONFIGURATION.store_memory_bytes
    assert (settings.drain_timeout_seconds, settings.log_format, settings.spill_dir) == (7.0, "json", "/spill")
    assert settings.max_message_bytes == CONFIGURATION.max_message_bytes


def test_the_drivers_runner_is_not_inherited_and_the_rest_is() -> None:
    written = environment(DAFT_RUNNER="k8s", DAFT_K8S_NUM_WORKERS="9", AWS_REGION="eu-1", PYTHONPATH="/own", USERS="2")
    assert "DAFT_K8S_NUM_WORKERS" not in written
    users = {name: value for name, value in written.items() if not name.startswith("DAFT_K8S_")}
    assert users == {
        "DAFT_RUNNER": "native",
        "AWS_REGION": "eu-1",
        "PYTHONPATH": "/own",
        "USERS": "2",
        "USERS_OWN": "1",
    }


def test_no_runner_is_named_where_the_driver_names_none() -> None:
    assert "DAFT_RUNNER" not in environment(PATH="/bin")


def test_the_worker_imports_from_where_the_driver_does_whatever_its_folders_are_called() -> None:
    assert json.loads(environment()["DAFT_K8S_INTERNAL_SEARCH_PATH"]) == [
        "/script",
        "/run_id=10:00:00",
        "/site-packages",
    ]


def test_workers_share_the_gpus_out() -> None:
    assert visible_gpus(0, "worker-0", None) is None
    assert visible_gpus(2, "worker-1", None) == "2,3"
    assert visible_gpus(1, "worker-1", "4,7") == "7"
    assert [visible_gpus(0.5, f"worker-{number}", None) for number in range(4)] == ["0", "0", "1", "1"]


def test_a_worker_that_could_not_start_is_not_started_again() -> None:
    assert exit_reasons.is_restartable(exit_codes.STOPPED)
    assert not exit_reasons.is_restartable(exit_codes.START_FAILED)
    assert not exit_reasons.is_restartable(exit_codes.BAD_SETTINGS)
    assert "its settings are wrong" in exit_reasons.describe_exit(exit_codes.BAD_SETTINGS)


def test_exits_are_said_in_words() -> None:
    assert exit_reasons.describe_exit(-9).startswith("was killed by signal 9 (SIGKILL")
    assert exit_reasons.describe_exit(-200) == "was killed by signal 200"
    assert exit_reasons.describe_exit(42) == "exited with code 42"
