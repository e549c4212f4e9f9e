"""Watching and listing a session's Pods, for as long as it lives: a watch for speed, a list for truth."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Protocol

from daft_k8s.kube.client import retries
from daft_k8s.kube.client.errors import ApiError

if TYPE_CHECKING:
    from daft_k8s.kube.client.api import Api

logger = logging.getLogger(__name__)

POLL_SECONDS = 30.0
_STEADY_SECONDS = 120.0
"""A watch that broke after so long starts the next one without a pause."""
_SHORTEST_WATCH_SECONDS = 1.0


class News(Protocol):
    """The receiver of lists and events."""

    def on_listed(self, pods: list[dict[str, Any]], asked_at: float) -> None: ...
    def on_event(self, kind: str, pod: Mapping[str, Any]) -> None: ...


class Tracker:
    """Watches and lists the Pods that a selector fits. Its two loops never give up; `run` ends when it is cancelled.

    Args:
        api: The cluster.
        namespace: The namespace of the Pods.
        selector: The selector of the Pods.
        news: The receiver of lists and events.
        poll_seconds: The time between two lists.
        clock: The time, in seconds.
    """

    def __init__(
        self,
        api: Api,
        *,
        namespace: str,
        selector: str,
        news: News,
        poll_seconds: float = POLL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._selector = selector
        self._news = news
        self._poll_seconds = poll_seconds
        self._clock = clock
        self._version = ""
        """The version from which the next watch begins; "": that has to be listed."""
        self._place = ""
        """The version that the watch has reached."""
        self._rewound = asyncio.Event()
        """Set when versions have gone back, so that the watch waits for what lies in the future."""

    async def run(self) -> None:
        await asyncio.gather(self._poll(), self._watch())

    async def list(self) -> str:
        """Lists once; returns the version to watch from.

        Raises:
            ApiError: The list failed or was not complete; no event was reported.
        """
        asked_at = self._clock()
        pods, version = await self._api.list_pods(self._namespace, self._selector)
        self._news.on_listed(pods, asked_at)
        return version

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(self._poll_seconds)
            place = self._place
            try:
                if _is_before(await self.list(), place):
                    logger.warning(
                        "the cluster's versions have gone back, as when its database is restored: the workers' Pods "
                        "are watched anew"
                    )
                    self._rewound.set()
            except ApiError as error:
                logger.warning("the workers' Pods could not be listed: %s", error)
            except Exception:
                logger.exception("a list of the workers' Pods could not be understood")

    async def _watch(self) -> None:
        while True:
            # Ends with each watch that lasted, and begins anew with the first pause.
            await retries.watch()(self._follow)

    async def _follow(self) -> None:
        """Lists where no place is known, and watches once; raises where the next watch has to wait."""
        began = self._clock()
        try:
            if not self._version:
                self._version = await self.list()
            self._place = self._version
            self._version = await self._watch_until_rewound(self._version)
        except ApiError as error:
            # Too old, or of a future that was undone: only a new list helps.
            if error.status == 410 or "Too large resource version" in error.message:
                self._version = ""
            logger.debug("the watch of the workers' Pods broke: %s", error)
            if error.wait_seconds or not self._was_steady(began):
                raise
        except Exception:
            # Whatever it was: the next list tells the truth, and a tracker that has ended tells nothing.
            self._version = ""
            logger.exception("news of the workers' Pods could not be understood")
            raise
        if self._clock() - began < _SHORTEST_WATCH_SECONDS:
            # A server that ends each watch at once must not be asked without pause either.
            raise ApiError("watch pods", 0, "the watch has ended at once")

    def _was_steady(self, began: float) -> bool:
        return self._clock() - began >= _STEADY_SECONDS

    async def _watch_until_rewound(self, version: str) -> str:
        """Watches once; returns the version reached, or "" where that does not hold any more."""
        self._rewound.clear()
        watching = asyncio.ensure_future(self._watch_once(version))
        rewinding = asyncio.ensure_future(self._rewound.wait())
        try:
            await asyncio.wait((watching, rewinding), return_when=asyncio.FIRST_COMPLETED)
            return "" if self._rewound.is_set() else await watching
        finally:
            for part in (watching, rewinding):
                part.cancel()
            await asyncio.gather(watching, rewinding, return_exceptions=True)

    async def _watch_once(self, version: str) -> str:
        """Passes on one watch's events; returns the version reached."""
        reached = version
        try:
            async with aclosing(self._api.watch_pods(self._namespace, self._selector, version)) as events:
                async for event in events:
                    pod = event.get("object") or {}
                    reached = self._place = str((pod.get("metadata") or {}).get("resourceVersion") or reached)
                    if event.get("type") != "BOOKMARK":
                        self._news.on_event(str(event.get("type")), pod)
        except ApiError as error:
            if error.status == 410 or reached == version:
                raise
            logger.debug("the watch of the workers' Pods broke, and goes on from where it was: %s", error)
        return reached


def _is_before(version: str, place: str) -> bool:
    """True if a list is of an earlier version than the watch had reached before it was asked for."""
    return version.isdigit() and place.isdigit() and int(version) < int(place)
