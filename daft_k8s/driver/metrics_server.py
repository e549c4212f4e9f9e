"""The driver's port for metrics, which answers over HTTP in the forms of Prometheus and OpenMetrics."""

from __future__ import annotations

import importlib.util
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from daft_k8s.addresses import join
from daft_k8s.errors import ConfigurationError
from daft_k8s.observe.metrics import METRICS, Histogram, SessionMetrics

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric as Family

    from daft_k8s.config import Configuration

logger = logging.getLogger("daft_k8s")

REQUEST_SECONDS = 5.0
"""A caller that sends or reads nothing for so long is cut off."""
MAX_REQUESTS = 8
"""Answered at the same time; further callers are turned away. Prometheus has one connection for each replica."""

Gauges = Callable[[], "dict[tuple[str, str], float] | None"]
"""Returns the gauges now; None: the session is not open. Reads the facts up to now first."""


def metrics_of(configuration: Configuration) -> SessionMetrics | None:
    """The counts of a session; None: no port for metrics is wanted.

    Raises:
        ConfigurationError: A package is missing.
    """
    if configuration.metrics_port is None:
        return None
    if importlib.util.find_spec("prometheus_client") is None:
        raise ConfigurationError(
            f"metrics_port={configuration.metrics_port} needs the package prometheus-client, which is not installed: "
            "pip install 'daft_k8s[metrics]', or leave metrics_port out"
        )
    return SessionMetrics()


class MetricsServer:
    """Serves `/metrics`, `/healthz` and `/readyz` until it is closed.

    Args:
        port: The port; 0: any that is free.
        host: The address; None: that of the Pod in which this process runs, else the loopback address.
        metrics: The counts of the session.
        gauges: The state of the session.
    """

    def __init__(
        self, port: int, metrics: SessionMetrics, gauges: Gauges, *, session_id: str, host: str | None = None
    ) -> None:
        self._port = port
        self._host = host or own_host()
        self._metrics = metrics
        self._gauges = gauges
        self._session_id = session_id
        self._server: _Server | None = None

    @property
    def address(self) -> str | None:
        """The address, `host:port`; None: it does not serve."""
        return None if self._server is None else join(self._host, self._server.server_port)

    def start(self) -> None:
        """Begins to serve. A port that cannot be had is a warning: no query needs it."""
        try:
            self._server = _Server(self._host, self._port, self._app())
        except OSError as error:
            logger.warning(
                "session %s serves no metrics: it cannot listen at %s (%s). Set metrics_port to another port, or to 0 "
                "for any that is free",
                self._session_id,
                join(self._host, self._port),
                error.strerror or error,
            )
            return
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="daft_k8s metrics", daemon=True
        ).start()
        logger.info("session %s serves its metrics at http://%s/metrics", self._session_id, self.address)

    def close(self) -> None:
        """Ends the serving."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def collect(self) -> Iterator[Family]:
        """The metrics now, for a registry of prometheus_client."""
        from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        gauges = self._gauges()  # first: it reads the facts up to now
        if gauges is None:
            return
        values = {**gauges, **self._metrics.counts}
        for metric in METRICS:
            labels = [metric.label] if metric.label else []
            if metric.kind == "histogram":
                yield _histogram(HistogramMetricFamily(metric.name, metric.help), self._metrics.histograms[metric.name])
                continue
            family: Any = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            found = family(metric.name, metric.help, labels=labels)
            for value in metric.values:
                found.add_metric([value] if labels else [], values[metric.name, value])
            yield found

    def _app(self) -> Callable[..., Iterable[bytes]]:
        from prometheus_client import CollectorRegistry, make_wsgi_app

        registry: Any = CollectorRegistry()
        registry.register(self)
        metrics: Callable[..., Iterable[bytes]] = make_wsgi_app(registry)

        def app(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
            path = environ["PATH_INFO"]
            if path == "/metrics":
                return metrics(environ, start_response)
            status, text = self._probe(path)
            start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
            return [f"{text}\n".encode()]

        return app

    def _probe(self, path: str) -> tuple[str, str]:
        if path not in ("/healthz", "/readyz"):
            return "404 Not Found", "/metrics, /healthz, /readyz"
        gauges = self._gauges()
        if gauges is None:
            return "503 Service Unavailable", "the session is closed"
        if path == "/readyz" and not is_ready(gauges):
            return "503 Service Unavailable", "no worker is ready"
        return "200 OK", "ok"


def is_ready(gauges: dict[tuple[str, str], float]) -> bool:
    """True if a worker is ready, or none is wanted, as an elastic pool without work has none."""
    return gauges["daft_workers", "ready"] > 0 or gauges["daft_workers_wanted", ""] == 0


def own_host() -> str:
    """The address of the Pod in which this process runs, by its hosts file; elsewhere the loopback address."""
    if not os.environ.get("KUBERNETES_SERVICE_HOST"):
        return "127.0.0.1"
    found = os.environ.get("POD_IP")
    if found:
        return found
    try:
        return str(socket.getaddrinfo(socket.gethostname(), None, type=socket.SOCK_STREAM)[0][4][0])
    except OSError:
        return "127.0.0.1"


def _histogram(family: Any, histogram: Histogram) -> Family:
    family.add_metric([], buckets=histogram.cumulative(), sum_value=histogram.total)
    found: Family = family
    return found


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def __init__(self, host: str, port: int, app: Callable[..., Iterable[bytes]]) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._answering = threading.BoundedSemaphore(MAX_REQUESTS)
        super().__init__((host, port), _Handler)
        self.set_app(app)

    def server_bind(self) -> None:
        # HTTPServer's own asks DNS for the name of the host, which can take long.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._answering.acquire(blocking=False):
            try:
                super().process_request(request, client_address)
            except BaseException:  # no thread can be started
                self._answering.release()
                raise
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._answering.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Logs what is wrong with one request; that of a caller who went away is nothing to tell."""
        logger.debug("a request for metrics failed", exc_info=True)


class _Handler(WSGIRequestHandler):
    timeout = REQUEST_SECONDS

    def log_message(self, format: str, *arguments: Any) -> None:
        """Logs nothing: a scrape comes every few seconds."""
