"""The client of the Kubernetes API over real HTTP, against a server that answers as clusters at their worst do."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web

from daft_k8s.kube.client import link
from daft_k8s.kube.client.api import KubernetesApi
from daft_k8s.kube.client.errors import ApiError
from daft_k8s.kube.client.link import Cluster
from tests.unit.kube.pod_json import ready_pod

CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBdTCCARugAwIBAgIUPdsr4d10XRF1B+GMtcARHe8xe3IwCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEdGVzdDAgFw0yNjExMjIwNjA1MTZaGA8yMTI2MTAyOTA2MDUx
NlowDzENMAsGA1UEAwwEdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNsd
Zduil3zAOPEFqtE/dHTC8/UIshPYmHc3mBVrk4WK5CD5rZaZhRNgXUsvCzaOnkaV
Z5SFJh77fOscgjafbm+jUzBRMB0GA1UdDgQWBBTgFMrfwi0ci8wJKzN59As13yMm
djAfBgNVHSMEGDAWgBTgFMrfwi0ci8wJKzN59As13yMmdjAPBgNVHRMBAf8EBTAD
AQH/MAoGCCqGSM49BAMCA0gAMEUCIEF2sIkdEHVmjEfNdD1+l/MiLs3TLacF0uDf
hrvmpMEAAiEA341CbqlYn37O4xd3NSmR0I77ii6nDAp7Nbq2rJITYr0=
-----END CERTIFICATE-----
"""
"""Of nobody; what was its key is gone."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def ask(handler: Handler, work: Callable[[KubernetesApi], Awaitable[Any]], **options: Any) -> Any:
    """What the client makes of a server with this handler."""

    async def run() -> Any:
        async with Serving(handler) as address:
            api = KubernetesApi(Cluster(address), **options)
            try:
                return await asyncio.wait_for(work(api), 30)
            finally:
                await api.close()

    return asyncio.run(run())


def ask_without_credentials(work: Callable[[KubernetesApi], Awaitable[Any]]) -> Any:
    """What the client makes of credentials that it waits for in vain."""

    async def never() -> str | None:
        await asyncio.Event().wait()
        return None

    async def run() -> Any:
        api = KubernetesApi(Cluster("http://127.0.0.1:9", authorize=never))
        try:
            return await asyncio.wait_for(work(api), 10)
        finally:
            await api.close()

    return asyncio.run(run())


class Serving:
    """An HTTP server on the loopback."""

    def __init__(self, handler: Handler) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)

    async def __aenter__(self) -> str:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()


async def list_them(api: KubernetesApi) -> Any:
    return await api.list_pods("jobs", "a=b")


async def watch_them(api: KubernetesApi) -> list[dict[str, Any]]:
    return [event async for event in api.watch_pods("jobs", "a=b", "7")]


async def create_one(api: KubernetesApi) -> Any:
    return await api.create_pod("jobs", {"metadata": {"name": "p"}})


def streaming(*events: object, then_silence: bool = False) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.query["watch"] == "true"
        assert request.query["allowWatchBookmarks"] == "true"
        assert request.query["resourceVersion"] == "7"
        assert int(request.query["timeoutSeconds"]) < 300
        response = web.StreamResponse()
        await response.prepare(request)
        for event in events:
            await response.write((event if isinstance(event, bytes) else json.dumps(event).encode()) + b"\n")
        if then_silence:
            await asyncio.sleep(60)
        return response

    return handler


def answering(status: int, text: str, **headers: str) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text=text, headers={k.replace("_", "-"): v for k, v in headers.items()})

    return handler


def test_a_watch_gives_events_until_the_server_ends_it() -> None:
    events = [{"type": "ADDED", "object": ready_pod()}, {"type": "BOOKMARK", "object": {}}]
    assert ask(streaming(*events), watch_them) == events


def test_a_watch_of_which_nothing_more_is_heard_ends() -> None:
    """A connection that is half open: nothing arrives, and nothing says that it is broken."""
    with pytest.raises(ApiError) as raised:
        ask(streaming({"type": "ADDED", "object": {}}, then_silence=True), watch_them, silence_seconds=0.2)
    assert raised.value.status == 0
    assert raised.value.transient


@pytest.mark.parametrize(("status", "answers"), [(200, True), (401, True), (403, True), (502, False), (503, False)])
def test_a_refusal_is_a_sign_of_life_of_the_api_server_and_a_proxys_excuse_is_none(status: int, answers: bool) -> None:
    assert ask(answering(status, "words"), lambda api: api.answers()) is answers


def test_an_api_server_that_nobody_reaches_gives_no_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daft_k8s.kube.client.api._ANSWER_SECONDS", 0.2)

    async def run() -> bool:
        api = KubernetesApi(Cluster("http://127.0.0.1:9"))
        try:
            return await api.answers()
        finally:
            await api.close()

    async def silence(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(60)
        return web.Response()

    assert asyncio.run(run()) is False
    assert ask(silence, lambda api: api.answers()) is False


def test_a_version_that_is_too_old_is_410_as_an_answer_and_as_an_event() -> None:
    status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version: 7 (9)"}
    for handler in (answering(410, json.dumps(status)), streaming({"type": "ERROR", "object": status})):
        with pytest.raises(ApiError, match="too old resource version") as raised:
            ask(handler, watch_them)
        assert raised.value.status == 410


@pytest.mark.parametrize("event", [b"<html>", b'{"type": "ADDED"', {"type": "ERROR", "object": {}}, {"type": "ERROR"}])
def test_a_watch_that_makes_no_sense_is_an_error(event: object) -> None:
    with pytest.raises(ApiError):
        ask(streaming(event), watch_them)


def test_pages_of_a_list_are_joined() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        page = int(request.query.get("continue", "0"))
        metadata = {"resourceVersion": "41", **({"continue": str(page + 1)} if page < 2 else {})}
        return web.json_response({"metadata": metadata, "items": [ready_pod(f"p{page}")]})

    pods, version = ask(handler, list_them)
    assert [pod["metadata"]["name"] for pod in pods] == ["p0", "p1", "p2"]
    assert version == "41"


@pytest.mark.parametrize("status", [410, 500])
def test_a_list_of_which_a_page_fails_is_no_list(status: int) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if "continue" in request.query:
            return web.json_response({"code": status, "message": "no more"}, status=status)
        return web.json_response({"metadata": {"continue": "x"}, "items": [ready_pod()]})

    with pytest.raises(ApiError) as raised:
        ask(handler, list_them)
    assert raised.value.status == status


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '{"kind": "Status", "status": "Success"}'])
def test_an_answer_that_is_no_list_is_not_a_list_of_nothing(text: str) -> None:
    """As a proxy gives it whose own server is away. Read as "no Pods", it would end every worker."""
    with pytest.raises(ApiError) as raised:
        ask(answering(200, text), list_them)
    assert (raised.value.status, raised.value.transient) == (0, True)


def test_a_list_whose_second_page_is_none_is_no_list() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if "continue" in request.query:
            return web.Response(text="")
        return web.json_response({"metadata": {"continue": "x"}, "items": [ready_pod()]})

    with pytest.raises(ApiError):
        ask(handler, list_them)


@pytest.mark.parametrize("items", [[], None])
def test_a_list_of_nothing_is_one(items: object) -> None:
    handler = answering(200, json.dumps({"metadata": {"resourceVersion": "4"}, "items": items}))
    assert ask(handler, list_them) == ([], "4")


@pytest.mark.parametrize("text", ["", "null", "[]", "{}"])
def test_an_answer_without_a_verdict_is_no_refusal_of_a_right(text: str) -> None:
    with pytest.raises(ApiError) as raised:
        ask(answering(201, text), lambda api: api.may("jobs", "", "pods", "create"))
    assert raised.value.status == 0


def test_throttling_in_plain_text_is_understood() -> None:
    handler = answering(429, "Too many requests, please try again later.", Retry_After="3")
    with pytest.raises(ApiError, match="please try again later") as raised:
        ask(handler, create_one)
    assert (raised.value.status, raised.value.retry_after_seconds, raised.value.transient) == (429, 3.0, True)


@pytest.mark.parametrize("text", ["<html>bad gateway</html>", "[]", '"text"', ""])
def test_whatever_the_body_of_a_refusal_is_it_is_a_refusal(text: str) -> None:
    with pytest.raises(ApiError) as raised:
        ask(answering(502, text), create_one)
    assert raised.value.status == 502


def test_an_answer_that_does_not_come_is_no_answer() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(60)
        return web.Response()

    with pytest.raises(ApiError) as raised:
        ask(handler, create_one, call_seconds=0.2)
    assert raised.value.status == 0


def test_an_answer_that_is_cut_off_is_no_answer() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000", "Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(b'{"items": [')
        assert request.transport is not None
        request.transport.close()
        return response

    with pytest.raises(ApiError) as raised:
        ask(handler, list_them)
    assert raised.value.status == 0


def test_an_api_that_is_not_there_is_no_answer() -> None:
    async def run() -> None:
        async with Serving(answering(200, "{}")) as address:
            pass
        api = KubernetesApi(Cluster(address))
        try:
            await create_one(api)
        finally:
            await api.close()

    with pytest.raises(ApiError) as raised:
        asyncio.run(run())
    assert (raised.value.status, raised.value.transient) == (0, True)


def test_deleting_what_is_not_there_is_no_error() -> None:
    async def delete(api: KubernetesApi) -> None:
        await api.delete_pod("jobs", "p", 5)
        await api.delete_secret("jobs", "s")
        await api.delete_service("jobs", "s")
        await api.delete_stateful_set("jobs", "s")

    ask(answering(404, '{"reason": "NotFound"}'), delete)


def test_a_stateful_set_is_scaled_by_a_merge() -> None:
    seen: list[tuple[str, str, object]] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        seen.append((request.method, request.content_type, await request.json()))
        return web.json_response({})

    ask(handler, lambda api: api.scale_stateful_set("jobs", "s", 3))
    [(method, kind, body)] = seen
    assert (method, body) == ("PATCH", {"spec": {"replicas": 3}})
    assert kind in ("application/merge-patch+json", "application/strategic-merge-patch+json")


def test_a_dry_run_is_asked_for_as_one() -> None:
    seen: list[str | None] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        seen.append(request.query.get("dryRun"))
        return web.json_response({})

    ask(handler, lambda api: api.create_pod("jobs", {}, dry_run=True))
    ask(handler, lambda api: api.create_pod("jobs", {}))
    assert seen == ["All", None]


def test_a_right_is_reviewed_in_the_workers_namespace() -> None:
    seen: list[Any] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        seen.append(await request.json())
        return web.json_response({"status": {"allowed": len(seen) == 1}}, status=201)

    assert ask(handler, lambda api: api.may("jobs", "apps", "statefulsets", "patch")) is True
    assert ask(handler, lambda api: api.may("jobs", "", "pods", "create")) is False
    expected = {"namespace": "jobs", "group": "apps", "resource": "statefulsets", "verb": "patch"}
    assert seen[0]["spec"]["resourceAttributes"].items() >= expected.items()


def test_a_rotated_token_is_used_and_one_that_cannot_be_read_is_no_answer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "1")
    monkeypatch.setattr(link, "TOKEN_SECONDS", 0.0)
    (tmp_path / "ca.crt").write_text(CERTIFICATE)
    (tmp_path / "token").write_text("first")
    seen: list[str | None] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers.get("Authorization"))
        return web.json_response({})

    async def run() -> None:
        async with Serving(handler) as address:
            api = KubernetesApi.in_cluster(tmp_path)
            api._link.cluster = replace(api._link.cluster, host=address)
            try:
                await create_one(api)
                (tmp_path / "token").write_text("second")
                await create_one(api)
                (tmp_path / "token").write_text("")
                with pytest.raises(ApiError, match=r"token file .* is empty") as raised:
                    await create_one(api)
                assert raised.value.transient
                (tmp_path / "token").write_text("third")
                await create_one(api)
            finally:
                await api.close()

    asyncio.run(run())
    assert seen == ["Bearer first", "Bearer second", "Bearer third"]


def test_a_token_is_read_again_each_minute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is rotated long before it ends; one that was kept for ever would be refused after some hours."""
    now = 1000.0
    monkeypatch.setattr(link, "time", SimpleNamespace(monotonic=lambda: now))
    (tmp_path / "token").write_text("first\n")
    token = link._Token(tmp_path / "token")
    assert asyncio.run(token.authorize()) == "Bearer first"
    (tmp_path / "token").write_text("second\n")
    now += 59
    assert asyncio.run(token.authorize()) == "Bearer first"
    now += 2
    assert asyncio.run(token.authorize()) == "Bearer second"


