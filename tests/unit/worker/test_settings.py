"""Settings of a worker process from its environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from daft_k8s.errors import ConfigurationError
from daft_k8s.worker.settings import TOKEN_FILE, WorkerSettings

REQUIRED = {
    "DAFT_K8S_WORKER_SESSION_ID": "s",
    "DAFT_K8S_WORKER_WORKER_ID": "worker-0",
    "DAFT_K8S_TOKEN": "secret-token",
    "DAFT_K8S_WORKER_HOST": "127.0.0.1",
    "DAFT_K8S_WORKER_SPILL_DIR": "/tmp/spill",
    "DAFT_K8S_WORKER_MEMORY_BYTES": "1000000",
}


def test_what_is_not_set_has_its_default() -> None:
    settings = WorkerSettings.from_environment(REQUIRED)
    assert (settings.control_port, settings.data_port, settings.ready_fd) == (7777, 7778, -1)
    assert settings.store_memory_bytes == 500_000


def test_values_are_read_as_their_types() -> None:
    settings = WorkerSettings.from_environment(
        {**REQUIRED, "DAFT_K8S_WORKER_CPUS": "2.5", "DAFT_K8S_WORKER_CONTROL_PORT": "0", "DAFT_K8S_READY_FD": "5"}
    )
    assert (settings.cpus, settings.slots, settings.control_port, settings.ready_fd) == (2.5, 2, 0, 5)


def test_a_fraction_of_a_cpu_still_gives_one_slot() -> None:
    assert WorkerSettings.from_environment({**REQUIRED, "DAFT_K8S_WORKER_CPUS": "0.25"}).slots == 1


def test_all_problems_are_listed_at_once() -> None:
    broken = {
        **REQUIRED,
        "DAFT_K8S_WORKER_DATA_PORT": "70000",
        "DAFT_K8S_WORKER_MEMORY_BYTES": "much",
        "DAFT_K8S_WORKER_LOG_FORMAT": "xml",
        "DAFT_K8S_WORKER_SESSION_ID": "",
    }
    with pytest.raises(ConfigurationError) as error:
        WorkerSettings.from_environment(broken)
    text = str(error.value)
    assert "DAFT_K8S_WORKER_DATA_PORT='70000' must be between 0 and 65535" in text
    assert "DAFT_K8S_WORKER_MEMORY_BYTES='much' must be a whole number" in text
    assert "DAFT_K8S_WORKER_LOG_FORMAT='xml' must be one of text, json" in text
    assert "DAFT_K8S_WORKER_SESSION_ID is not set" in text


def test_numbers_that_are_none_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="STORE_MEMORY_SHARE='nan'"):
        WorkerSettings.from_environment({**REQUIRED, "DAFT_K8S_WORKER_STORE_MEMORY_SHARE": "nan"})


def test_the_token_may_be_in_a_file_as_a_secret_is_mounted(tmp_path: Path) -> None:
    others = {name: value for name, value in REQUIRED.items() if name != "DAFT_K8S_TOKEN"}
    file = tmp_path / "token"
    file.write_text("from-a-file\n")
    assert WorkerSettings.from_environment({**others, TOKEN_FILE: str(file)}).token == "from-a-file"
    file.unlink()
    with pytest.raises(ConfigurationError, match=r"DAFT_K8S_TOKEN_FILE='.*' cannot be read \(No such file"):
        WorkerSettings.from_environment({**others, TOKEN_FILE: str(file)})


def test_the_token_is_not_shown() -> None:
    assert "secret-token" not in repr(WorkerSettings.from_environment(REQUIRED))


@pytest.mark.parametrize(("host", "everywhere"), [("10.0.0.1", "0.0.0.0"), ("fd00::1", "::")])
def test_a_worker_behind_a_port_forward_binds_every_address(host: str, everywhere: str) -> None:
    environment = {**REQUIRED, "DAFT_K8S_WORKER_HOST": host}
    assert WorkerSettings.from_environment(environment).bind_host == host
    environment["DAFT_K8S_WORKER_ALL_ADDRESSES"] = "1"
    assert WorkerSettings.from_environment(environment).bind_host == everywhere


@pytest.mark.parametrize(
    ("host", "listening", "expected"),
    [
        ("10.1.2.3", "0.0.0.0:7777", "10.1.2.3:7777"),
        ("fd00::7", "[::]:7777", "[fd00::7]:7777"),
        ("127.0.0.1", "127.0.0.1:40001", "127.0.0.1:40001"),
    ],
)
def test_other_workers_are_told_an_address_that_they_can_reach(host: str, listening: str, expected: str) -> None:
    settings = WorkerSettings.from_environment({**REQUIRED, "DAFT_K8S_WORKER_HOST": host})
    assert settings.advertised(listening) == expected
