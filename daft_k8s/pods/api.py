"""The calls to the Kubernetes API that workers need. Only this, `kubeconfig` and `pod_stream` know its client.

Bodies go out and come back as plain JSON: the client's models cost time and memory, and drop what they do not know.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import email.utils
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import aiohttp
from kubernetes_asyncio import client, config

from daft_k8s.pods import kubeconfig
from daft_k8s.pods.driver_pod import SERVICE_ACCOUNT_DIR
from daft_k8s.pods.pod_stream import PodStream, open_stream
from daft_k8s.pods.problems import ApiError, api_error

if TYPE_CHECKING:
    from daft_k8s.pods.portforward import Stream

_CALL_SECONDS = 10.0
_LIST_SECONDS = 30.0
_WATCH_SECONDS = 290
"""How long a watch lasts before the server ends it; below five minutes, where many proxies cut."""
_SILENCE_SECONDS = 120.0
"""How long a watch may be silent: the server sends a bookmark about each minute."""
_CONNECT_SECONDS = 10.0
_PAGE = 500
_UNANSWERED = (aiohttp.ClientError, OSError, asyncio.TimeoutError, ValueError, config.ConfigException,
               client.OpenApiException)  # fmt: skip
"""What stands for "no answer". Without a token that can be read (its file is being replaced) there is none either."""


class Api(Protocol):
    """What the launcher asks of a cluster; tests put another in its place. All raise ApiError."""

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
    async def create_lease(self, namespace: str, lease: dict[str, Any]) -> dict[str, Any]: ...
    async def patch_lease(self, namespace: str, name: str, change: dict[str, Any]) -> None: ...
    async def list_leases(self, namespace: str, selector: str) -> list[dict[str, Any]]: ...
    async def delete_lease(self, namespace: str, name: str) -> None: ...
    def now(self) -> datetime.datetime: ...
    async def may(self, namespace: str, group: str, resource: str, verb: str) -> bool: ...
    async def open_port(self, namespace: str, pod: str, port: int) -> Stream: ...
    async def close(self) -> None: ...

    @property
    def default_namespace(self) -> str | None: ...


class KubernetesApi:
    """The API of a real cluster. Made and used on one event loop.

    Args:
        configuration: Where it is, and with which credentials.
        default_namespace: The namespace of the kubeconfig's context; None: it names none.
        call_seconds: How long an answer may take.
        silence_seconds: How long a watch may be silent.
    """

    def __init__(
        self,
        configuration: client.Configuration,
        default_namespace: str | None = None,
        *,
        call_seconds: float = _CALL_SECONDS,
        silence_seconds: float = _SILENCE_SECONDS,
    ) -> None:
        configuration.connection_pool_maxsize = 0  # no limit: each connection to a Pod is one
        self.default_namespace = default_namespace
        self._ahead = datetime.timedelta()
        """How far the API server's clock is ahead of this machine's."""
        self._call_seconds = call_seconds
        self._silence_seconds = silence_seconds
        self._client = client.ApiClient(configuration)
        # Without its types: they promise models, where there are answers to be read.
        self._core: Any = client.CoreV1Api(self._client)
        self._apps: Any = client.AppsV1Api(self._client)
        self._coordination: Any = client.CoordinationV1Api(self._client)
        self._authorization: Any = client.AuthorizationV1Api(self._client)

    @classmethod
    def in_cluster(cls, account: Path = SERVICE_ACCOUNT_DIR) -> KubernetesApi:
        """The cluster that this process runs in; its token is read again, each minute, as it is rotated.

        Args:
            account: The folder with the service account's token and the cluster's certificate.

        Raises:
            ApiError: There is no such cluster, or no token.
        """
        configuration = client.Configuration()
        load: Any = config.load_incluster_config
        try:
            load(
                client_configuration=configuration,
                token_filename=str(account / "token"),
                cert_filename=str(account / "ca.crt"),
            )
        except config.ConfigException as error:
            raise ApiError("find the cluster", 0, f"this Pod has no service account's token: {error}") from error
        return cls(configuration)

    @classmethod
    async def from_kubeconfig(cls, context: str | None) -> KubernetesApi:
        """The cluster of a kubeconfig.

        Args:
            context: The name of its context; None: the current one.

        Raises:
            ConfigurationError: There is no kubeconfig, or it is wrong.
            ApiError: It leads to no credentials.
        """
        return cls(*await kubeconfig.load(context))

    async def create_pod(self, namespace: str, pod: dict[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        """Makes a Pod, or only asks whether it could be made."""
        options = {"dry_run": "All"} if dry_run else {}
        return await self._call("create pods", self._core.create_namespaced_pod, namespace, pod, **options)

    async def read_pod(self, namespace: str, name: str) -> dict[str, Any]:
        return await self._call("get pods", self._core.read_namespaced_pod, name, namespace)

    async def delete_pod(self, namespace: str, name: str, grace_seconds: int) -> None:
        """Deletes a Pod; that it is not there is no error."""
        call = self._core.delete_namespaced_pod
        await self._delete("delete pods", call, name, namespace, grace_period_seconds=grace_seconds)

    async def delete_pods(self, namespace: str, selector: str, grace_seconds: int) -> None:
        call = self._core.delete_collection_namespaced_pod
        await self._call(
            "deletecollection pods", call, namespace, label_selector=selector, grace_period_seconds=grace_seconds
        )

    async def list_pods(self, namespace: str, selector: str) -> tuple[list[dict[str, Any]], str]:
        """All Pods that the selector fits, and the version to watch from. Complete, or an error."""
        pods: list[dict[str, Any]] = []
        arguments: dict[str, Any] = {"label_selector": selector, "limit": _PAGE}
        while True:
            call = self._core.list_namespaced_pod
            page = await self._call("list pods", call, namespace, _request_timeout=_LIST_SECONDS, **arguments)
            pods += page.get("items") or []
            metadata = page.get("metadata") or {}
            if not metadata.get("continue"):
                return pods, str(metadata.get("resourceVersion") or "")
            arguments["_continue"] = metadata["continue"]

    async def watch_pods(self, namespace: str, selector: str, version: str) -> AsyncGenerator[dict[str, Any], None]:
        """Events as the API sends them, until the server ends the watch. A version too old is ApiError 410."""
        timeout = aiohttp.ClientTimeout(
            total=_WATCH_SECONDS + 30, sock_connect=_CONNECT_SECONDS, sock_read=self._silence_seconds
        )
        try:
            response = await self._core.list_namespaced_pod(
                namespace,
                label_selector=selector,
                resource_version=version,
                watch=True,
                allow_watch_bookmarks=True,
                timeout_seconds=_WATCH_SECONDS,
                _preload_content=False,
                _request_timeout=timeout,
            )
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
        await self._call("create secrets", self._core.create_namespaced_secret, namespace, secret)

    async def delete_secret(self, namespace: str, name: str) -> None:
        """Deletes a Secret; that it is not there is no error."""
        await self._delete("delete secrets", self._core.delete_namespaced_secret, name, namespace)

    async def create_service(self, namespace: str, service: dict[str, Any]) -> None:
        await self._call("create services", self._core.create_namespaced_service, namespace, service)

    async def delete_service(self, namespace: str, name: str) -> None:
        """Deletes a Service; that it is not there is no error."""
        await self._delete("delete services", self._core.delete_namespaced_service, name, namespace)

    async def create_stateful_set(self, namespace: str, stateful_set: dict[str, Any]) -> None:
        await self._call("create statefulsets.apps", self._apps.create_namespaced_stateful_set, namespace, stateful_set)

    async def scale_stateful_set(self, namespace: str, name: str, replicas: int) -> None:
        call = self._apps.patch_namespaced_stateful_set
        await self._call("patch statefulsets.apps", call, name, namespace, {"spec": {"replicas": replicas}})

    async def delete_stateful_set(self, namespace: str, name: str) -> None:
        """Deletes a StatefulSet, and its Pods with it; that it is not there is no error."""
        call = self._apps.delete_namespaced_stateful_set
        await self._delete("delete statefulsets.apps", call, name, namespace, propagation_policy="Background")

    async def list_quotas(self, namespace: str) -> list[dict[str, Any]]:
        answer = await self._call("list resourcequotas", self._core.list_namespaced_resource_quota, namespace)
        return list(answer.get("items") or ())

    async def create_lease(self, namespace: str, lease: dict[str, Any]) -> dict[str, Any]:
        return await self._call("create leases", self._coordination.create_namespaced_lease, namespace, lease)

    async def patch_lease(self, namespace: str, name: str, change: dict[str, Any]) -> None:
        call = self._coordination.patch_namespaced_lease
        await self._call("patch leases", call, name, namespace, change)

    async def list_leases(self, namespace: str, selector: str) -> list[dict[str, Any]]:
        call = self._coordination.list_namespaced_lease
        return list((await self._call("list leases", call, namespace, label_selector=selector)).get("items") or [])

    async def delete_lease(self, namespace: str, name: str) -> None:
        """Deletes a Lease; that it is not there is no error."""
        await self._delete("delete leases", self._coordination.delete_namespaced_lease, name, namespace)

    def now(self) -> datetime.datetime:
        """The API server's time, as of its last answer: this machine's clock may be wrong."""
        return datetime.datetime.now(datetime.timezone.utc) + self._ahead

    async def may(self, namespace: str, group: str, resource: str, verb: str) -> bool:
        """Whether this process has a right; every account may ask that about itself."""
        kind, _, part = resource.partition("/")
        attributes = {"namespace": namespace, "group": group, "resource": kind, "subresource": part, "verb": verb}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        answer = await self._call("review rights", self._authorization.create_self_subject_access_review, review)
        return bool((answer.get("status") or {}).get("allowed"))

    async def open_port(self, namespace: str, pod: str, port: int) -> PodStream:
        """A connection to a port of a Pod, from its own loopback address."""
        headers: dict[str, str] = {}
        try:
            await self._client.update_params_for_auth(headers, [], ["BearerToken"])
        except config.ConfigException as error:
            raise _unanswered("get credentials", error) from error
        rest = self._client.rest_client
        options = {"proxy": rest.proxy, "proxy_headers": rest.proxy_headers, "server_hostname": rest.server_hostname}
        return await open_stream(
            rest.pool_manager,
            f"{self._client.configuration.host}/api/v1/namespaces/{namespace}/pods/{pod}/portforward?ports={port}",
            action="get pods/portforward",
            headers=headers,
            **{name: value for name, value in options.items() if value},
        )

    async def close(self) -> None:
        await self._client.close()

    async def _delete(self, action: str, function: Any, name: str, namespace: str, **options: Any) -> None:
        try:
            await self._call(action, function, name, namespace, **options)
        except ApiError as error:
            if error.status != 404:
                raise

    def _look_at_the_clock(self, date: str | None) -> None:
        if date is not None:
            with contextlib.suppress(ValueError):
                there = email.utils.parsedate_to_datetime(date)
                self._ahead = there - datetime.datetime.now(datetime.timezone.utc)

    async def _call(self, action: str, function: Any, *arguments: Any, **options: Any) -> dict[str, Any]:
        options.setdefault("_request_timeout", self._call_seconds)
        try:
            response = await function(*arguments, _preload_content=False, **options)
            async with response:
                self._look_at_the_clock(response.headers.get("Date"))
                if not 200 <= response.status < 300:
                    raise await _error(action, response)
                content = await response.json(content_type=None)
        except _UNANSWERED as error:
            raise _unanswered(action, error) from error
        return content if isinstance(content, dict) else {}


async def _lines(response: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
    while line := await response.content.readline():
        if line.strip():
            yield line


async def _error(action: str, response: aiohttp.ClientResponse) -> ApiError:
    body = await response.read()
    return api_error(action, response.status, body, response.headers.get("Retry-After"), response.reason or "")


def _unanswered(action: str, error: BaseException) -> ApiError:
    return ApiError(action, 0, f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
