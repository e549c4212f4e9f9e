"""The settings of a worker process: to its environment and back, and from the user's configuration."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from daft_k8s.config import FIELDS, Configuration
from daft_k8s.config.sources import INTERNAL_PREFIX
from daft_k8s.errors import ConfigurationError
from daft_k8s.wire.worker_settings import TOKEN_FD, TOKEN_FILE, WorkerSettings, forget_settings, variable

REQUIRED = {
    "DAFT_K8S_INTERNAL_SESSION_ID": "s",
    "DAFT_K8S_INTERNAL_WORKER_ID": "worker-0",
    "DAFT_K8S_INTERNAL_TOKEN": "secret-token",
    "DAFT_K8S_INTERNAL_HOST": "127.0.0.1",
    "DAFT_K8S_INTERNAL_SPILL_DIR": "/tmp/spill",
    "DAFT_K8S_INTERNAL_MEMORY_BYTES": "1000000",
}


def test_every_setting_arrives_as_it_was_sent() -> None:
    values: dict[str, Any] = {"log_format": "json", "log_level": "DEBUG", "pip": ("a==1", "b, with words"), "gpus": 0.5}
    for item in dataclasses.fields(WorkerSettings):
        of_type = {"str": f"the {item.name}", "int": 1, "float": 0.25}
        values.setdefault(item.name, of_type.get(str(item.type)))
    settings = WorkerSettings(**values)
    assert [item.name for item in dataclasses.fields(settings) if getattr(settings, item.name) == item.default] == []
    assert WorkerSettings.from_environment(settings.to_environment()) == settings


def test_no_variable_of_a_worker_can_be_taken_for_an_option_of_a_user() -> None:
    own = {variable(item.name) for item in dataclasses.fields(WorkerSettings)} | {TOKEN_FD, TOKEN_FILE}
    assert all(name.startswith(INTERNAL_PREFIX) for name in own)
    assert not own & {option.variable for option in FIELDS.values()}


def test_settings_that_the_user_chose_reach_the_worker() -> None:
    configuration = Configuration(worker_cpu=3, pip=("a",), log_level="DEBUG", store_memory_share=0.25)
    settings = WorkerSettings.of(
        configuration, session_id="s", worker_id="w", token="t", host="h", spill_dir="/s", memory_bytes=1
    )
    assert (settings.cpus, settings.pip, settings.log_level, settings.store_memory_share) == (3, ("a",), "DEBUG", 0.25)


def test_the_settings_leave_the_environment_once_they_were_read() -> None:
    environment = {**REQUIRED, TOKEN_FILE: "/token", "DAFT_K8S_NUM_WORKERS": "2", "PATH": "/bin"}
    forget_settings(environment)
    assert environment == {"DAFT_K8S_NUM_WORKERS": "2", "PATH": "/bin"}


@pytest.mark.parametrize("text", ["a==1", "{}", "[1]"])
def test_a_list_of_texts_is_read_as_one_or_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"PIP=.* must be a JSON list of texts"):
        WorkerSettings.from_environment({**REQUIRED, variable("pip"): text})


def test_what_is_not_set_has_its_default() -> None:
    settings = WorkerSettings.from_environment(REQUIRED)
    assert (settings.control_port, settings.data_port, settings.ready_fd) == (7777, 7778, -1)
    assert settings.store_memory_bytes == 500_000


def test_values_are_read_as_their_types() -> None:
    settings = WorkerSettings.from_environment(
        {
            **REQUIRED,
            "DAFT_K8S_INTERNAL_CPUS": "2.5",
            "DAFT_K8S_INTERNAL_CONTROL_PORT": "0",
            "DAFT_K8S_INTERNAL_READY_FD": "5",
        }
    )
    assert (settings.cpus, settings.slots, settings.control_port, settings.ready_fd) == (2.5, 2, 0, 5)


def test_a_fraction_of_a_cpu_still_gives_one_slot() -> None:
    assert WorkerSettings.from_environment({**REQUIRED, "DAFT_K8S_INTERNAL_CPUS": "0.25"}).slots == 1


def test_all_problems_are_listed_at_once() -> None:
    broken = {
        **REQUIRED,
        "DAFT_K8S_INTERNAL_DATA_PORT": "70000",
        "DAFT_K8S_INTERNAL_MEMORY_BYTES": "much",
        "DAFT_K8S_INTERNAL_LOG_FORMAT": "xml",
        "DAFT_K8S_INTERNAL_SESSION_ID": "",
    }
    with pytest.raises(ConfigurationError) as error:
        WorkerSettings.from_environment(broken)
    text = str(error.value)
    assert "DAFT_K8S_INTERNAL_DATA_PORT='70000' must be between 0 and 65535" in text
    assert "DAFT_K8S_INTERNAL_MEMORY_BYTES='much' must be a whole number" in text
    assert "DAFT_K8S_INTERNAL_LOG_FORMAT='xml' must be one of text, json" in text
    assert "DAFT_K8S_INTERNAL_SESSION_ID is not set" in text


def test_numbers_that_are_none_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="STORE_MEMORY_SHARE='nan'"):
        WorkerSettings.from_environment({**REQUIRED, "DAFT_K8S_INTERNAL_STORE_MEMORY_SHARE": "nan"})


def test_the_token_may_be_in_a_file_as_a_secret_is_mounted(tmp_path: Path) -> None:
    others = {name: value for name, value in REQUIRED.items() if name != "DAFT_K8S_INTERNAL_TOKEN"}
    file = tmp_path / "token"
    file.write_text("from-a-file\n")
    assert WorkerSettings.from_environment({**others, TOKEN_FILE: str(file)}).token == "from-a-file"
    file.unlink()
    with pytest.raises(ConfigurationError, match=r"DAFT_K8S_INTERNAL_TOKEN_FILE='.*' cannot be read \(No such file"):
        WorkerSettings.from_environment({**others, TOKEN_FILE: str(file)})


@pytest.mark.parametrize(("number", "why"), [("none", "invalid literal"), ("987", "Bad file descriptor")])
def test_a_pipe_of_the_token_that_is_none_is_named(number: str, why: str) -> None:
    others = {name: value for name, value in REQUIRED.items() if name != "DAFT_K8S_INTERNAL_TOKEN"}
    with pytest.raises(ConfigurationError, match=rf"TOKEN_FD='{number}' cannot be read \({why}.*TOKEN is not set"):
        WorkerSettings.from_environment({**others, TOKEN_FD: number})


def test_the_token_is_not_shown() -> None:
    assert "secret-token" not in repr(WorkerSettings.from_environment(REQUIRED))


@pytest.mark.parametrize(("host", "everywhere"), [("10.0.0.1", "0.0.0.0"), ("fd00::1", "::")])
def test_a_worker_behind_a_port_forward_binds_every_address(host: str, everywhere: str) -> None:
    environment = {**REQUIRED, "DAFT_K8S_INTERNAL_HOST": host}
    assert WorkerSettings.from_environment(environment).bind_host == host
    environment["DAFT_K8S_INTERNAL_ALL_ADDRESSES"] = "1"
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
    settings = WorkerSettings.from_environment({**REQUIRED, "DAFT_K8S_INTERNAL_HOST": host})
    assert settings.advertised(listening) == expected
