"""What a worker's log lines look like. Not covered: where they go (tests/local)."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator

import pytest

from daft_k8s.worker import logs


@pytest.fixture(autouse=True)
def in_a_task() -> Iterator[None]:
    token = logs.task_key_var.set("swift-fox/3.1")
    yield
    logs.task_key_var.reset(token)


def test_the_task_stands_in_the_first_line_of_a_record_and_its_traceback_follows() -> None:
    formatter = logs._Formatter(session_id="s", worker_id="worker-0", as_json=False)
    try:
        raise ValueError("no")
    except ValueError:
        record = logging.LogRecord("job", logging.ERROR, "", 0, "it failed", None, sys.exc_info())
    first, second, *_, last = formatter.format(record).splitlines()
    assert first.endswith("ERROR job: it failed [task swift-fox/3.1]")
    assert second == "Traceback (most recent call last):"
    assert last == "ValueError: no"
