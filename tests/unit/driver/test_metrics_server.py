"""The port for metrics over HTTP: its forms, its probes, its limits.

Not covered: what is counted (tests/unit/observe/test_metrics.py), and real sessions (tests/local/test_metrics.py).
"""

from __future__ import annotations

import http.client
import importlib.util
import logging
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from daft_k8s.config import Configuration
from daft_k8s.driver import metrics_server as module
from daft_k8s.driver.metrics_server import MetricsServer, metrics_of, own_host
from daft_k8s.errors import ConfigurationError
from daft_k8s.observe.metrics import METRICS, STATES, SessionMetrics

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


class State:
    """The state of a session."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str], float] | None = {
            (metric.name, value): 0.0 for metric in METRICS if metric.kind == "gauge" for value in metric.values
        }

    def set(self, name: str, value: float, label: str = "") -> None:
        assert self.values is not None
        self.values[name, label] = value

    def gauges(self) -> dict[tuple[str, str], float] | None:
        return self.values


@pytest.fixture
def state() -> State:
    return State()


@pytest.fixture
def metrics() -> SessionMetrics:
    return SessionMetrics()


@pytest.fixture
def server(state: State, metrics: SessionMetrics) -> Iterator[MetricsServer]:
    found = MetricsServer(0, metrics, state.gauges, session_id="s")
    found.start()
    yield found
    found.close()


def get(server: MetricsServer, path: str, **headers: str) -> tuple[int, str, str]:
    assert server.address is not None
    connection = http.client.HTTPConnection(server.address, timeout=20)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read().decode()
    finally:
        connection.close()


def test_every_metric_is_there_from_the_beginning_in_both_forms(server: MetricsServer, metrics: SessionMetrics) -> None:
    metrics.counts["daft_tasks_ended_total", "failed"] = 3
    metrics.histograms["daft_task_latency_seconds"].observe(0.3)
    for accept, parse in (("text/plain", text_string_to_metric_families), (OPENMETRICS, None)):
        status, kind, text = get(server, "/metrics", Accept=accept)
        assert (status, kind.partition(";")[0]) == (200, accept.partition(";")[0])
        families = list(parse(text) if parse is not None else openmetrics.text_string_to_metric_families(text))
        found = {
            family.name + ("_total" if family.type == "counter" else ""): family
            for family in families
            if family.type != "unknown"
        }
        assert {name: family.type for name, family in found.items()} == {metric.name: metric.kind for metric in METRICS}
        samples = {
            (sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples
        }
        assert samples["daft_tasks_ended_total", "failed"] == 3
        assert samples["daft_task_latency_seconds_bucket", "0.25"] == 0
        assert samples["daft_task_latency_seconds_bucket", "0.5"] == 1
        assert samples["daft_task_latency_seconds_count",] == 1
        assert samples["daft_task_latency_seconds_sum",] == pytest.approx(0.3)
        assert all(("daft_workers", state) in samples for state in STATES)


def test_the_probes_follow_the_session(server: MetricsServer, state: State) -> None:
    state.set("daft_workers_wanted", 2)
    assert get(server, "/healthz")[0] == 200
    assert get(server, "/readyz")[::2] == (503, "no worker is ready\n")
    state.set("daft_workers", 1, "ready")
    assert get(server, "/readyz")[::2] == (200, "ok\n")
    state.set("daft_workers", 0, "ready")
    state.set("daft_workers_wanted", 0)
    assert get(server, "/readyz")[0] == 200
    state.values = None
    assert [get(server, path)[0] for path in ("/healthz", "/readyz", "/metrics", "/")] == [503, 503, 200, 404]


def test_it_ends_at_once_and_its_port_is_free_again(server: MetricsServer, state: State) -> None:
    assert server.address is not None
    port = int(server.address.rpartition(":")[2])
    assert get(server, "/healthz")[0] == 200
    server.close()
    server.close()
    assert server.address is None
    again = MetricsServer(port, SessionMetrics(), state.gauges, session_id="s")
    again.start()
    assert get(again, "/healthz")[0] == 200
    again.close()


def test_a_port_that_is_taken_is_a_warning(
    server: MetricsServer, state: State, caplog: pytest.LogCaptureFixture
) -> None:
    assert server.address is not None
    port = int(server.address.rpartition(":")[2])
    with caplog.at_level(logging.INFO, "daft_k8s"):
        second = MetricsServer(port, SessionMetrics(), state.gauges, session_id="t")
        second.start()
        second.close()
    [message] = caplog.messages
    assert server.address in message and "metrics_port" in message and "in use" in message


def test_callers_that_say_nothing_keep_no_thread_for_long(
    server: MetricsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module._Handler, "timeout", 0.2)
    assert server.address is not None
    host, _, port = server.address.rpartition(":")
    silent = [socket.create_connection((host, int(port)), timeout=20) for _ in range(3 * module.MAX_REQUESTS)]
    for connection in silent:
        assert connection.recv(1) == b""  # cut off: those beyond the limit at once, the others a little later
        connection.close()
    end = time.monotonic() + 20
    while True:
        try:
            assert get(server, "/healthz")[0] == 200
            return
        except (http.client.HTTPException, OSError):  # a thread has not ended yet
            assert time.monotonic() < end
            time.sleep(0.01)


def test_the_address_is_that_of_the_pod_and_else_the_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("POD_IP", "10.1.2.3")
    assert own_host() == "127.0.0.1"
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert own_host() == "10.1.2.3"
    monkeypatch.delenv("POD_IP")
    answer: list[Any] = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fd00::7", 0, 0, 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answer)
    assert own_host() == "fd00::7"


def test_it_serves_at_an_address_of_ipv6(state: State) -> None:
    found = MetricsServer(0, SessionMetrics(), state.gauges, session_id="s", host="::1")
    found.start()
    if found.address is None:
        pytest.skip("this machine has no IPv6")
    assert found.address.startswith("[::1]:")
    assert get(found, "/healthz")[0] == 200
    found.close()


def test_a_missing_package_is_an_error_that_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert metrics_of(Configuration()) is None
    with pytest.raises(ConfigurationError, match=r"pip install 'daft_k8s\[metrics\]'"):
        metrics_of(Configuration(metrics_port=0))
