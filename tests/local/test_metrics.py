"""The metrics of a real session, scraped over HTTP while it loses a worker and fails a task."""

from __future__ import annotations

import signal
import urllib.request
from pathlib import Path

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.local.remote_driver import RemoteDriver, send_signal
from tests.local.test_failures_workers import SCAN, TOTAL, hold

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
FAILS = """
@daft.func
def fails(x: int) -> int:
    raise ValueError("as planned")
try:
    daft.range(1).select(fails(col("id"))).collect()
except Exception as error:
    answer = "as planned" in str(error)
"""


def scrape(driver: RemoteDriver) -> dict[str, float]:
    """The samples by name, with the values of their labels behind it."""
    address = driver.run("answer = session.metrics_address")
    assert address.startswith("127.0.0.1:")
    request = urllib.request.Request(f"http://{address}/metrics", headers={"Accept": OPENMETRICS})
    with urllib.request.urlopen(request, timeout=30) as answer:
        text = answer.read().decode()
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_lost_worker_its_retry_and_a_failed_task_are_counted_once(tmp_path: Path) -> None:
    with RemoteDriver(tmp_path, metrics_port=0) as driver:
        before = scrape(driver)
        assert (before["daft_workers ready"], before["daft_slots"]) == (2, 2)
        assert before["daft_worker_start_seconds_count"] == before["daft_worker_launches_total"] == 2
        checkpoint, (pid,) = hold(driver, tmp_path / "hold", SCAN)
        send_signal(pid, signal.SIGKILL)
        checkpoint.open()
        reply = driver.reply()
        assert (reply.answer, reply.error) == (TOTAL, None), reply
        assert driver.run(FAILS) is True
        driver.wait_for_workers(2)
        after = scrape(driver)
    assert set(after) == set(before), "no series came up"
    assert after["daft_worker_losses_total"] == after["daft_worker_process_ends_total crash"] == 1
    assert after["daft_worker_oomkilled_total"] == 0
    assert after["daft_worker_launches_total"] == after["daft_worker_start_seconds_count"] == 3
    assert after["daft_task_attempts_lost_total crash"] >= 1
    assert after["daft_task_retries_total"] == after["daft_task_attempts_lost_total crash"]
    assert after["daft_tasks_ended_total failed"] == 1
    assert after["daft_tasks_ended_total succeeded"] == after["daft_tasks_submitted_total"] - 1 >= 8
    assert after["daft_task_latency_seconds_count"] == after["daft_tasks_submitted_total"]
    assert after["daft_queries_started_total"] == after["daft_queries_ended_total"] == 2
    assert (after["daft_tasks_running"], after["daft_tasks_waiting"], after["daft_queries_running"]) == (0, 0, 0)
