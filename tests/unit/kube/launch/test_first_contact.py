"""What is told of a cluster that cannot be reached when a session begins: real sockets, and a cluster in memory."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from daft_k8s.config import Configuration
from daft_k8s.errors import ClusterError, ConfigurationError
from daft_k8s.kube.client.api import KubernetesApi
from daft_k8s.kube.client.console import Console
from daft_k8s.kube.client.errors import ApiError, Obstacle
from daft_k8s.kube.client.link import Cluster
from daft_k8s.kube.launch import set_up
from daft_k8s.kube.launch.launcher import PodLauncher
from tests.unit.allocation.fakes import Pool
from tests.unit.kube.fake_cluster import FakeCluster, make_launcher

POD = "daft-s1-worker-0-1"


@pytest.fixture
def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    return tmp_path / "config"


def lead_to(kubeconfig: Path, server: str, **cluster: Any) -> None:
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "main", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "main",
    }
    kubeconfig.write_text(yaml.safe_dump(content))


@contextlib.contextmanager
def listening() -> Iterator[int]:
    """A port at which connections are accepted and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def begin(pool: Pool, **options: Any) -> PodLauncher:
    configuration = Configuration(allocation="pod", num_workers=1, image="image", **options)
    launcher = PodLauncher(configuration, session_id="s1", token="t", manager_getter=lambda: pool)
    launcher.launch("worker-0", 1)
    return launcher


def exit_of(launcher: PodLauncher, pool: Pool) -> tuple[object, ...]:
    try:
        [news] = pool.wait_for("exited")
        assert launcher.cluster_problem in str(news[3])
        return news
    finally:
        launcher.shutdown(2)


def test_a_cluster_that_refuses_is_told_at_once_with_its_address_and_where_that_is_from(
    kubeconfig: Path, pool: Pool
) -> None:
    server = f"https://localhost:{closed_port()}"  # a name with several addresses
    lead_to(kubeconfig, server)
    began = time.monotonic()
    launcher = begin(pool)
    news = exit_of(launcher, pool)
    assert time.monotonic() - began < 10, "and not after the start time-out of 120 s"
    assert news[4] is False
    problem = launcher.cluster_problem
    assert problem.startswith(f"the cluster cannot be reached at {server} (the context 'main' of the kubeconfig")
    assert str(kubeconfig) in problem
    assert "nothing listens there" in problem
    assert "kube_context" in problem


OBSTACLES = {
    "https://no-such-name.invalid:6443": "its name is not known here",
    "127.0.0.1:6443": "it is no URL",
}


