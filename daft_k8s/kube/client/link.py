"""The link to an API server: its address, the certificates to trust, and the credentials.

In a Pod this needs nothing but aiohttp. The client's package takes nearly two seconds of CPU to load, for models and
APIs that are not used here. A driver's first row would wait for it, so `kubeconfig` alone loads it.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from daft_k8s import addresses
from daft_k8s.kube.client.errors import ApiError, Obstacle

TOKEN_SECONDS = 60.0
"""The age after which a Pod's token is read again from its file: tokens are rotated."""
CREDENTIALS_SECONDS = 30.0
"""The longest wait for credentials: a kubeconfig's plugin may hang, and renewals and watches with it."""
_READ_BUFFER_BYTES = 2**21  # an event of a watch is a line, and may be as large as what etcd holds


async def _nobody() -> None:
    return None


@dataclass(frozen=True)
class Cluster:
    """An API server, and the identity of this process there."""

    host: str
    """Its URL, without a path."""
    trust: ssl.SSLContext | None = None
    """None: the system's authorities."""
    authorize: Callable[[], Awaitable[str | None]] = _nobody
    """Gives the header `Authorization` for a request that is made now. Raises ApiError where it cannot be had."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of each of aiohttp's requests: the proxy, the server's name."""
    origin: str = "this Pod's own cluster"
    """The source of the URL, for people."""


def of_this_pod(account: Path) -> Cluster:
    """The cluster that this process runs in.

    Args:
        account: The folder with the service account's token and the cluster's certificate.

    Raises:
        ApiError: There is no such cluster, or no token.
    """
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT")
    if not host or not port:
        raise ApiError("find the cluster", 0, "this process does not run in a Pod: KUBERNETES_SERVICE_HOST is not set")
    token = _Token(account / "token")
    try:
        token.read()
        trust = ssl.create_default_context(cafile=account / "ca.crt")
    except (ApiError, OSError) as error:
        raise ApiError("find the cluster", 0, f"this Pod has no service account's token: {error}") from error
    return Cluster(f"https://{addresses.join(host, port)}", trust, token.authorize)


class _Token:
    """A service account's token, read again as it grows old."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known = ""
        self._read_at = float("-inf")

    async def authorize(self) -> str:
        if time.monotonic() - self._read_at >= TOKEN_SECONDS:
            self.read()
        return f"Bearer {self._known}"

    def read(self) -> None:
        try:
            known = self._file.read_text().strip()
        except OSError as error:
            raise ApiError("get credentials", 0, f"the token file cannot be read: {error}") from error
        if not known:
            raise ApiError("get credentials", 0, f"the token file {self._file} is empty")
        self._known, self._read_at = known, time.monotonic()


class Link:
    """Connections to an API server. Made and used on one event loop.

    Args:
        cluster: The API server's address.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.has_answered = False
        """True once anything has answered, if only to refuse."""
        # No limit: each connection to a Pod is one.
        connector = aiohttp.TCPConnector(limit=0, ssl=True if cluster.trust is None else cluster.trust)
        self.session = aiohttp.ClientSession(connector=connector, trust_env=True, read_bufsize=_READ_BUFFER_BYTES)

    async def credentials(self) -> dict[str, str]:
        """The headers that say who asks.

        Raises:
            ApiError: There are no credentials, or they do not come.
        """
        try:
            value = await asyncio.wait_for(self.cluster.authorize(), CREDENTIALS_SECONDS)
        except asyncio.TimeoutError as error:
            raise ApiError(
                "get credentials",
                0,
                f"they did not come within {CREDENTIALS_SECONDS:g} s; the kubeconfig's plugin or provider may hang, or "
                "wait for a login",
            ) from error
        return {} if value is None else {"Authorization": value}

    async def request(
        self,
        method: str,
        path: str,
        *,
        timeout: aiohttp.ClientTimeout,
        query: Mapping[str, str] | None = None,
        body: object = None,
        accept: str = "application/json",
    ) -> aiohttp.ClientResponse:
        """Asks, and returns the answer once it begins. A PATCH merges.

        Args:
            method: Of HTTP.
            path: With its slash.
            timeout: The time-out of the call.
            query: The query string.
            body: As JSON; None: nothing.
            accept: The kind of answer.

        Raises:
            ApiError: There are no credentials.
            aiohttp.ClientError, OSError, asyncio.TimeoutError: There is no answer.
        """
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        response = await self.session.request(
            method,
            self.cluster.host + path,
            params=query,
            data=None if body is None else json.dumps(body),
            headers={"Accept": accept, "Content-Type": kind, **await self.credentials()},
            timeout=timeout,
            **self.cluster.options,
        )
        self.has_answered = True
        return response

    async def close(self) -> None:
        await self.session.close()


_NO_URL = (aiohttp.InvalidURL, getattr(aiohttp, "NonHttpUrlClientError", aiohttp.InvalidURL))
"""The second one is aiohttp's since 3.10."""
_NO_ROUTE = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL)


def find_obstacle(error: BaseException) -> Obstacle | None:
    """The obstacle that an error tells of, if it says something of the address; else None."""
    if isinstance(error, (aiohttp.ClientConnectorCertificateError, aiohttp.ServerFingerprintMismatch)):
        return Obstacle.CERTIFICATE
    if isinstance(error, aiohttp.ClientSSLError):
        return Obstacle.NO_TLS
    if isinstance(error, _NO_URL):
        return Obstacle.NO_URL
    cause = getattr(error, "os_error", error)
    if isinstance(cause, ssl.SSLError):
        return Obstacle.NO_TLS
    if isinstance(cause, socket.gaierror):
        return Obstacle.NO_NAME
    if not isinstance(cause, OSError):
        return None
    # A name with several addresses: asyncio gives the words of all, and no number.
    if cause.errno == errno.ECONNREFUSED or f"[Errno {errno.ECONNREFUSED}]" in str(cause):
        return Obstacle.REFUSED
    return Obstacle.NO_ROUTE if cause.errno in _NO_ROUTE else None
