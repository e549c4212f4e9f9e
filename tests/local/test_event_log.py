"""The event log of real sessions: each fact once, also when a worker is lost or the driver is killed.

Not covered: disks and stores that fail (tests/unit/observe/test_event_log.py).
"""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

from daft_k8s.observe.event_schema import timestamp
from tests.local.driver_process import run, start
from tests.local.remote_driver import RemoteDriver, send_signal
from tests.local.test_failures_workers import SCAN, TOTAL, hold

ENDS = ("task_succeeded", "task_failed", "task_lost", "task_cancelled")


def log_in(folder: Path) -> list[Any]:
    [path] = folder.iterdir()
    text = path.read_text()
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def assert_each_fact_is_there_once(lines: list[Any]) -> None:
    facts = [line for line in lines if "sequence" in line]
    numbers = [fact["sequence"] for fact in facts]
    assert numbers == sorted(set(numbers))
    assert [fact["time"] for fact in facts] == sorted(fact["time"] for fact in facts)
    assert all(fact["cause"] <= fact["sequence"] for fact in facts)
    assert not [line for line in lines if line["kind"] in ("facts_missed", "facts_dropped")]


def test_a_session_that_loses_a_worker_is_told_with_each_fact_once(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    with RemoteDriver(tmp_path, event_log=str(logs)) as driver:
        checkpoint, (pid,) = hold(driver, tmp_path / "hold", SCAN)
        send_signal(pid, signal.SIGKILL)
        checkpoint.open()
        reply = driver.reply()
        assert (reply.answer, reply.error) == (TOTAL, None), reply
        driver.run("session.shutdown()")
    lines = log_in(logs)
    assert (lines[0]["kind"], lines[-1]["kind"]) == ("log_began", "log_ended")
    assert_each_fact_is_there_once(lines)
    kinds = Counter(line["kind"] for line in lines)
    assert kinds["worker_lost"] == 1
    assert (kinds["query_began"], kinds["query_ended"]) == (1, 1)
    [ended] = [line for line in lines if line["kind"] == "process_ended" and line["exit_cause"] == "crash"]
    [lost] = [line for line in lines if line["kind"] == "worker_lost"]
    attempts = [line for line in lines if line["kind"] == "attempt_lost"]
    assert attempts
    for line in (ended, *attempts):
        assert (line["worker_id"], line["launch"]) == (lost["worker_id"], lost["launch"])
        assert line["cause_name"] is not None
    assert sum(line["count"] for line in attempts) == 1
    submitted = Counter(line["task"] for line in lines if line["kind"] == "task_submitted")
    over = Counter(line["task"] for line in lines if line["kind"] in ENDS)
    assert submitted == over
    assert set(submitted.values()) == {1}
    sent = Counter((line["task"], line["attempt"]) for line in lines if line["kind"] == "task_sent")
    assert set(sent.values()) == {1}
    assert {(line["task"], line["attempt"]) for line in lines if line["kind"] == "task_succeeded"} <= set(sent)


KILLED = """
import daft, daft_k8s
daft_k8s.set_runner_k8s(num_workers=2, worker_cpu=1, worker_memory="512Mi", event_log={logs!r})
daft.range(100, partitions=4).collect()
print("ready", flush=True)
while True:
    daft.range(4, partitions=4).collect()
    print("again", flush=True)
"""


def test_the_log_of_a_driver_that_is_killed_lacks_at_most_the_last_second(tmp_path: Path) -> None:
    with start(KILLED.format(logs=str(tmp_path / "logs"))) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "ready\n"
        end = time.monotonic() + 4
        while time.monotonic() < end:
            driver.stdout.readline()
        driver.kill()
        killed = time.time()
        driver.communicate()
    lines = log_in(tmp_path / "logs")
    assert lines[-1]["kind"] != "log_ended"
    assert_each_fact_is_there_once(lines)
    assert timestamp(killed - 1) <= lines[-1]["time"] <= timestamp(killed)


def test_a_folder_that_cannot_be_written_fails_no_query(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run(
        f"""
        import daft, daft_k8s, logging
        logging.basicConfig()
        session = daft_k8s.set_runner_k8s(num_workers=1, worker_memory="512Mi", event_log={str(tmp_path / "file")!r})
        print(daft.range(100, partitions=4).count_rows())
        session.shutdown()
        """
    )
    assert (done.returncode, done.stdout) == (0, "100\n"), done.stderr
    assert done.stderr.count("the event log of session") == 1, done.stderr
