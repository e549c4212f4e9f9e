"""The calls to the Kubernetes API that workers need, over a `link`.

Bodies go out and come back as plain JSON: models cost time and memory, and drop what they do not know.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import email.utils
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

import aiohttp

from daft_k8s.errors import ConfigurationError
from daft_k8s.kube.client.errors import ApiError, api_error
from daft_k8s.kube.client.in_cluster import SERVICE_ACCOUNT_DIR
from daft_k8s.kube.client.link import Cluster, Link, find_obstacle, of_this_pod
from daft_k8s.kube.client.pod_stream import PodStream, open_stream

if TYPE_CHECKING:
    from typing_extensions import Self

_CALL_SECONDS = 10.0
_ANSWER_SECONDS = 5.0
"""The time in which an API server that lives answers."""
_LIST_SECONDS = 30.0
_WATCH_SECONDS = 290
"""The time after which the server ends a watch; below five minutes, where many proxies cut."""
_SILENCE_SECONDS = 120.0
"""The longest silence of a watch: the server sends a bookmark about each minute."""
_CONNECT_SECONDS = 10.0
_PAGE = 500
_GROUPS = {
    "pods": "",
    "events": "",
    "secrets": "",
    "services": "",
    "resourcequotas": "",
    "statefulsets": "apps/v1",
    "leases": "coordination.k8s.io/v1",
}
"""Each resource's group and version; the core has none."""
_UNANSWERED = (aiohttp.ClientError, OSError, asyncio.TimeoutError, ValueError)
"""The errors that mean "no answer"."""


class Stream(Protocol):
    """A connection to a Pod's port. All raise ApiError."""

    async def receive(self) -> memoryview: ...
    async def send(self, content: bytes) -> None: ...
    async def close(self) -> None: ...


class Api(Protocol):
    """The calls that the launcher needs; tests put another in its place. All raise ApiError."""

    async def create_pod(self, namespace: str, pod: dict[str, Any], *, dry_run: bool = False) -> dict[str, Any]: ...
    async def read_pod(self, namespace: str, name: str) -> dict[str, Any]: ...
    async def delete_pod(self, namespace: str, name: str, grace_seconds: int) -> None: ...
    async def delete_pods(self, namespace: str, selector: str, grace_seconds: int) -> None: ...
    async def list_pods(self, namespace: str, selector: str) -> tuple[list[dict[str, Any]], str]: ...
    def watch_pods(self, namespace: str, selector: str, version: str) -> AsyncGenerator[dict[str, Any], None]: ...
    async def create_secret(self, namespace: str, secret: dict[str, Any]) -> None: ...
    async def delete_secret(self, namespace: str, name: str) -> None: ...
    async def create_service(self, namespace: str, service: dict[str, Any]) -> None: ...
    async def delete_service(self, namespace: str, name: str) -> None: ...
    async def create_stateful_set(self, namespace: str, stateful_set: dict[str, Any]) -> None: ...
    async def scale_stateful_set(self, namespace: str, name: str, replicas: int) -> None: ...
    async def delete_stateful_set(self, namespace: str, name: str) -> None: ...
    async def list_quotas(self, namespace: str) -> list[dict[str, Any]]: ...
    async def list_events(self, namespace: str, pod: str) -> list[dict[str, Any]]: ...
    async def create_lease(self, namespace: str, lease: dict[str, Any]) -> dict[str, Any]: ...
    async def patch_lease(self, namespace: str, name: str, change: dict[str, Any]) -> None: ...
    async def list_leases(self, namespace: str, selector: str) -> list[dict[str, Any]]: ...
    async def delete_lease(self, namespace: str, name: str, uid: str = "") -> None: ...
    def now(self) -> datetime.datetime: ...
    async def may(self, namespace: str, group: str, resource: str, verb: str) -> bool: ...
    async def open_port(self, namespace: str, pod: str, port: int) -> Stream: ...
    async def answers(self) -> bool: ...
    async def close(self) -> None: ...

    @property
    def default_namespace(self) -> str | None: ...
    @property
    def address(self) -> str: ...
    @property
    def origin(self) -> str: ...
    @property
    def has_answered(self) -> bool: ...


