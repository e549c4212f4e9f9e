"""The cluster as the command line uses it: any object by its path, errors in words for people."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from daft_k8s.errors import ClusterError, ConfigurationError
from daft_k8s.kube.client.errors import ApiError, explain_obstacle
from daft_k8s.kube.client.in_cluster import own_namespace

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from daft_k8s.kube.client.console_api import ConsoleApi


_RIGHT_MISSING = " cannot "
"""In a refusal for want of a right (User "ann" cannot create resource "pods"), not in those of policies and quotas."""


class NotFoundError(ClusterError):
    """The object is not there."""


class ForbiddenError(ClusterError):
    """The console was refused: a right is missing, or a policy forbids it."""


class Console:
    """A connection to a cluster, for one `async with`.

    Args:
        context: The context of the kubeconfig; None: the current one, or, in a Pod, the Pod's own cluster.
        namespace: The namespace of the objects; None: that of the kubeconfig's context or of the Pod.
    """

    def __init__(self, *, context: str | None = None, namespace: str | None = None) -> None:
        self._context = context
        self._namespace = namespace
        self._api: ConsoleApi | None = None

    async def __aenter__(self) -> Self:
        try:
            from daft_k8s.kube.client.console_api import ConsoleApi
        except ImportError as error:
            raise ConfigurationError(
                f"this needs the package kubernetes-asyncio ({error}): pip install 'daft_k8s[kubernetes]'"
            ) from error
        try:
            self._api = await ConsoleApi.open(self._context)
        except ApiError as error:
            raise ClusterError(f"the cluster cannot be used: {error}") from error
        self._namespace = self._namespace or self._api.default_namespace or own_namespace()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._api is not None:
            await self._api.close()

    @property
    def namespace(self) -> str:
        """The namespace of the objects."""
        return self._namespace or "default"

    @property
    def place(self) -> str:
        """The namespace and what led to its cluster, for people."""
        return f"the namespace {self.namespace!r} of {self.api.origin or self.api.address}"

    @property
    def api(self) -> ConsoleApi:
        """The calls that the runner itself uses. They raise `ApiError`."""
        if self._api is None:
            raise RuntimeError("the console is used in `async with` only")
        return self._api

    async def get(self, path: str, **query: str) -> dict[str, Any]:
        """Reads an object or a list. `{ns}` in the path is the namespace's own part."""
        return await self._call("get", "GET", path, query=query)

    async def items(self, path: str, selector: str = "") -> list[dict[str, Any]]:
        """All objects of a list."""
        found: list[dict[str, Any]] = []
        query = {"limit": "500", **({"labelSelector": selector} if selector else {})}
        while True:
            page = await self._call("list", "GET", path, query=query)
            found += page.get("items") or []
            more = (page.get("metadata") or {}).get("continue")
            if not more:
                return found
            query["continue"] = str(more)

    async def create(self, path: str, body: dict[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        return await self._call("create", "POST", path, query={"dryRun": "All"} if dry_run else {}, body=body)

    async def patch(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return await self._call("patch", "PATCH", path, body=body)

    async def delete(self, path: str, *, grace_seconds: int | None = None, wait_for_children: bool = False) -> None:
        """Deletes an object; that it is not there is no error."""
        body: dict[str, Any] = {"propagationPolicy": "Foreground" if wait_for_children else "Background"}
        if grace_seconds is not None:
            body["gracePeriodSeconds"] = grace_seconds
        with contextlib.suppress(NotFoundError):
            await self._call("delete", "DELETE", path, body=body)

    async def lines(self, path: str, **query: str) -> AsyncGenerator[str, None]:
        """The lines of a log, as they come."""
        try:
            async for line in self.api.stream_lines("get pods/log", self._full(path), query):
                yield line.decode(errors="replace").rstrip("\n")
        except ApiError as error:
            raise self._error(error, path) from error

    async def check_namespace(self) -> None:
        """Tells a namespace that is not there from one without what is asked for: the API answers the same for both.

        Raises:
            NotFoundError: The object is not there. Not raised if the caller may not look.
        """
        try:
            await self.get(f"/api/v1/namespaces/{self.namespace}")
        except NotFoundError:
            name = self.namespace
            fix = f"kubectl create namespace {name}, or -n another one"
            raise NotFoundError(f"there is no namespace {name!r}: {fix}") from None
        except ClusterError:
            return

    async def may(self, group: str, resource: str, verb: str) -> bool:
        """True if the caller has a right in the namespace."""
        try:
            return await self.api.may(self.namespace, group, resource, verb)
        except ApiError as error:
            raise self._error(error, "selfsubjectaccessreviews") from error

    def _full(self, path: str) -> str:
        return path.replace("{ns}", f"namespaces/{self.namespace}")

    async def _call(
        self, verb: str, method: str, path: str, *, query: dict[str, str] | None = None, body: object = None
    ) -> dict[str, Any]:
        try:
            return await self.api.call(verb, method, self._full(path), query=query, body=body)
        except ApiError as error:
            raise self._error(error, path) from error

    def _error(self, error: ApiError, path: str) -> ClusterError:
        what = path.partition("{ns}/")[2] or path
        words = f"{error.action} {what} in the namespace {self.namespace!r}"
        if error.status == 404:
            return NotFoundError(f"{words}: {error.message}")
        if error.obstacle is not None and not self.api.has_answered:
            return ClusterError(
                explain_obstacle(error.obstacle, error.message, address=self.api.address, origin=self.api.origin)
            )
        if error.status == 0:
            return ClusterError(
                f"{words}: the cluster does not answer: {error.message}; `daft-k8s doctor` looks closer"
            )
        if error.status == 403 and _RIGHT_MISSING in error.message:
            return ForbiddenError(
                f"{words} is not allowed: {error.message}. `daft-k8s rbac` prints what a driver needs; what you may do "
                "yourself is your administrator's choice"
            )
        kind = ForbiddenError if error.status == 403 else ClusterError
        return kind(f"{words}: Kubernetes says: {error.message}")
