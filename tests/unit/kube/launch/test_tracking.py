"""Watching and listing in virtual time, against an API that misbehaves. A real API's connections: test_api.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from itertools import pairwise
from typing import Any

import pytest

from daft_k8s.kube.client.errors import ApiError
from daft_k8s.kube.launch.tracking import Tracker
from tests.unit.kube.pod_json import ready_pod
from tests.unit.kube.virtual_time import run_for

MINUTE = 60.0


class Script:
    """An API that lists and watches as it is told."""

    def __init__(self) -> None:
        self.lists = 0
        self.newest = 0
        """The version of the newest event: no list is older."""
        self.watched_from: list[str] = []
        self.list_error: Exception | None = None
        self.watch: Callable[[int], AsyncGenerator[dict[str, Any], None]] = silent

    async def list_pods(self, namespace: str, selector: str) -> tuple[list[dict[str, Any]], str]:
        self.lists += 1
        await asyncio.sleep(0.01)
        if self.list_error is not None:
            raise self.list_error
        return [ready_pod()], str(max(self.lists * 100, self.newest))

    async def watch_pods(self, namespace: str, selector: str, version: str) -> AsyncGenerator[dict[str, Any], None]:
        self.watched_from.append(version)
        await asyncio.sleep(0.01)
        async for event in self.watch(len(self.watched_from)):
            self.newest = max(self.newest, int(event["object"]["metadata"]["resourceVersion"]))
            yield event


class Heard:
    """What the tracker has told."""

    def __init__(self) -> None:
        self.lists = 0
        self.events: list[str] = []
        self.mistake: Exception | None = None

    def on_listed(self, pods: list[dict[str, Any]], asked_at: float) -> None:
        self.lists += 1

    def on_event(self, kind: str, pod: Mapping[str, Any]) -> None:
        self.events.append(kind)
        if self.mistake is not None:
            raise self.mistake


async def silent(attempt: int) -> AsyncGenerator[dict[str, Any], None]:
    await asyncio.sleep(1e9)
    yield {}


async def ends_at_once(attempt: int) -> AsyncGenerator[dict[str, Any], None]:
    return
    yield {}


def failing(error: Exception, *before: dict[str, Any]) -> Callable[[int], AsyncGenerator[dict[str, Any], None]]:
    async def watch(attempt: int) -> AsyncGenerator[dict[str, Any], None]:
        for event in before:
            yield event
        raise error

    return watch


def event(kind: str, version: int) -> dict[str, Any]:
    return {"type": kind, "object": ready_pod(version=version)}


def track(api: Script, minutes: float = 10) -> Heard:
    heard = Heard()
    run_for(minutes * MINUTE, tracker(api, heard).run())
    return heard


def tracker(api: Script, heard: Heard) -> Tracker:
    return Tracker(
        api,  # type: ignore[arg-type]
        namespace="jobs",
        selector="a=b",
        news=heard,
        clock=lambda: asyncio.get_event_loop().time(),
    )


def test_a_watch_that_says_nothing_is_made_up_for_by_the_lists() -> None:
    api = Script()
    heard = track(api)
    assert 20 <= heard.lists <= 22
    assert len(api.watched_from) == 1


@pytest.mark.parametrize("first", [[], [event("MODIFIED", 7)]], ids=["an answer", "an event"])
def test_a_storm_of_410_leads_to_no_loop_of_lists(first: list[dict[str, Any]]) -> None:
    api = Script()
    api.watch = failing(ApiError("watch pods", 410, "too old resource version"), *first)
    track(api)
    own = len(api.watched_from)
    assert 20 <= own <= 50  # each of them with a list of its own
    assert api.lists <= own + 21


def test_after_a_410_the_watch_goes_on_from_a_new_list() -> None:
    api = Script()

    async def watch(attempt: int) -> AsyncGenerator[dict[str, Any], None]:
        if attempt == 1:
            raise ApiError("watch pods", 410, "too old resource version")
        await asyncio.sleep(1e9)
        yield {}

    api.watch = watch
    track(api, minutes=0.2)
    assert api.watched_from == ["100", "200"]


def test_a_server_that_ends_each_watch_at_once_is_asked_with_pauses_and_from_the_same_place() -> None:
    api = Script()
    api.watch = ends_at_once
    heard = track(api)
    assert 20 <= len(api.watched_from) <= 50
    assert set(api.watched_from) == {"100"}  # the end of a watch without news says nothing
    assert heard.lists <= 22


def test_bookmarks_advance_the_place_and_are_no_news() -> None:
    api = Script()

    async def watch(attempt: int) -> AsyncGenerator[dict[str, Any], None]:
        yield event("BOOKMARK", 500 + attempt)
        await asyncio.sleep(290)  # and then the server ends it

    api.watch = watch
    heard = track(api)
    assert api.watched_from == ["100", "501", "502"]
    assert heard.events == []


def test_a_watch_that_breaks_goes_on_from_the_last_event() -> None:
    api = Script()

    async def watch(attempt: int) -> AsyncGenerator[dict[str, Any], None]:
        yield event("MODIFIED", 500 + attempt)
        raise ApiError("watch pods", 0, "TimeoutError")

    api.watch = watch
    track(api, minutes=0.2)
    assert api.watched_from[:3] == ["100", "501", "502"]


@pytest.mark.parametrize("status", [0, 401, 403, 429, 500])
def test_failing_lists_tell_nothing_and_are_never_given_up(status: int) -> None:
    api = Script()
    api.list_error = ApiError("list pods", status, "not now")
    heard = track(api)
    assert heard.lists == 0
    assert api.lists >= 20 + 10  # the poll's, and those of the watch, with back-off
    assert api.lists <= 20 + 50


@pytest.mark.parametrize(("retry_after", "pause"), [(5.0, 5.0), (3600.0, 30.0)])
def test_a_watch_comes_again_when_the_api_says_so_but_within_half_a_minute(retry_after: float, pause: float) -> None:
    api, asked = Script(), []

    async def watch(attempt: int) -> AsyncGenerator[dict[str, Any], None]:
        asked.append(asyncio.get_event_loop().time())
        raise ApiError("watch pods", 429, "slow down", retry_after_seconds=retry_after)
        yield {}

    api.watch = watch
    heard = track(api)
    pauses = [later - earlier for earlier, later in pairwise(asked)]
    assert min(pauses) >= pause
    assert max(pauses) < 31
    assert heard.lists >= 20


def test_a_burst_of_refused_credentials_ends_and_the_watch_goes_on_from_where_it_was() -> None:
    api = Script()

    async def watch(attempt: int) -> AsyncGenerator[dict[str, Any], None]:
        if attempt <= 5:
            raise ApiError("watch pods", 401, "Unauthorized")
        yield event("MODIFIED", 700)
        await asyncio.sleep(1e9)

    api.watch = watch
    heard = track(api, minutes=1)
    assert api.watched_from == ["100"] * 6
    assert heard.events == ["MODIFIED"]


def test_where_versions_go_back_the_watch_begins_anew_from_a_list() -> None:
    """As when the cluster's database is restored: a watch would wait in silence for what lies in the future."""
    api = Script()

    async def watch(attempt: int) -> AsyncGenerator[dict[str, Any], None]:
        if attempt == 1:
            yield event("MODIFIED", 90_000)
            api.newest = 0
        else:
            yield event("MODIFIED", 1_000)
        await asyncio.sleep(1e9)

    api.watch = watch
    heard = track(api, minutes=2)
    assert len(api.watched_from) == 2
    assert int(api.watched_from[1]) < 1_000
    assert heard.events == ["MODIFIED", "MODIFIED"]