@pytest.mark.parametrize(
    "work",
    [create_one, watch_them, lambda api: api.open_port("jobs", "p", 7777)],
    ids=["a call", "a watch", "a port-forward"],
)
def test_credentials_that_do_not_come_are_no_answer(
    work: Callable[[KubernetesApi], Awaitable[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As from a kubeconfig's plugin that hangs: no request has begun, so no time-out of one runs."""
    monkeypatch.setattr(link, "CREDENTIALS_SECONDS", 0.05)
    with pytest.raises(ApiError, match=r"^get credentials: .* within 0\.05 s") as raised:
        ask_without_credentials(work)
    assert (raised.value.status, raised.value.transient) == (0, True)


def test_an_api_server_gives_no_sign_of_life_to_whom_credentials_do_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "CREDENTIALS_SECONDS", 0.05)
    assert ask_without_credentials(lambda api: api.answers()) is False


def test_a_pod_without_a_token_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "1")
    with pytest.raises(ApiError, match="no service account's token"):
        KubernetesApi.in_cluster(tmp_path)


def test_a_driver_in_a_pod_does_not_load_the_package_of_the_client() -> None:
    """It takes nearly two seconds of CPU, for which the first row would wait."""
    modules = "daft_k8s.kube.session.access, daft_k8s.kube.client.api"
    code = f"import sys, {modules}; sys.exit('kubernetes_asyncio' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
