"""The event log: each fact once, in order, whatever the disk or the store does; nothing is left out silently.

Not covered: the facts of a real session (tests/local/test_event_log.py), and stores of clouds.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from daft_k8s._native import FactKind
from daft_k8s.config import Configuration
from daft_k8s.config.validation import HIDDEN
from daft_k8s.driver.session_log import event_log_of
from daft_k8s.observe import event_log as module
from daft_k8s.observe.event_log import EventLog
from daft_k8s.observe.event_store import FolderStore, ObjectStore
from tests.unit.observe.object_server import object_server


class Store:
    """A store in memory, which may refuse or hang."""

    def __init__(self) -> None:
        self.written = b""
        self.problem: Exception | None = None
        self.calls = 0
        self.answers = threading.Event()
        self.answers.set()

    def append(self, lines: bytes) -> None:
        self.calls += 1
        self.answers.wait(60)
        if self.problem is not None:
            raise self.problem
        self.written += lines

    def close(self) -> None: ...

    @property
    def lines(self) -> list[Any]:
        return lines_of(self.written)


def lines_of(written: bytes) -> list[Any]:
    assert not written or written.endswith(b"\n")
    return [json.loads(line) for line in written.splitlines()]


def fact(number: int, at_seconds: float = 0.0) -> Any:
    return SimpleNamespace(
        kind=FactKind.TASK_CANCELLED, task=number, sequence=number, cause=number, cause_name="", at_seconds=at_seconds
    )


def log_into(store: Any) -> EventLog:
    log = EventLog("somewhere", session_id="s", configuration={}, versions={}, store=store)
    log.start()
    return log


def wait_for(what: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not what():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.05)


def take(log: EventLog, numbers: Iterator[int] | range) -> None:
    for number in numbers:
        log.take(fact(number))
    log.caught_up(0.0)


def test_each_fact_is_a_line_between_the_first_and_the_last() -> None:
    store = Store()
    log = log_into(store)
    take(log, range(10_000))
    take(log, range(10_000, 10_001))
    wait_for(lambda: store.written.count(b"\n") == 10_002)
    log.close()
    first, *facts, last = store.lines
    assert (first["kind"], first["schema"], last["kind"]) == ("log_began", 1, "log_ended")
    assert [line["task"] for line in facts] == [*range(10_001)]


def test_the_first_line_is_written_before_there_is_a_fact() -> None:
    store = Store()
    log = log_into(store)
    wait_for(lambda: store.written)
    log.close()


def test_the_end_of_the_session_writes_what_waits() -> None:
    store = Store()
    log = log_into(store)
    log.take(fact(1))
    log.caught_up(0.0)
    log.close()
    assert [line["kind"] for line in store.lines] == ["log_began", "task_cancelled", "log_ended"]


def test_lines_have_the_time_of_their_facts_also_after_the_machine_slept() -> None:
    store = Store()
    log = log_into(store)
    log.take(fact(1, 90.0))
    log.caught_up(100.0)
    wait_for(lambda: len(store.lines) == 2)
    log.take(fact(2, 101.0))
    log.caught_up(100.0 - 3600)  # the session's clock stood for an hour
    now = time.time()
    log.close()
    times = [
        time.mktime(time.strptime(line["time"], "%Y-%m-%dT%H:%M:%S.%fZ")) - time.timezone for line in store.lines[1:3]
    ]
    assert times[0] == pytest.approx(now - 10, abs=5)
    assert times[1] == pytest.approx(now + 3601, abs=5)


def test_facts_that_were_missed_are_a_line_at_their_place() -> None:
    store = Store()
    log = log_into(store)
    log.take(fact(1))
    log.facts_missed(7)
    log.take(fact(9))
    log.caught_up(0.0)
    log.close()
    assert [line["kind"] for line in store.lines[1:-1]] == ["task_cancelled", "facts_missed", "task_cancelled"]
    assert store.lines[2]["count"] == 7


@pytest.mark.usefixtures("soon")
def test_a_store_that_refuses_is_one_warning_and_gets_every_line_when_it_takes_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = Store()
    store.problem = OSError(28, "No space left on device")
    with caplog.at_level(logging.WARNING):
        log = log_into(store)
        for number in range(20):
            take(log, range(number, number + 1))
        wait_for(lambda: (log.caught_up(0.0), store.calls > 3)[1])
        store.problem = None
        wait_for(lambda: (log.caught_up(0.0), len(store.lines) == 21)[1])
        log.close()
    assert [line["task"] for line in store.lines[1:-1]] == [*range(20)]
    [warning] = caplog.messages
    assert "No space left on device" in warning and "somewhere" in warning


def test_a_store_that_refuses_to_the_end_keeps_nobody(caplog: pytest.LogCaptureFixture) -> None:
    store = Store()
    store.problem = RuntimeError("never")
    with caplog.at_level(logging.WARNING):
        log = log_into(store)
        take(log, range(10))
        log.close()
    assert len(caplog.messages) == 1
    assert store.written == b""


@pytest.mark.usefixtures("soon")
def test_facts_beyond_those_that_are_kept_are_counted_where_they_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 10)
    store = Store()
    store.answers.clear()
    log = log_into(store)
    wait_for(lambda: store.calls)
    take(log, range(25))  # 15 too many
    store.answers.set()
    wait_for(lambda: len(store.lines) == 11)
    take(log, range(25, 27))
    take(log, range(27, 45))  # perhaps some too many, with none after them
    log.close()
    [first, *rest] = [line for line in store.lines if line["kind"] == "facts_dropped"]
    facts = [line["task"] for line in store.lines if line["kind"] == "task_cancelled"]
    assert first["count"] == 15
    assert store.lines.index(first) == 11
    assert facts[:12] == [*range(10), 25, 26]
    assert len(facts) + sum(line["count"] for line in (first, *rest)) == 45
    assert store.lines[-1]["kind"] == "log_ended"


def test_a_store_that_hangs_holds_up_no_one_for_long(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "CLOSE_SECONDS", 0.1)
    store = Store()
    store.answers.clear()
    log = log_into(store)
    began = time.monotonic()
    take(log, range(1_000))
    with caplog.at_level(logging.WARNING):
        log.close()
    assert time.monotonic() - began < 5
    assert "has not answered for 0.1 s" in caplog.text
    store.answers.set()


def test_a_log_that_was_never_begun_ends() -> None:
    EventLog("somewhere", session_id="s", configuration={}, versions={}, store=Store()).close()  # type: ignore[arg-type]


def test_a_file_that_is_large_is_followed_by_the_next(tmp_path: Path) -> None:
    store = FolderStore(str(tmp_path / "new" / "folder"), "name", file_bytes=100)
    for number in range(5):
        store.append(b"%d" % number * 39 + b"\n")
    store.append(b"x" * 1_000 + b"\n")
    store.close()
    sizes = {path.name: path.stat().st_size for path in sorted((tmp_path / "new" / "folder").iterdir())}
    assert [*sizes.values()] == [80, 80, 40, 1_001]
    assert [*sizes] == [f"name.{number:06}.jsonl" for number in range(1, 5)]


def test_a_disk_that_takes_half_a_line_gets_the_whole_line_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FolderStore(str(tmp_path), "name")
    store.append(b"one\n")
    write = os.write
    answers = iter([3, OSError(28, "No space left on device")])

    def half(file: int, data: bytes) -> int:
        answer = next(answers)
        if isinstance(answer, int):
            return write(file, data[:answer])
        raise answer

    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space"):
        patched.setattr(os, "write", half)
        store.append(b"two and more\n")
    store.append(b"two and more\n")
    store.close()
    assert (tmp_path / "name.000001.jsonl").read_bytes() == b"one\ntwo and more\n"


def test_a_folder_that_cannot_be_made_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    log = EventLog(str(tmp_path / "file" / "logs"), session_id="s", configuration={}, versions={})
    with caplog.at_level(logging.WARNING):
        log.start()
        log.close()
    [warning] = caplog.messages
    assert "Not a directory" in warning


def test_a_store_of_objects_gets_each_batch_as_an_object(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with object_server() as server:
        uri = f"s3://bucket/logs/daft?scheme=http&endpoint_override={server.address}&region=x"
        log = EventLog(uri, session_id="s", configuration={}, versions={})
        log.start()
        wait_for(lambda: len(server.objects) == 1)
        take(log, range(3))
        log.close()
        names = sorted(server.objects)
        assert names[0] == f"/bucket/logs/daft/{log.name}.000001.jsonl"
        kinds = [line["kind"] for name in names for line in lines_of(server.objects[name])]
    assert kinds == ["log_began", *["task_cancelled"] * 3, "log_ended"]


def test_an_object_that_was_refused_is_written_under_the_same_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with object_server() as server:
        store = ObjectStore(f"s3://bucket/a?scheme=http&endpoint_override={server.address}&region=x", "name")
        server.refuses = True
        with pytest.raises(OSError, match="ACCESS_DENIED"):
            store.append(b"1\n")
        server.refuses = False
        store.append(b"1\n")
        assert server.objects == {"/bucket/a/name.000001.jsonl": b"1\n"}


def test_a_store_that_never_answers_is_given_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of the process waits for calls of S3 under way."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        store = ObjectStore(f"s3://bucket/a?scheme=http&endpoint_override={address}&region=x", "name")
        began = time.monotonic()
        with pytest.raises(OSError, match="too slow"):
            store.append(b"1\n")
        assert time.monotonic() - began < 30


def test_the_first_line_has_the_configuration_without_secrets(tmp_path: Path) -> None:
    configuration = Configuration(
        event_log=str(tmp_path),
        env={"KEY": "private-1"},  # type: ignore[arg-type]
        pip=("x @ https://private-2@example.com/x.zip", "y @ git+ssh://me:private-3@example.com/y"),
        working_dir="abfss://code@account.dfs.core.windows.net/x",
    )
    log = event_log_of(configuration, "s", "0.7.99")
    assert log is not None
    log.start()
    log.close()
    [path] = tmp_path.iterdir()
    first = lines_of(path.read_bytes())[0]
    assert "private-" not in path.read_text()
    assert first["configuration"]["env"] == {"KEY": HIDDEN}
    assert first["configuration"]["pip"] == ["x @ https://***@example.com/x.zip", "y @ git+ssh://***@example.com/y"]
    assert first["configuration"]["working_dir"] == configuration.working_dir
    assert first["versions"]["daft"] == "0.7.99"


def test_no_log_is_written_unless_one_is_asked_for() -> None:
    assert event_log_of(Configuration(), "s", "1") is None