class KubernetesApi:
    """The API of a real cluster. Made and used on one event loop.

    Args:
        cluster: The API server's address, and the credentials.
        default_namespace: The namespace of the kubeconfig's context; None: it names none.
        call_seconds: The time-out of an answer.
        silence_seconds: The time for which a watch may be silent.
    """

    def __init__(
        self,
        cluster: Cluster,
        default_namespace: str | None = None,
        *,
        call_seconds: float = _CALL_SECONDS,
        silence_seconds: float = _SILENCE_SECONDS,
    ) -> None:
        self.default_namespace = default_namespace
        self._ahead = datetime.timedelta()
        """The time by which the API server's clock is ahead of this machine's."""
        self._call_seconds = call_seconds
        self._silence_seconds = silence_seconds
        self._link = Link(cluster)

    @property
    def address(self) -> str:
        """The API server's URL."""
        return self._link.cluster.host

    @property
    def origin(self) -> str:
        """Origin of the URL, for people."""
        return self._link.cluster.origin

    @property
    def has_answered(self) -> bool:
        """True once anything has answered at this URL, if only to refuse."""
        return self._link.has_answered

    @classmethod
    def in_cluster(cls, account: Path = SERVICE_ACCOUNT_DIR) -> Self:
        """The cluster that this process runs in; its token is read again, each minute, as it is rotated.

        Args:
            account: The folder with the service account's token and the cluster's certificate.

        Raises:
            ApiError: There is no such cluster, or no token.
        """
        return cls(of_this_pod(account))

    @classmethod
    async def from_kubeconfig(cls, context: str | None) -> Self:
        """The cluster of a kubeconfig.

        Args:
            context: The name of its context; None: the current one.

        Raises:
            ConfigurationError: There is no kubeconfig, or it is wrong.
            ApiError: The link has no credentials.
        """
        try:
            from daft_k8s.kube.client import kubeconfig  # only here: it takes long to load
        except ImportError as error:
            raise ConfigurationError(
                f"a kubeconfig needs the package kubernetes-asyncio ({error}): pip install 'daft_k8s[kubernetes]'"
            ) from error
        configuration, namespace, origin = await kubeconfig.load(context)
        return cls(kubeconfig.cluster(configuration, origin), namespace)

    async def create_pod(self, namespace: str, pod: dict[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        """Makes a Pod, or only asks whether it could be made."""
        query = {"dryRun": "All"} if dry_run else {}
        return await self._call("create pods", "POST", _path("pods", namespace), query=query, body=pod)

    async def read_pod(self, namespace: str, name: str) -> dict[str, Any]:
        return await self._call("get pods", "GET", _path("pods", namespace, name))

    async def delete_pod(self, namespace: str, name: str, grace_seconds: int) -> None:
        """Deletes a Pod; that it is not there is no error."""
        await self._delete("pods", namespace, name, gracePeriodSeconds=str(grace_seconds))

    async def delete_pods(self, namespace: str, selector: str, grace_seconds: int) -> None:
        query = {"labelSelector": selector, "gracePeriodSeconds": str(grace_seconds)}
        await self._call("deletecollection pods", "DELETE", _path("pods", namespace), query=query)

    async def list_pods(self, namespace: str, selector: str) -> tuple[list[dict[str, Any]], str]:
        """All Pods that the selector fits, and the version to watch from. Complete, or an error."""
        pods: list[dict[str, Any]] = []
        query = {"labelSelector": selector, "limit": str(_PAGE)}
        while True:
            page = await self._call(
                "list pods", "GET", _path("pods", namespace), query=query, within_seconds=_LIST_SECONDS
            )
            pods += _items("list pods", page)
            metadata = page.get("metadata") or {}
            if not metadata.get("continue"):
                return pods, str(metadata.get("resourceVersion") or "")
            query["continue"] = metadata["continue"]

    async def watch_pods(self, namespace: str, selector: str, version: str) -> AsyncGenerator[dict[str, Any], None]:
        """Events as the API sends them, until the server ends the watch. A version too old is ApiError 410."""
        timeout = aiohttp.ClientTimeout(
            total=_WATCH_SECONDS + 30, sock_connect=_CONNECT_SECONDS, sock_read=self._silence_seconds
        )
        try:
            query = {
                "labelSelector": selector,
                "resourceVersion": version,
                "watch": "true",
                "allowWatchBookmarks": "true",
                "timeoutSeconds": str(_WATCH_SECONDS),
            }
            response = await self._link.request("GET", _path("pods", namespace), query=query, timeout=timeout)
            async with response:
                if response.status != 200:
                    raise await _error("watch pods", response)
                async with aclosing(_lines(response)) as lines:
                    async for line in lines:
                        event = json.loads(line)
                        if event.get("type") == "ERROR":
                            raise api_error(
                                "watch pods",
                                int(event.get("object", {}).get("code") or 500),
                                json.dumps(event.get("object", {})).encode(),
                            )
                        yield event
        except _UNANSWERED as error:
            raise _unanswered("watch pods", error) from error

    async def create_secret(self, namespace: str, secret: dict[str, Any]) -> None:
        await self._call("create secrets", "POST", _path("secrets", namespace), body=secret)

    async def delete_secret(self, namespace: str, name: str) -> None:
        """Deletes a Secret; that it is not there is no error."""
        await self._delete("secrets", namespace, name)

    async def create_service(self, namespace: str, service: dict[str, Any]) -> None:
        await self._call("create services", "POST", _path("services", namespace), body=service)

    async def delete_service(self, namespace: str, name: str) -> None:
        """Deletes a Service; that it is not there is no error."""
        await self._delete("services", namespace, name)

    async def create_stateful_set(self, namespace: str, stateful_set: dict[str, Any]) -> None:
        await self._call("create statefulsets.apps", "POST", _path("statefulsets", namespace), body=stateful_set)

    async def scale_stateful_set(self, namespace: str, name: str, replicas: int) -> None:
        body = {"spec": {"replicas": replicas}}
        await self._call("patch statefulsets.apps", "PATCH", _path("statefulsets", namespace, name), body=body)

    async def delete_stateful_set(self, namespace: str, name: str) -> None:
        """Deletes a StatefulSet, and its Pods with it; that it is not there is no error."""
        await self._delete("statefulsets", namespace, name, propagationPolicy="Background")

    async def list_quotas(self, namespace: str) -> list[dict[str, Any]]:
        answer = await self._call("list resourcequotas", "GET", _path("resourcequotas", namespace))
        return _items("list resourcequotas", answer)

    async def list_events(self, namespace: str, pod: str) -> list[dict[str, Any]]:
        """The events about a Pod; those of others stay where they are: a busy namespace has thousands."""
        query = {"fieldSelector": f"involvedObject.kind=Pod,involvedObject.name={pod}"}
        answer = await self._call("list events", "GET", _path("events", namespace), query=query)
        return _items("list events", answer)

    async def create_lease(self, namespace: str, lease: dict[str, Any]) -> dict[str, Any]:
        return await self._call("create leases", "POST", _path("leases", namespace), body=lease)

    async def patch_lease(self, namespace: str, name: str, change: dict[str, Any]) -> None:
        await self._call("patch leases", "PATCH", _path("leases", namespace, name), body=change)

    async def list_leases(self, namespace: str, selector: str) -> list[dict[str, Any]]:
        query = {"labelSelector": selector}
        answer = await self._call("list leases", "GET", _path("leases", namespace), query=query)
        return _items("list leases", answer)

    async def delete_lease(self, namespace: str, name: str, uid: str = "") -> None:
        """Deletes a Lease, if it has this uid (HTTP 409 where another has the name now); none is no error."""
        await self._delete("leases", namespace, name, body={"preconditions": {"uid": uid}} if uid else None)

    def now(self) -> datetime.datetime:
        """The API server's time, as of its last answer: this machine's clock may be wrong."""
        return datetime.datetime.now(datetime.timezone.utc) + self._ahead

    async def may(self, namespace: str, group: str, resource: str, verb: str) -> bool:
        """True if this process has a right; every account may ask that about itself."""
        kind, _, part = resource.partition("/")
        attributes = {"namespace": namespace, "group": group, "resource": kind, "subresource": part, "verb": verb}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        answer = await self._call("review rights", "POST", path, body=review)
        if "status" not in answer:
            raise _no_answer("review rights")
        return bool((answer["status"] or {}).get("allowed"))

    async def open_port(self, namespace: str, pod: str, port: int) -> PodStream:
        """A connection to a port of a Pod, from its own loopback address."""
        return await open_stream(
            self._link.session,
            f"{self._link.cluster.host}{_path('pods', namespace, pod)}/portforward?ports={port}",
            action="get pods/portforward",
            headers=await self._link.credentials(),
            **self._link.cluster.options,
        )

    async def answers(self) -> bool:
        """True if the API server can be reached at all. Its refusal is an answer; that of a proxy before it is none."""
        try:
            timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS)
            async with await self._link.request("GET", "/version", timeout=timeout) as response:
                return response.status < 500
        except (ApiError, *_UNANSWERED):
            return False

    async def close(self) -> None:
        await self._link.close()

    async def _delete(self, resource: str, namespace: str, name: str, *, body: object = None, **query: str) -> None:
        group = _GROUPS[resource].partition("/")[0]
        action = f"delete {resource}.apps" if group == "apps" else f"delete {resource}"
        try:
            await self._call(action, "DELETE", _path(resource, namespace, name), query=query, body=body)
        except ApiError as error:
            if error.status != 404:
                raise

    def _look_at_the_clock(self, date: str | None) -> None:
        if date is not None:
            with contextlib.suppress(ValueError):
                there = email.utils.parsedate_to_datetime(date)
                self._ahead = there - datetime.datetime.now(datetime.timezone.utc)

    async def _call(
        self,
        action: str,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        within_seconds: float | None = None,
    ) -> dict[str, Any]:
        timeout = aiohttp.ClientTimeout(total=within_seconds or self._call_seconds)
        try:
            response = await self._link.request(method, path, query=query, body=body, timeout=timeout)
            async with response:
                self._look_at_the_clock(response.headers.get("Date"))
                if not 200 <= response.status < 300:
                    raise await _error(action, response)
                content = await response.json(content_type=None)
        except _UNANSWERED as error:
            raise _unanswered(action, error) from error
        if not isinstance(content, dict):
            raise _no_answer(action)
        return content


def _path(resource: str, namespace: str, name: str | None = None) -> str:
    group = _GROUPS[resource]
    root = f"/apis/{group}" if group else "/api/v1"
    path = f"{root}/namespaces/{quote(namespace, safe='')}/{resource}"
    return path if name is None else f"{path}/{quote(name, safe='')}"


def _items(action: str, answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The items of a list. An answer that is no list must not be taken for an empty one."""
    if "items" not in answer:
        raise _no_answer(action)
    return list(answer["items"] or ())


async def _lines(response: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
    while line := await response.content.readline():
        if line.strip():
            yield line


async def _error(action: str, response: aiohttp.ClientResponse) -> ApiError:
    body = await response.read()
    return api_error(action, response.status, body, response.headers.get("Retry-After"), response.reason or "")


def _no_answer(action: str) -> ApiError:
    return ApiError(action, 0, "what came is no answer of an API server; a proxy before it may have given it")


def _unanswered(action: str, error: BaseException) -> ApiError:
    words = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return ApiError(action, 0, words, obstacle=find_obstacle(error))