def test_a_version_of_an_undone_future_is_not_asked_for_again() -> None:
    api = Script()

    async def watch(attempt: int) -> AsyncGenerator[dict[str, Any], None]:
        if attempt == 1:
            raise ApiError("watch pods", 504, "Too large resource version: 100, current: 7")
        await asyncio.sleep(1e9)
        yield {}

    api.watch = watch
    track(api, minutes=0.2)
    assert api.watched_from == ["100", "200"]


def test_a_list_that_is_older_than_what_the_watch_has_reached_since_proves_nothing() -> None:
    api = Script()

    async def watch(attempt: int) -> AsyncGenerator[dict[str, Any], None]:
        await asyncio.sleep(30.005)  # in the midst of the first list of the poll
        yield event("MODIFIED", 90_000)
        await asyncio.sleep(1e9)

    api.watch = watch
    track(api, minutes=0.75)
    assert len(api.watched_from) == 1


def test_no_mistake_in_the_news_ends_the_tracking(caplog: pytest.LogCaptureFixture) -> None:
    api, heard = Script(), Heard()
    heard.mistake = KeyError("something that nobody thought of")
    api.watch = failing(ApiError("watch pods", 0, "x"), event("MODIFIED", 7))
    run_for(10 * MINUTE, tracker(api, heard).run())
    assert heard.lists >= 20
    assert len(heard.events) >= 10
    assert "could not be understood" in caplog.text


def test_an_unexpected_error_of_the_client_is_survived_too() -> None:
    api = Script()
    api.list_error = RuntimeError("what no library promised")
    assert track(api).lists == 0
    assert api.lists >= 20
