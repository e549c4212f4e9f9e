"""The policies with which the Kubernetes API is asked again, in virtual time. What uses them: the other tests here."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from daft_k8s.kube.client import retries
from daft_k8s.kube.client.errors import ApiError
from tests.unit.kube.virtual_time import run_for


class Server:
    """Refuses with these errors, one after the other, and then answers."""

    def __init__(self, *errors: BaseException, answer: Any = "answer") -> None:
        self._errors = list(errors)
        self._answer = answer
        self.times: list[float] = []

    async def ask(self) -> Any:
        self.times.append(asyncio.get_running_loop().time())
        if self._errors:
            raise self._errors.pop(0)
        return self._answer

    @property
    def pauses(self) -> list[float]:
        return [later - earlier for earlier, later in pairwise(self.times)]


def busy(retry_after: float | None = None) -> ApiError:
    return ApiError("x", 429, "slow down", retry_after_seconds=retry_after)


def test_a_deletion_is_tried_four_times_and_then_its_last_error_is_raised() -> None:
    server = Server(busy(), busy(20), busy(), ApiError("x", 503, "the last"))

    async def work() -> None:
        with pytest.raises(ApiError, match="the last"):
            await retries.deletion()(server.ask)

    run_for(1_000, work())
    assert server.pauses == pytest.approx([0.5, 20.0, 5.0])


@pytest.mark.parametrize("error", [ApiError("x", 403, "no"), KeyError("a mistake")])
def test_what_trying_again_cannot_mend_is_raised_at_once(error: Exception) -> None:
    server = Server(error)

    async def work() -> None:
        with pytest.raises(type(error)):
            await retries.deletion()(server.ask)

    run_for(1, work())
    assert len(server.times) == 1


def test_a_creation_has_no_end_of_its_own_and_pauses_that_double_to_ten_seconds() -> None:
    server = Server(*(busy() for _ in range(100)))
    told: list[ApiError] = []

    async def work() -> None:
        policy = retries.creation(
            goes_on=lambda: asyncio.get_running_loop().time() < 100,
            may_help=lambda error: error.transient,
            report=told.append,
            sleep=asyncio.sleep,
        )
        with pytest.raises(ApiError):
            await policy(server.ask)

    run_for(1_000, work())
    assert server.pauses[:6] == pytest.approx([0.5, 1.0, 2.0, 4.0, 8.0, 10.0])
    assert server.times[-1] >= 100
    assert len(told) == len(server.pauses)


def test_a_port_is_dialled_for_as_long_as_was_asked_for_by_the_clock_of_the_loop() -> None:
    server = Server(*(ApiError("x", 0, "no answer") for _ in range(100)))

    async def work() -> None:
        with pytest.raises(ApiError):
            await retries.dial(20)(server.ask)

    run_for(1_000, work())
    assert 17 < server.times[-1] <= 20
    assert server.pauses[:5] == pytest.approx([0.2, 0.4, 0.8, 1.6, 2.0])


def test_a_name_that_never_gets_around_is_no_error() -> None:
    server = Server(answer=False)

    async def work() -> None:
        assert await retries.name_lookup(20)(server.ask) is False
        server._answer = True
        assert await retries.name_lookup(20)(server.ask) is True

    run_for(1_000, work())
    assert len(server.times) == 41 + 1


def test_a_watch_is_begun_again_with_pauses_whatever_went_wrong() -> None:
    server = Server(*(KeyError("a mistake") if number % 2 else busy() for number in range(20)))
    run_for(10_000, retries.watch()(server.ask))
    assert len(server.times) == 21
    assert 0.4 <= server.pauses[0] <= 0.8
    assert all(15 <= pause <= 30 for pause in server.pauses[8:])


def test_no_policy_swallows_a_cancellation() -> None:
    async def work() -> None:
        for policy in (retries.watch(), retries.deletion(), retries.dial(20), retries.name_lookup(20)):
            with pytest.raises(asyncio.CancelledError):
                await policy(Server(asyncio.CancelledError()).ask)

    run_for(100, work())


def test_pauses_of_a_quota_double_from_the_first_to_the_longest() -> None:
    pause = retries.quota_pauses(10, 60)
    assert [pause(refusals) for refusals in (0, 1, 2, 3, 4, 50)] == [10, 10, 20, 40, 60, 60]
