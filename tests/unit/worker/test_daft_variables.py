"""The variables that make Daft a worker's engine: there while it reads them, and not afterwards."""

from __future__ import annotations

import pytest

from daft_k8s.worker.daft_variables import daft_variables

USERS = {"DAFT_MEMORY_LIMIT": "5", "RAY_ADDRESS": "auto", "PATH": "/bin"}


@pytest.mark.parametrize("error", [None, ValueError])
def test_the_environment_is_as_before_when_daft_has_started_or_failed_to(error: type[Exception] | None) -> None:
    environment = dict(USERS)
    try:
        with daft_variables(environment, memory_bytes=7):
            assert environment == {
                "DAFT_RUNNER": "native",
                "DAFT_FLOTILLA_WORKER": "1",
                "DAFT_MEMORY_LIMIT": "7",
                "PATH": "/bin",
            }
            if error is not None:
                raise error
    except ValueError:
        pass
    assert environment == USERS


def test_a_process_without_an_executor_has_no_limit_of_its_own() -> None:
    environment = dict(USERS)
    with daft_variables(environment):
        assert environment["DAFT_MEMORY_LIMIT"] == "5"


def test_process_metrics_name_the_process_for_each_plan_so_that_variable_stays_for_them() -> None:
    environment = {"DAFT_PROCESS_MONITOR_ENABLED": "1"}
    with daft_variables(environment):
        pass
    assert environment == {"DAFT_PROCESS_MONITOR_ENABLED": "1", "DAFT_FLOTILLA_WORKER": "1"}
