"""What a worker's log lines look like. Not covered: where they go (tests/local)."""

from __future__ import annotations

import json
import logging
import subprocess
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


PROGRAM = """
import logging, sys
from daft_k8s.worker import logs
logs.configure_logging(session_id="s", worker_id="worker-0", log_format=sys.argv[1], log_level="INFO")
logs.task_key_var.set("swift-fox/3.1")
mine, library, root = logging.getLogger("my.app"), logging.getLogger("library"), logging.getLogger()
assert not root.handlers and root.level == logging.WARNING
mine.info("early"), library.warning("warned"), logging.getLogger("daft_k8s.worker").info("own")
logging.basicConfig(level=logging.INFO, format="USER %(message)s")
mine.info("late"), library.warning("again"), logging.getLogger("daft_k8s.worker").info("once")
"""


def lines_of(log_format: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", PROGRAM, log_format], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stderr.splitlines()


def test_the_root_logger_belongs_to_the_user() -> None:
    warned, own, *others = lines_of("text")
    assert warned.endswith("WARNING library: warned [task swift-fox/3.1]")
    assert own.endswith("INFO daft_k8s.worker: own [task swift-fox/3.1]")
    assert others[:2] == ["USER late", "USER again"]
    assert others[2].endswith("INFO daft_k8s.worker: once [task swift-fox/3.1]")
    assert len(others) == 3


def test_json_lines_carry_the_ids_for_other_loggers_too() -> None:
    warned, own = map(json.loads, lines_of("json")[:2])
    assert (warned["logger"], warned["worker"], warned["task"]) == ("library", "worker-0", "swift-fox/3.1")
    assert (own["logger"], own["session"]) == ("daft_k8s.worker", "s")
