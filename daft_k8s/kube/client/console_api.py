"""Any call to the Kubernetes API by its path, for the command line."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import aiohttp

from daft_k8s.kube.client import api
from daft_k8s.kube.client.in_cluster import is_in_cluster


class ConsoleApi(api.KubernetesApi):
    """The API of a real cluster, with calls that workers never need."""

    @classmethod
    async def open(cls, context: str | None) -> ConsoleApi:
        """The cluster of a kubeconfig, or, without a context and in a Pod, the Pod's own."""
        inside = context is None and is_in_cluster()
        return cls.in_cluster() if inside else await cls.from_kubeconfig(context)

    async def call(
        self, action: str, method: str, path: str, *, query: Mapping[str, str] | None = None, body: object = None
    ) -> dict[str, Any]:
        """Any call by its path, for what the command line asks."""
        return await self._call(action, method, path, query=query, body=body)

    async def stream_lines(self, action: str, path: str, query: Mapping[str, str]) -> AsyncGenerator[bytes, None]:
        """The lines of an answer that may go on for long, such as a log; ends with it, or after `SILENCE_SECONDS`."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=api._CONNECT_SECONDS, sock_read=api._SILENCE_SECONDS)
        try:
            response = await self._link.request("GET", path, query=query, accept="*/*", timeout=timeout)
            async with response:
                if response.status != 200:
                    raise await api._error(action, response)
                async with aclosing(api._lines(response)) as lines:
                    async for line in lines:
                        yield line
        except api._UNANSWERED as error:
            raise api._unanswered(action, error) from error