@pytest.mark.parametrize("server", OBSTACLES)
def test_an_address_that_leads_nowhere_is_told_at_once(
    kubeconfig: Path, pool: Pool, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    lead_to(kubeconfig, server)
    launcher = begin(pool)
    exit_of(launcher, pool)
    assert OBSTACLES[server] in launcher.cluster_problem


def test_a_certificate_of_another_cluster_is_told_at_once(kubeconfig: Path, pool: Pool, tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def serve(started: asyncio.Future[int]) -> None:
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
        async with server:
            started.set_result(server.sockets[0].getsockname()[1])
            await server.serve_forever()

    async def ask() -> ApiError:
        started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        serving = asyncio.ensure_future(serve(started))
        api = KubernetesApi(Cluster(f"https://127.0.0.1:{await started}"))
        try:
            with pytest.raises(ApiError) as caught:
                await api.list_pods("jobs", "a=b")
            assert not api.has_answered
            return caught.value
        finally:
            await api.close()
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)

    error = asyncio.run(ask())
    assert error.obstacle is Obstacle.CERTIFICATE
    assert "certificate verify failed" in error.message


def test_a_port_that_does_not_speak_tls_is_told_at_once(kubeconfig: Path, pool: Pool) -> None:
    async def answer_in_plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n")
        await writer.drain()
        await reader.read(100)
        writer.close()

    async def ask() -> ApiError:
        server = await asyncio.start_server(answer_in_plain, "127.0.0.1", 0)
        async with server:
            api = KubernetesApi(Cluster(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"))
            try:
                with pytest.raises(ApiError) as caught:
                    await api.list_pods("jobs", "a=b")
                return caught.value
            finally:
                await api.close()

    assert asyncio.run(ask()).obstacle is Obstacle.NO_TLS


def test_certificates_that_cannot_be_read_are_told_with_the_kubeconfig(kubeconfig: Path, pool: Pool) -> None:
    lead_to(kubeconfig, "https://127.0.0.1:1", **{"certificate-authority": str(kubeconfig)})
    launcher = begin(pool)
    news = exit_of(launcher, pool)
    assert "the certificates of the context 'main' of the kubeconfig" in str(news[3])
    assert isinstance(launcher._set_up.task.exception() if launcher._set_up.task else None, ConfigurationError)


def test_a_cluster_that_is_silent_is_waited_for_and_told_of_once(
    kubeconfig: Path, pool: Pool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(set_up, "SILENCE_SECONDS", 0.2)
    with listening() as port:
        lead_to(kubeconfig, f"https://127.0.0.1:{port}")
        launcher = begin(pool, start_timeout_seconds=2)
        news = exit_of(launcher, pool)
    assert "not ready after 2 s" in str(news[3])
    assert launcher.cluster_problem == ""
    [warned] = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warned.startswith(f"the cluster at https://127.0.0.1:{port} (the context 'main' of the kubeconfig")
    assert "has not answered for 0.2 s" in warned
    assert "at most start_timeout_seconds (2)" in warned


def test_a_cluster_that_takes_the_session_in_is_not_warned_of(
    cluster: FakeCluster, pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    launcher = make_launcher(cluster, pool)
    try:
        launcher.launch("worker-0", 1)
        cluster.wait_until(lambda: POD in cluster.pods)
        launcher._set_up._warn_if_silent()
        assert not caplog.records
    finally:
        launcher.shutdown(2)


def refused() -> ApiError:
    return ApiError("create secrets", 0, "Connection refused", obstacle=Obstacle.REFUSED)


@pytest.mark.parametrize(("answered", "forwarded"), [(True, True), (False, False)], ids=["later", "in a Pod"])
def test_a_refusal_after_the_first_answer_or_in_a_pod_is_waited_for(
    cluster: FakeCluster, pool: Pool, answered: bool, forwarded: bool
) -> None:
    """An API server that is started anew, and a mesh's sidecar that has not begun yet."""
    cluster.answered = answered
    cluster.problems["create secrets"] = [refused(), refused()]
    launcher = make_launcher(cluster, pool, forwarded=forwarded)
    try:
        launcher.launch("worker-0", 1)
        cluster.wait_until(lambda: POD in cluster.pods)
        assert launcher.cluster_problem == ""
    finally:
        launcher.shutdown(2)


def test_a_later_try_that_succeeds_has_no_problem_any_more(cluster: FakeCluster, pool: Pool) -> None:
    cluster.answered = False
    cluster.problems["create secrets"] = [refused()]
    launcher = make_launcher(cluster, pool, forwarded=True)
    try:
        cluster.wait_until(lambda: not cluster.problems["create secrets"])  # what it asks for before any launch
        cluster.problems["create secrets"].append(refused())
        launcher.launch("worker-0", 1)
        pool.wait_for("exited")
        assert "nothing listens there: Connection refused" in launcher.cluster_problem
        launcher.launch("worker-0", 2)
        cluster.wait_until(lambda: "daft-s1-worker-0-2" in cluster.pods)
        assert launcher.cluster_problem == ""
    finally:
        launcher.shutdown(2)


def test_the_command_line_tells_the_same(kubeconfig: Path) -> None:
    server = f"https://127.0.0.1:{closed_port()}"
    lead_to(kubeconfig, server)

    async def ask() -> None:
        async with Console() as console:
            await console.items("/api/v1/{ns}/pods")

    with pytest.raises(ClusterError, match=f"cannot be reached at {server} .the context 'main'.*nothing listens there"):
        asyncio.run(ask())


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate that no authority has signed that this machine trusts, and its key."""
    from daft_k8s._native import SessionCertificates

    files = SessionCertificates("s1").worker_files
    certificate, key = folder / "tls.crt", folder / "tls.key"
    certificate.write_bytes(files["tls.crt"])
    key.write_bytes(files["tls.key"])
    return certificate, key
